// Keeps the queue fresh, and adds keys. Without it the page has a link that does the same.
import { listenForKeys } from "./keys.js";
import { keepPlace } from "./place.js";
import { keyOfQueue } from "./queue_keys.js";

const live = document.getElementById("queue-live");
const wanted = document.getElementById("live");
const state = document.getElementById("live-state");
const KEPT = "oneperson-queue-live";

let tag = "";
let waiting = null;

listenForKeys(keyOfQueue);
keepPlace();
document.getElementById("live-tools").hidden = false;
wanted.checked = stored() !== "off";
wanted.addEventListener("change", () => {
  try {
    localStorage.setItem(KEPT, wanted.checked ? "on" : "off");
  } catch { /* Storage is blocked: the choice holds for this page. */ }
  if (wanted.checked) look();
});

function stored() {
  try {
    return localStorage.getItem(KEPT);
  } catch {
    return null;
  }
}

document.addEventListener("visibilitychange", () => {
  if (!document.hidden && wanted.checked) look();
});

// Rows must not move under a pointer or away from the keyboard: what is new waits until the table is left.
function isInUse() {
  const table = live.querySelector("table");
  return live.contains(document.activeElement) || (table !== null && table.matches(":hover"));
}

function show(html) {
  waiting = null;
  live.innerHTML = html;
  state.textContent = "";
}

function showWaiting() {
  if (waiting !== null && !isInUse()) show(waiting);
}

live.addEventListener("mouseleave", showWaiting);
live.addEventListener("focusout", () => setTimeout(showWaiting));

async function look() {
  try {
    const answer = await fetch(`/queue/lines${location.search}`, {
      headers: { "If-None-Match": tag, Accept: "text/html" },
      credentials: "same-origin",
      redirect: "manual",
    });
    if (answer.status === 304) {
      if (waiting === null) state.textContent = "";
      return;
    }
    // A browser without a session is sent to the page for signing in; scripts see of that only that it is elsewhere.
    if (answer.type === "opaqueredirect" || answer.status === 401 || answer.status === 403) {
      state.textContent = state.dataset.ended;
      wanted.checked = false;
      return;
    }
    if (!answer.ok) throw new Error(String(answer.status));
    tag = answer.headers.get("ETag") || "";
    const html = await answer.text();
    if (isInUse()) {
      waiting = html;
      state.textContent = state.dataset.changed;
    } else {
      show(html);
    }
  } catch {
    state.textContent = state.dataset.lost;
  }
}

setInterval(() => {
  if (wanted.checked && !document.hidden) look();
}, Number(live.dataset.every) * 1000);
