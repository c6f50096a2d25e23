// Saves what is typed every few seconds and attaches files as they are chosen. Without it two buttons do the same.

const form = document.querySelector("form.opinion");
const state = document.getElementById("draft-state");
const EVERY_MS = 4000;

let changed = false;
let saving = null;
let underWay = 0;
let leaving = null;
let sent = false;

function fields(withFiles) {
  const data = new FormData(form);
  for (const name of [...data.keys()]) {
    if (name.startsWith("evidence-upload-") && name !== withFiles) data.delete(name);
  }
  return data;
}

async function save(withFile = "") {
  if (sent) return;
  changed = false;
  try {
    const answer = await fetch(`${location.pathname}/draft`, {
      method: "POST",
      headers: { Accept: "application/json" },
      body: fields(withFile),
      credentials: "same-origin",
      redirect: "error",
    });
    if (answer.status === 413 && withFile) { refuseLarge(withFile); return; }
    if (answer.status !== 200 && answer.status !== 422) throw new Error(String(answer.status));
    const told = await answer.json();
    if (withFile) showFile(withFile, told);
    const faults = Object.values(told.faults);
    state.textContent = faults.length ? `${state.dataset.refused} ${faults.join(" ")}` : state.dataset.saved;
  } catch {
    changed = true;
    state.textContent = state.dataset.lost;
  }
}

// It would take the whole form down with it when that is sent.
function refuseLarge(name) {
  form.elements[name].value = "";
  changed = true;
  state.textContent = state.dataset.large;
}

// The file is on the server now: its row names it, and the field for choosing one is empty again.
function showFile(name, told) {
  const input = form.elements[name];
  const row = name.slice("evidence-upload-".length);
  const id = told.fields[`evidence-file-${row}`];
  if (!id || Object.keys(told.faults).length) return;
  const box = input.closest(".evidence-file");
  let tick = box.querySelector("input[type=checkbox]");
  if (tick === null) {
    const line = document.createElement("p");
    line.className = "tick";
    tick = document.createElement("input");
    tick.type = "checkbox";
    tick.id = tick.name = `evidence-file-${row}`;
    const label = document.createElement("label");
    label.htmlFor = tick.id;
    line.append(tick, " ", label);
    box.prepend(line);
  }
  tick.value = id;
  tick.checked = true;
  box.querySelector(".tick label").textContent = input.files[0].name;
  const link = box.querySelector(".tick a");
  if (link !== null) link.href = `${location.pathname}/attachments/${id}`;
  input.value = "";
}

// One after the other, so that an earlier state never overwrites a later one.
function queueSave(withFile = "") {
  underWay += 1;
  saving = (saving || Promise.resolve()).then(() => save(withFile)).finally(() => { underWay -= 1; });
}

// Other buttons of the page (claim, release, language …) lead to a page that shows what was typed: they wait until that is
// saved. If it cannot be, the officer is told, and pressing once more leaves without.
async function saveFirst(event) {
  if (event.target === form || event.target === leaving || event.target.method === "dialog") return;
  if (!changed && underWay === 0) return;
  event.preventDefault();
  if (changed) queueSave();
  await saving;
  leaving = event.target;
  if (changed) state.scrollIntoView({ block: "center" });
  else event.target.requestSubmit(event.submitter);
}

if (form !== null && state !== null) {
  form.addEventListener("input", () => { changed = true; });
  form.addEventListener("change", (event) => {
    if (event.target.type === "file" && event.target.files.length) queueSave(event.target.name);
  });
  form.addEventListener("submit", () => { sent = true; });
  document.addEventListener("submit", saveFirst);
  setInterval(() => { if (changed) queueSave(); }, EVERY_MS);
  document.addEventListener("visibilitychange", () => { if (document.hidden && changed) queueSave(); });
}
