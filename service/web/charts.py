"""Bar charts of the closed months, drawn by a template in SVG; a table beside them says the same."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 640, 240
LEFT, RIGHT, TOP, BOTTOM = 56, 8, 12, 34
STEPS = 4
"""Lines of the scale above nought."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar."""

    x: float
    y: float
    width: float
    height: float
    text: str


@dataclass(frozen=True, slots=True)
class Tick:
    """One mark of an axis: its place along the axis, and its text."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Chart:
    """One series over months.

    Attributes:
        key: Names the chart in the catalogue and in the page.
        series: 1 to 4; which colour and pattern.
        bars: One for each month that has a value.
        months: Texts below.
        scale: Lines across.
        values: Each month with its value as text, for the table.
    """

    key: str
    series: int
    bars: list[Bar]
    months: list[Tick]
    scale: list[Tick]
    values: list[tuple[str, str]]


def bar_chart(key: str, series: int, values: Sequence[tuple[str, float | None]]) -> Chart:
    """Lay out one chart.

    Args:
        key: Its name.
        series: Its colour and pattern.
        values: Month and value; None where there is none.
    """
    top = _top(max((value for _month, value in values if value is not None), default=0.0))
    breadth = (WIDTH - LEFT - RIGHT) / max(1, len(values))
    height = HEIGHT - TOP - BOTTOM
    bars = []
    for at, (_month, value) in enumerate(values):
        if value is not None:
            tall = height * value / top
            x = LEFT + breadth * (at + 0.15)
            bars.append(Bar(_r(x), _r(TOP + height - tall), _r(breadth * 0.7), _r(tall), _text(value)))
    every = math.ceil(len(values) / 12)
    return Chart(
        key=key,
        series=series,
        bars=bars,
        months=[
            Tick(_r(LEFT + breadth * (at + 0.5)), month)
            for at, (month, _value) in enumerate(values)
            if at % every == 0
        ],
        scale=[
            Tick(_r(TOP + height * (1 - step / STEPS)), _text(top * step / STEPS))
            for step in range(STEPS + 1)
        ],
        values=[(month, "–" if value is None else _text(value)) for month, value in values],
    )


def _top(largest: float) -> float:
    """Return the end of the scale: a round number whose quarters are round, too."""
    if largest <= STEPS:
        return float(STEPS)
    unit = 10.0 ** math.floor(math.log10(largest))
    return next(step * unit for step in (1.0, 2.0, 4.0, 6.0, 8.0, 10.0) if step * unit >= largest)


def _text(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"


def _r(value: float) -> float:
    return round(value, 1)
