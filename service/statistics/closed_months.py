"""Stores and reads closed months; what was stored is never changed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, func, select
from sqlalchemy.orm import Session

from service.months import Month
from service.statistics.counting import place_of
from service.statistics.figures import FigureRow, Level
from service.tables import ClosedMonth, ClosedMonthRow, now

__all__ = ["Version", "closed", "now", "rows", "series", "store", "total", "versions"]


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a closed month; `reason` says why it was restated."""

    month: Month
    number: int
    closed_at: datetime
    closed_by: str
    reason: str | None


def store(
    session: Session, month: Month, number: int, counted: Sequence[FigureRow], *, by: str, reason: str | None
) -> None:
    """Add a version of a month.

    Raises:
        IntegrityError: There is one of this number.
    """
    text = reason.strip() if reason is not None else None
    session.add(ClosedMonth(month=str(month), version=number, closed_by=by, reason=text))
    session.flush()
    session.add_all(
        ClosedMonthRow(
            month=str(month), version=number, level=row.level, region=row.region, figures=row.as_document()
        )
        for row in counted
    )
    session.flush()


def versions(session: Session, month: Month) -> list[Version]:
    """Return the versions of a month, oldest first."""
    query = select(ClosedMonth).where(ClosedMonth.month == str(month)).order_by(ClosedMonth.version)
    return [
        Version(month, row.version, row.closed_at, row.closed_by, row.reason)
        for row in session.scalars(query)
    ]


def rows(session: Session, version: Version) -> list[FigureRow]:
    """Return the rows of a version in their order."""
    query = select(ClosedMonthRow).where(
        ClosedMonthRow.month == str(version.month), ClosedMonthRow.version == version.number
    )
    found = [FigureRow.from_document(row.level, row.region, row.figures) for row in session.scalars(query)]
    return sorted(found, key=lambda row: place_of((row.level, row.region)))


def total(session: Session, month: Month) -> FigureRow | None:
    """Return the total of a month's latest version; None when it is not closed."""
    found = _latest_rows(session, Level.TOTAL, "", of=str(month), limit=1)
    return FigureRow.from_document(Level.TOTAL, "", found[0].figures) if found else None


def series(session: Session, level: Level, region: str, *, months: int) -> list[tuple[Month, FigureRow]]:
    """Return one region's rows in the latest versions of the latest closed months, oldest first."""
    found = _latest_rows(session, level, region, of=None, limit=months)
    return [
        (Month.parse(row.month), FigureRow.from_document(row.level, row.region, row.figures))
        for row in reversed(found)
    ]


def closed(session: Session) -> dict[str, int]:
    """Return the closed months with the number of their versions."""
    query = select(ClosedMonth.month, func.max(ClosedMonth.version)).group_by(ClosedMonth.month)
    return {row[0]: row[1] for row in session.execute(query)}


def _latest_rows(
    session: Session, level: Level, region: str, *, of: str | None, limit: int
) -> Sequence[ClosedMonthRow]:
    latest = (
        select(ClosedMonth.month, func.max(ClosedMonth.version).label("version"))
        .group_by(ClosedMonth.month)
        .subquery()
    )
    query = (
        select(ClosedMonthRow)
        .join(
            latest,
            and_(latest.c.month == ClosedMonthRow.month, latest.c.version == ClosedMonthRow.version),
        )
        .where(ClosedMonthRow.level == level, ClosedMonthRow.region == region)
        .order_by(ClosedMonthRow.month.desc())
        .limit(limit)
    )
    if of is not None:
        query = query.where(ClosedMonthRow.month == of)
    return session.scalars(query).all()
