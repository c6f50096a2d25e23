// Remembers which filters and which page of the queue a window showed last, so that the way back leads there. Without
// it the way back leads to the start of the queue.

const KEPT = "oneperson-queue-place";

export function keepPlace() {
  const chosen = new URLSearchParams(location.search);
  chosen.delete("none");
  try {
    sessionStorage.setItem(KEPT, chosen.toString());
  } catch { /* Storage is blocked. */ }
}

// Leads the link there, and lets "next case" choose among the same cases as the queue's own button.
export function leadBack(link, form) {
  let kept = "";
  try {
    kept = sessionStorage.getItem(KEPT) ?? "";
  } catch { /* Storage is blocked. */ }
  const chosen = new URLSearchParams(kept);
  if (kept) link.href = `/?${chosen}`;
  if (form === null) return;
  for (const name of ["state", "kind", "transaction_type", "division", "escalated", "overdue"]) {
    if (!chosen.get(name)) continue;
    const field = document.createElement("input");
    Object.assign(field, { type: "hidden", name, value: chosen.get(name) });
    form.append(field);
  }
}
