"""How far long work has come: a bar with rate and time left on a terminal, plain lines elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TaskID, TextColumn
from rich.progress import Progress as RichProgress
from rich.text import Text

LINE_EVERY_S = 10.0
"""Seconds between two plain lines: readable in a log, and still alive to somebody who watches it."""


class Progress(Protocol):
    """Told by the work what has been done."""

    def advance(self, count: int = 1, *, worked: bool = True) -> None:
        """Count finished items.

        Args:
            count: How many.
            worked: False for items that cost nothing (skipped); they do not enter the rate.
        """


@contextmanager
def progress(
    label: str,
    total: int,
    *,
    console: Console | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Progress]:
    """Show the progress of `total` items while the block runs.

    Args:
        label: What is being done.
        total: Number of items.
        console: Where to show it; default: standard error.
        clock: Seconds of a clock that never goes back.
    """
    shown = console or Console(stderr=True)
    pace = Pace(total, clock)
    if not shown.is_terminal:
        lines = _Lines(label, pace, shown, clock)
        try:
            yield lines
        finally:
            lines.end()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _PaceColumn(pace))
    with RichProgress(*columns, console=shown) as bar:
        yield _Bar(bar, bar.add_task(label, total=total), pace)


class Pace:
    """Items done, and from the time that they took, how long the rest will take."""

    def __init__(self, total: int, clock: Callable[[], float]) -> None:
        """Start the clock."""
        self.total = total
        self.done = 0
        self._worked = 0
        self._clock = clock
        self._began = clock()

    def add(self, count: int, *, worked: bool) -> None:
        """Count finished items."""
        self.done += count
        self._worked += count if worked else 0

    @property
    def rate(self) -> float:
        """Items worked on per second, 0 before the first."""
        elapsed = self._clock() - self._began
        return self._worked / elapsed if elapsed > 0 else 0.0

    def words(self) -> str:
        """Say rate and time left, as `58.2/s, 1 h 52 min left`."""
        rate = self.rate
        if rate == 0 or self.done >= self.total:
            return f"{rate:,.1f}/s"
        return f"{rate:,.1f}/s, {duration((self.total - self.done) / rate)} left"


def duration(seconds: float) -> str:
    """Say a length of time in its two largest units, as `1 h 52 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


class _Bar:
    def __init__(self, bar: RichProgress, task: TaskID, pace: Pace) -> None:
        self._bar, self._task, self._pace = bar, task, pace

    def advance(self, count: int = 1, *, worked: bool = True) -> None:
        self._pace.add(count, worked=worked)
        self._bar.advance(self._task, count)


class _PaceColumn(ProgressColumn):
    """Rate and time left of the only task."""

    def __init__(self, pace: Pace) -> None:
        super().__init__()
        self._pace = pace

    def render(self, task: Task) -> Text:  # noqa: ARG002 - the signature is rich's
        """Write the pace in words."""
        return Text(self._pace.words())


class _Lines:
    def __init__(self, label: str, pace: Pace, console: Console, clock: Callable[[], float]) -> None:
        self._label, self._pace, self._console, self._clock = label, pace, console, clock
        self._next = clock() + LINE_EVERY_S

    def advance(self, count: int = 1, *, worked: bool = True) -> None:
        self._pace.add(count, worked=worked)
        if self._clock() >= self._next:
            self._next = self._clock() + LINE_EVERY_S
            self._line()

    def end(self) -> None:
        self._line()

    def _line(self) -> None:
        pace = self._pace
        share = 100 * pace.done / pace.total if pace.total else 100.0
        text = f"{self._label}: {pace.done:,} of {pace.total:,} ({share:.1f} %), {pace.words()}"
        self._console.print(text, highlight=False, soft_wrap=True)
