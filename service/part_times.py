"""Where the time of a request goes, by part; each part's own time, without the parts within it.

The times belong to the request, not to a thread: they are kept in its context, which the event loop, the
threads of endpoints and the engine's pool are all given.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

_times: ContextVar[dict[str, float] | None] = ContextVar("part_times", default=None)
_within: ContextVar[list[float] | None] = ContextVar("part_times_within", default=None)
"""Seconds that parts within the running one have taken."""


def begin_parts() -> dict[str, float]:
    """Begin to note the parts of a request and return them, seconds by name; they go on growing."""
    times: dict[str, float] = {}
    _times.set(times)
    _within.set(None)
    return times


@contextmanager
def timed(part: str) -> Iterator[None]:
    """Count the time of a block, without that of parts within it, towards a part of the request."""
    times = _times.get()
    if times is None:
        yield
        return
    outer, inner = _within.get(), [0.0]
    _within.set(inner)
    began = time.perf_counter()
    try:
        yield
    finally:
        took = time.perf_counter() - began
        # Set, not reset: FastAPI may leave a block in another context than it entered it in.
        _within.set(outer)
        times[part] = times.get(part, 0.0) + max(0.0, took - inner[0])
        if outer is not None:
            outer[0] += took


def spent(parts_ms: Mapping[str, float]) -> None:
    """Count milliseconds that were measured elsewhere, within the running part."""
    times, within = _times.get(), _within.get()
    if times is None:
        return
    for part, milliseconds in parts_ms.items():
        times[part] = times.get(part, 0.0) + milliseconds / 1000
        if within is not None:
            within[0] += milliseconds / 1000
