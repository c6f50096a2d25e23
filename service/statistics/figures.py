"""The columns of the monthly table, and how a row must balance. `docs/statistics.md` defines each."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any


class Level(StrEnum):
    """How large a row's region is."""

    TOTAL = "total"
    PREFECTURE = "prefecture"
    COUNTY = "county"


FIGURES = (
    "registered",
    "registered_flagged",
    "flagged_start",
    "newly_flagged",
    "transferred_in",
    "checks",
    "not_searchable",
    "with_candidates",
    "under_review",
    "duplicates_confirmed",
    "transactions_stopped",
    "notices_sent",
    "acknowledgements",
    "cancelled_here",
    "cancelled_elsewhere",
    "established",
    "cancelled",
    "other_decreases",
    "transferred_out",
    "flagged_end",
)
"""The columns in their order. Source: the notice's monthly return as far as it is known; the official
form was not seen."""

STOCKS = frozenset({"flagged_start", "under_review", "flagged_end"})
"""Columns that tell how things stood at one moment rather than what happened in a time."""

ARRIVED = ("newly_flagged", "transferred_in")
LEFT = ("established", "cancelled", "other_decreases", "transferred_out")


@dataclass(frozen=True, slots=True)
class FigureRow:
    """One region's figures.

    Attributes:
        level: How large the region is.
        region: Its six digits; empty for the total and for persons without a known division.
        month: Figures of the month.
        cumulative: Figures from the beginning of the record to the month's end.
        closed: Cases that officers concluded in the month.
        waiting_h: Median hours from their opening to their conclusion; None without any.
    """

    level: Level
    region: str
    month: Mapping[str, int]
    cumulative: Mapping[str, int]
    closed: int = 0
    waiting_h: float | None = None

    @property
    def balanced(self) -> bool:
        """Whether both halves of the row balance."""
        return balances(self.month) and balances(self.cumulative)

    def as_document(self) -> dict[str, Any]:
        """Return what is stored of a closed month."""
        return {
            "month": dict(self.month),
            "cumulative": dict(self.cumulative),
            "closed": self.closed,
            "waiting_h": self.waiting_h,
        }

    @classmethod
    def from_document(cls, level: str, region: str, document: Mapping[str, Any]) -> "FigureRow":
        """Read what was stored; a column that a later version added counts nothing."""
        return cls(
            Level(level),
            region,
            {name: document["month"].get(name, 0) for name in FIGURES},
            {name: document["cumulative"].get(name, 0) for name in FIGURES},
            document["closed"],
            document["waiting_h"],
        )


def balances(figures: Mapping[str, int]) -> bool:
    """Tell whether those at the start and those who came are those who left and those at the end."""
    came = figures["flagged_start"] + sum(figures[name] for name in ARRIVED)
    return came - sum(figures[name] for name in LEFT) == figures["flagged_end"]


@cache
def levels_of(region: str) -> tuple[tuple[Level, str], ...]:
    """Return the rows in which a county's figure counts; GB/T 2260 fills a prefecture's code with zeros."""
    rows = (Level.TOTAL, ""), (Level.PREFECTURE, f"{region[:4]}00" if region else "")
    return (*rows, (Level.COUNTY, region)) if region else rows
