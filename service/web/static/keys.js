// Single keys, as the list shown by "?" explains them. They can be switched off (WCAG 2.2, 2.1.4).

const SWITCHED_OFF = "oneperson-keys-off";
const TYPED = "input:not([type=radio], [type=checkbox], [type=range]), textarea, select, [contenteditable]";

// Calls what `workOf` returns for a key pressed: a letter is the same with Shift and under Caps Lock.
export function listenForKeys(workOf) {
  const dialog = document.getElementById("help-dialog");
  const opener = document.getElementById("help-open");
  const isOn = prepareHelp(dialog, opener);
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || dialog.open || event.target.closest?.(TYPED)) return;
    if (!isOn()) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const work = "?？".includes(key) ? () => dialog.showModal() : workOf(key);
    if (!work) return;
    event.preventDefault();
    work();
  });
}

// A button of the page, if it is there and can be pressed.
export function pressing(selector) {
  const button = document.querySelector(selector);
  return button === null || button.disabled ? null : () => button.click();
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
