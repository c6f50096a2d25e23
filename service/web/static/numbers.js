// Opens a full ID number without leaving the page: sends what the button would send, and takes the tables over from
// the page that answers. What was typed stays where it is.

export function openNumbersInPlace() {
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[name=open]");
    if (!button) return;
    event.preventDefault();
    open(button);
  });
}

async function open(button) {
  const live = document.getElementById("live");
  const form = button.form;
  const fields = new URLSearchParams({
    csrf: form.elements.namedItem("csrf").value,
    opened: form.elements.namedItem("opened").value,
    open: button.value,
  });
  button.disabled = true;
  const shown = await answered(button.formAction || form.action, fields);
  if (!shown) {
    button.disabled = false;
    live.textContent = live.dataset.failed;
    return;
  }
  const cell = button.parentElement;
  const table = cell.closest("table");
  const place = table ? [...table.querySelectorAll("td")].indexOf(cell) : -1;
  takeOver(shown);
  form.elements.namedItem("opened").value = shown.querySelector("input[name=opened]").value;
  live.textContent = live.dataset.opened;
  const focused = table?.querySelectorAll("td")[place];
  if (focused) {
    focused.tabIndex = -1;
    focused.focus({ preventScroll: true });
  }
}

async function answered(address, fields) {
  try {
    const answer = await fetch(address, { method: "POST", body: fields, headers: { Accept: "text/html" } });
    if (!answer.ok || answer.redirected) return null;
    return new DOMParser().parseFromString(await answer.text(), "text/html");
  } catch {
    return null;
  }
}

function takeOver(shown) {
  for (const table of document.querySelectorAll("[data-registrations]")) {
    const newer = shown.querySelector(`[data-registrations="${table.dataset.registrations}"]`);
    if (newer) table.replaceChildren(...newer.childNodes);
  }
  const subject = document.querySelector(".subject .facts");
  const newer = shown.querySelector(".subject .facts");
  if (subject && newer) subject.replaceChildren(...newer.childNodes);
}
