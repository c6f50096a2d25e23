"""Counts a month: rolls the database's aggregates up to counties, prefectures and the whole."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from itertools import groupby
from operator import itemgetter
from statistics import median

from sqlalchemy.orm import Session

from service.months import Month
from service.register.flags import ARRIVALS, DEPARTURES, FlagEvent
from service.statistics import repository
from service.statistics.figures import FIGURES, FigureRow, Level, levels_of
from service.statistics.repository import Counted, CountedPerson

COLUMN_OF = {
    FlagEvent.REGISTERED: "registered",
    FlagEvent.FLAGGED: "newly_flagged",
    FlagEvent.MOVED_IN: "transferred_in",
    FlagEvent.ESTABLISHED: "established",
    FlagEvent.CANCELLED: "cancelled",
    FlagEvent.OTHER: "other_decreases",
    FlagEvent.MOVED_OUT: "transferred_out",
}

Row = tuple[Level, str]
Counts = defaultdict[Row, dict[str, int]]


def _none_yet() -> dict[str, int]:
    return dict.fromkeys(FIGURES, 0)


class Tally:
    """The figures of all rows while they are counted."""

    def __init__(self, month: Month) -> None:
        """Begin at nothing."""
        self._month = str(month)
        self.month: Counts = defaultdict(_none_yet)
        self.cumulative: Counts = defaultdict(_none_yet)

    def add(self, row: Row, figure: str, of_month: int, cumulative: int) -> None:
        """Count in one row."""
        self.month[row][figure] += of_month
        self.cumulative[row][figure] += cumulative

    def add_counted(self, figure: str, counted: Iterable[Counted]) -> None:
        """Count what may simply be summed over regions."""
        for item in counted:
            for row in levels_of(item.region):
                self.add(row, figure, item.month, item.cumulative)

    def add_persons(self, figure: str, counted: Iterable[CountedPerson]) -> None:
        """Count persons, each once in a row; of subjects without a registration every occurrence."""
        seen: set[tuple[Row, str, bool]] = set()
        for item in counted:
            for row in levels_of(item.region):
                if item.person is None:
                    self.add(row, figure, item.month, item.cumulative)
                    continue
                for in_month, number in ((True, item.month), (False, item.cumulative)):
                    if number and (row, item.person, in_month) not in seen:
                        seen.add((row, item.person, in_month))
                        self.add(row, figure, int(in_month), int(not in_month))

    def add_events(self, month: str, region: str, kind: FlagEvent, number: int) -> None:
        """Count events as if nobody had two of them in a month, and carry the stock of flagged persons."""
        column = COLUMN_OF.get(kind)
        step = number if kind in ARRIVALS else -number if kind in DEPARTURES else 0
        for row in levels_of(region):
            if column is not None:
                self.add(row, column, number if month == self._month else 0, number)
            if month < self._month:
                self.add(row, "flagged_start", step, 0)
            self.add(row, "flagged_end", step, step)

    def net(self, month: str, events: list[tuple[str, FlagEvent]]) -> None:
        """Count one person with several events in a month once: as they first came and as they last left.

        Who leaves a region and comes back within the month is neither counted as leaving nor as
        coming. Arrivals and departures of one person in one region alternate; so if the first of
        them is an arrival the person was not there at the start, and if the last one is a
        departure they are not there at the end: start + [first is an arrival] - [last is a
        departure] = end.
        """
        by_row: dict[Row, list[FlagEvent]] = {}
        for region, kind in events:
            for row in levels_of(region):
                by_row.setdefault(row, []).append(kind)
        for row, kinds in by_row.items():
            if len(kinds) == 1:
                continue
            for kind in kinds:
                self._change(row, kind, -1, month)
            if kinds[0] in ARRIVALS:
                self._change(row, kinds[0], 1, month)
            if kinds[-1] in DEPARTURES:
                self._change(row, kinds[-1], 1, month)

    def _change(self, row: Row, kind: FlagEvent, step: int, month: str) -> None:
        self.add(row, COLUMN_OF[kind], step if month == self._month else 0, step)


def count_month(session: Session, month: Month) -> list[FigureRow]:
    """Count one month's table from what is recorded now.

    Args:
        session: One consistent view.
        month: Which; one that is not over counts as far as it has come.

    Returns:
        The total first, then each prefecture followed by its counties, by code.
    """
    tally = Tally(month)
    _count_flags(session, month, tally)
    outcomes = repository.checks(session, month)
    for counted in outcomes.values():
        tally.add_counted("checks", counted)
    tally.add_counted("not_searchable", outcomes.get("not_searchable", ()))
    persons: dict[str, Callable[[Session, Month], list[CountedPerson]]] = {
        "with_candidates": repository.persons_with_candidates,
        "duplicates_confirmed": repository.confirmed_cases,
    }
    for figure, find in persons.items():
        tally.add_persons(figure, find(session, month))
    open_then = repository.cases_under_review(session, month)
    tally.add_persons(
        "under_review",
        (CountedPerson(c.region, c.person, c.cumulative, c.cumulative) for c in open_then),
    )
    sums: dict[str, Callable[[Session, Month], list[Counted]]] = {
        "registered_flagged": repository.registered_flagged,
        "transactions_stopped": repository.transactions_stopped,
        "notices_sent": repository.notices_sent,
        "acknowledgements": repository.acknowledgements,
    }
    for figure, count in sums.items():
        tally.add_counted(figure, count(session, month))
    _count_cancelled(session, month, tally)
    return _rows(tally, _waiting(session, month))


def _count_flags(session: Session, month: Month, tally: Tally) -> None:
    for of_month, region, kind, number in repository.flag_events(session, month):
        tally.add_events(of_month, region, FlagEvent(kind), number)
    repeated = repository.repeated_events(session, month)
    for (_person, of_month), events in groupby(repeated, key=itemgetter(0, 1)):
        tally.net(of_month, [(region, FlagEvent(kind)) for _p, _m, region, kind in events])


def _count_cancelled(session: Session, month: Month, tally: Tally) -> None:
    found = repository.duplicates_cancelled(session, month)
    for figure, here in (("cancelled_here", True), ("cancelled_elsewhere", False)):
        tally.add_persons(
            figure,
            (
                CountedPerson(region, person, in_month, 1)
                for region, of_registration, person, in_month in found
                if (region == of_registration) is here
            ),
        )


def _waiting(session: Session, month: Month) -> dict[Row, list[float]]:
    hours: dict[Row, list[float]] = defaultdict(list)
    for region, opened_at, closed_at in repository.waiting(session, month):
        for row in levels_of(region):
            hours[row].append((closed_at - opened_at).total_seconds() / 3600)
    return hours


def _rows(tally: Tally, hours: dict[Row, list[float]]) -> list[FigureRow]:
    wanted = {(Level.TOTAL, ""), *tally.month, *tally.cumulative, *hours}
    return [
        FigureRow(
            level,
            region,
            tally.month[level, region],
            tally.cumulative[level, region],
            len(hours.get((level, region), ())),
            round(median(hours[level, region]), 1) if hours.get((level, region)) else None,
        )
        for level, region in sorted(wanted, key=place_of)
    ]


def place_of(row: Row) -> tuple[int, str, int, str]:
    """Return what rows are ordered by: the total, each prefecture before its counties, the unknown."""
    level, region = row
    if level is Level.TOTAL:
        return 0, "", 0, ""
    return 1 if region else 2, region[:4], int(level is Level.COUNTY), region
