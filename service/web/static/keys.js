// Single keys, as the list shown by "?" explains them. They can be switched off (WCAG 2.2, 2.1.4).

const SWITCHED_OFF = "oneperson-keys-off";
const TYPED = "input:not([type=radio], [type=checkbox], [type=range]), textarea, select, [contenteditable]";
const PAN = { ArrowLeft: [8, 0], ArrowRight: [-8, 0], ArrowUp: [0, 8], ArrowDown: [0, -8] };

export function listenForKeys(comparisons) {
  const dialog = document.getElementById("help-dialog");
  const opener = document.getElementById("help-open");
  const isOn = prepareHelp(dialog, opener);
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || dialog.open || event.target.closest?.(TYPED)) return;
    if (!isOn()) return;
    const work = event.key === "?" ? () => dialog.showModal() : workOf(event, comparisons);
    if (!work) return;
    event.preventDefault();
    work();
  });
}

function prepareHelp(dialog, opener) {
  const box = document.getElementById("keys-on");
  box.checked = stored() === null;
  opener.hidden = false;
  opener.addEventListener("click", () => dialog.showModal());
  dialog.querySelector("[data-close]").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  box.addEventListener("change", () => {
    try {
      if (box.checked) localStorage.removeItem(SWITCHED_OFF);
      else localStorage.setItem(SWITCHED_OFF, "1");
    } catch { /* Storage is blocked: the choice holds for this page. */ }
  });
  return () => box.checked;
}

function stored() {
  try {
    return localStorage.getItem(SWITCHED_OFF);
  } catch {
    return null;
  }
}

function workOf(event, comparisons) {
  const candidates = [...document.querySelectorAll("section.candidate")];
  const general = {
    j: () => step(candidates, 1),
    k: () => step(candidates, -1),
    d: () => nearest(candidates)?.querySelector(".opinion-fields input, .opinion-fields textarea")?.focus(),
    q: () => document.querySelector(".back a").click(),
  };
  if (general[event.key]) return general[event.key];
  const one = active(comparisons);
  if (!one) return null;
  if (event.key in PAN) {
    const reaches = document.activeElement === one.pair && one.view.zoom > 1;
    return reaches ? () => one.panBy(...PAN[event.key]) : null;
  }
  return toolOf(event.key, one);
}

function toolOf(key, one) {
  return {
    s: () => one.setMode("side"),
    o: () => one.setMode("overlay"),
    b: () => one.setMode("blink"),
    x: one.mode === "blink" ? () => one.blink.swap() : null,
    "+": () => one.zoomIn(),
    "=": () => one.zoomIn(),
    "-": () => one.zoomOut(),
    0: () => one.reset(),
    r: () => one.choices.find((choice) => choice.name === "right")?.next(),
    t: () => one.choices.find((choice) => choice.name === "left")?.next(),
    v: () => one.toggle("original"),
    "[": () => one.setTone("brightness", Math.max(40, one.tone("brightness") - 10)),
    "]": () => one.setTone("brightness", Math.min(200, one.tone("brightness") + 10)),
    g: () => one.setTone("grey", one.tone("grey") ? 0 : 100),
    l: () => one.toggle("lines"),
    w: () => one.toggle("wide"),
  }[key] ?? null;
}

// The comparison that has the focus, else the one nearest to the middle of the screen.
function active(comparisons) {
  const focused = comparisons.find((one) => one.root.contains(document.activeElement));
  if (focused) return focused;
  const root = nearest(comparisons.map((one) => one.root));
  return comparisons.find((one) => one.root === root);
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
