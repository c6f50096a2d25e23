// Mouse, pen and fingers on a comparison: drag moves, wheel and two fingers zoom.

const SCROLLING_MS = 400; // A wheel that was scrolling the page goes on scrolling it when a portrait comes under it.
let scrolledAt = -Infinity;
document.addEventListener("scroll", () => { scrolledAt = performance.now(); }, { passive: true });

// Tells a place in hundredths of its frame from the frame's middle.
function placeIn(frame, event) {
  const box = frame.getBoundingClientRect();
  return [((event.clientX - box.left) / box.width - 0.5) * 100, ((event.clientY - box.top) / box.height - 0.5) * 100];
}

export function followPointer(comparison) {
  for (const image of comparison.images) follow(comparison, image.parentElement);
}

function follow(comparison, frame) {
  const held = new Map();

  frame.addEventListener("wheel", (event) => {
    const goesOut = event.deltaY > 0;
    if (goesOut && comparison.view.zoom === 1) return;
    if (performance.now() - scrolledAt < SCROLLING_MS && !event.ctrlKey) return;
    event.preventDefault();
    comparison.zoomBy(goesOut ? 1 / 1.15 : 1.15, ...placeIn(frame, event));
  }, { passive: false });

  frame.addEventListener("dblclick", (event) => {
    if (comparison.view.zoom > 1) comparison.moveTo(1, 0, 0);
    else comparison.zoomBy(2, ...placeIn(frame, event));
  });

  frame.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    held.set(event.pointerId, placeIn(frame, event));
    frame.setPointerCapture(event.pointerId);
    comparison.pair.classList.add("is-held");
  });

  frame.addEventListener("pointermove", (event) => {
    const before = held.get(event.pointerId);
    if (!before) return;
    const now = placeIn(frame, event);
    if (held.size === 1) comparison.panBy(now[0] - before[0], now[1] - before[1]);
    else pinch(comparison, [...held].find(([id]) => id !== event.pointerId)[1], before, now);
    held.set(event.pointerId, now);
  });

  for (const ending of ["pointerup", "pointercancel"]) {
    frame.addEventListener(ending, (event) => {
      held.delete(event.pointerId);
      if (held.size === 0) comparison.pair.classList.remove("is-held");
    });
  }
}

function pinch(comparison, other, before, now) {
  const distance = (point) => Math.hypot(point[0] - other[0], point[1] - other[1]) || 1;
  const middle = [(now[0] + other[0]) / 2, (now[1] + other[1]) / 2];
  comparison.zoomBy(distance(now) / distance(before), ...middle);
}
