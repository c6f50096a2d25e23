// What single keys do on the queue.
import { pressing } from "./keys.js";

export function keyOfQueue(key) {
  return {
    j: () => step(1),
    k: () => step(-1),
    c: inLine("form[action$='/claim'] button"),
    u: inLine("form[action$='/release'] button"),
    n: pressing("form[action='/queue/next'] button"),
    f: () => document.getElementById("state").focus(),
    r: pressing("#refresh"),
    ".": pressing(".paging a[rel=next]"),
    ",": pressing(".paging a:not([rel])"),
  }[key] ?? null;
}

// The cases' links take the focus, so that Enter opens one.
function step(by) {
  const links = [...document.querySelectorAll(".queue tbody th a")];
  const at = links.indexOf(document.activeElement.closest("tr")?.querySelector("th a"));
  const next = at < 0 ? 0 : Math.min(links.length - 1, Math.max(0, at + by));
  links[next]?.focus();
}

function inLine(selector) {
  const button = document.activeElement.closest(".queue tbody tr")?.querySelector(selector);
  return button ? () => button.click() : null;
}
