// What single keys do on the page of a case.
import { pressing } from "./keys.js";

const PAN = { ArrowLeft: [8, 0], ArrowRight: [-8, 0], ArrowUp: [0, 8], ArrowDown: [0, -8] };

export function keysOfCase(comparisons) {
  return (key) => workOf(key, comparisons);
}

function workOf(key, comparisons) {
  const candidates = [...document.querySelectorAll("section.candidate")];
  const general = {
    j: () => step(candidates, 1),
    k: () => step(candidates, -1),
    d: () => current(candidates)?.querySelector(".opinion-fields input, .opinion-fields textarea")?.focus(),
    // Full numbers go on record one by one: the key leads to the button, and Enter presses it.
    i: () => (current(candidates) ?? document).querySelector("button[name=open]")?.focus(),
    m: () => document.querySelector(".submit button.primary")?.focus(),
    c: pressing("form[action$='/claim'] button"),
    u: pressing("form[action$='/release'] button"),
    n: pressing("form[action='/queue/next'] button"),
    q: () => document.querySelector(".back a").click(),
  };
  if (key in general) return general[key];
  if (["1", "2", "3"].includes(key)) return concluding(current(candidates), Number(key) - 1);
  const one = active(comparisons);
  if (!one) return null;
  if (key in PAN) {
    const reaches = document.activeElement === one.pair && one.view.zoom > 1;
    return reaches ? () => one.panBy(...PAN[key]) : null;
  }
  return toolOf(key, one);
}

// Chooses one of the conclusions; it is sent by the button only.
function concluding(candidate, place) {
  const radio = candidate?.querySelectorAll(".choices input[type=radio]")[place];
  if (!radio) return null;
  return () => {
    radio.focus();
    radio.click();
  };
}

function toolOf(key, one) {
  const blinks = one.mode === "blink";
  const mixing = { overlay: ["mix", 10], blink: ["speed", 2] }[one.mode];
  return {
    s: () => one.setMode("side"),
    o: () => one.setMode("overlay"),
    b: () => one.setMode("blink"),
    x: blinks ? () => one.blink.swap() : null,
    p: blinks ? () => one.blink.pauseOrPlay() : null,
    "+": () => enlarge(one),
    "=": () => enlarge(one),
    "-": () => one.zoomOut(),
    0: () => one.reset(),
    r: () => one.choices.find((choice) => choice.name === "right")?.next(),
    t: () => one.choices.find((choice) => choice.name === "left")?.next(),
    v: () => one.toggle("original"),
    "[": () => one.step("brightness", -10),
    "]": () => one.step("brightness", 10),
    ",": () => one.step("contrast", -10),
    ".": () => one.step("contrast", 10),
    "<": mixing && (() => one.step(mixing[0], -mixing[1])),
    ">": mixing && (() => one.step(...mixing)),
    g: () => one.setTone("grey", one.tone("grey") ? 0 : 100),
    l: () => one.toggle("lines"),
    w: () => one.toggle("wide"),
  }[key] ?? null;
}

// The portraits take the focus, so that the arrow keys move them.
function enlarge(one) {
  one.zoomIn();
  one.pair.focus({ preventScroll: true });
}

// The comparison that has the focus, else the one nearest to the middle of the screen.
function active(comparisons) {
  const focused = comparisons.find((one) => one.root.contains(document.activeElement));
  if (focused) return focused;
  const root = nearest(comparisons.map((one) => one.root));
  return comparisons.find((one) => one.root === root);
}

// Likewise the candidate.
function current(candidates) {
  return document.activeElement.closest("section.candidate") ?? nearest(candidates);
}

function nearest(elements) {
  const middle = window.innerHeight / 2;
  const away = (element) => {
    const box = element.getBoundingClientRect();
    return box.top > middle ? box.top - middle : middle > box.bottom ? middle - box.bottom : 0;
  };
  return [...elements].sort((one, other) => away(one) - away(other))[0];
}

function step(candidates, by) {
  if (!candidates.length) return;
  const at = candidates.indexOf(document.activeElement.closest("section.candidate") ?? null);
  const next = at < 0 ? candidates.indexOf(nearest(candidates)) : Math.min(candidates.length - 1, Math.max(0, at + by));
  candidates[next].focus({ preventScroll: true });
  candidates[next].scrollIntoView({ block: "start" });
}
