"""Rules of the monthly table: who sees which rows, and how a month is closed and restated."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from service.audit.service import AuditKind, record
from service.auth.service import Actor, Role, Scope, division_prefix
from service.database import Database
from service.errors import InvalidRequestError, MonthStateError, NotFoundError
from service.months import BEIJING, Month
from service.register.flags import REGION_DIGITS
from service.statistics import closed_months, repository
from service.statistics.closed_months import Version
from service.statistics.counting import count_month
from service.statistics.figures import FigureRow, Level

CLOSERS = (Role.SUPERVISOR, Role.OPERATOR)
PROVINCE_DIGITS = 2


@dataclass(frozen=True, slots=True)
class MonthlyTable:
    """One month's table.

    Attributes:
        month: Which month.
        version: The closed version shown; None for a table counted just now.
        versions: All closed versions, oldest first.
        rows: The total first, then prefectures with their counties.
        follows: Whether the start is the end of the closed month before; None when that is not closed.
        register: Persons whose flag stands in the register now, to compare with the present month's
            end; None for other months and for parts of the whole.
    """

    month: Month
    version: Version | None
    versions: Sequence[Version]
    rows: Sequence[FigureRow]
    follows: bool | None
    register: int | None = None

    @property
    def balanced(self) -> bool:
        """Whether every row balances."""
        return all(row.balanced for row in self.rows)


def read_month(session: Session, month: Month, *, actor: Actor, version: int | None = None) -> MonthlyTable:
    """Return a month's table for what the caller may see: closed where it is closed, else counted now.

    Args:
        session: One consistent view.
        month: Which.
        actor: A client with the scope, or an officer of any role.
        version: A certain closed version; None for the latest, 0 for a fresh count of what is recorded now.

    Raises:
        ForbiddenError: The client lacks the scope.
        NotFoundError: The month has not begun, or there is no such version.
    """
    prefix = _scope(actor)
    if month.start > _now():
        raise NotFoundError("The month has not begun.")
    versions = closed_months.versions(session, month)
    if version is None and versions:
        shown: Version | None = versions[-1]
    else:
        shown = next((known for known in versions if known.number == version), None)
        if version and shown is None:
            raise NotFoundError("There is no such version of this month.")
    rows = count_month(session, month) if shown is None else closed_months.rows(session, shown)
    before = closed_months.total(session, month.later(-1))
    table = MonthlyTable(month, shown, versions, rows, None)
    if before is not None and rows:
        table = replace(table, follows=before.month["flagged_end"] == rows[0].month["flagged_start"])
    if shown is None and month == this_month():
        table = replace(table, register=repository.flagged_now(session))
    return _part(table, prefix)


def _scope(actor: Actor) -> str:
    """Return the beginning of the regions that a caller may see; empty for all.

    Raises:
        ForbiddenError: The client lacks the scope.
    """
    if actor.kind == "officer":
        prefix = division_prefix(actor.division_code or "")[:REGION_DIGITS]
        return "" if len(prefix) <= PROVINCE_DIGITS else prefix
    if actor.kind != "system":
        actor.require_scope(Scope.STATISTICS)
    return ""


def _part(table: MonthlyTable, prefix: str) -> MonthlyTable:
    if not prefix:
        return table
    rows = [row for row in table.rows if row.region.startswith(prefix)]
    return replace(table, rows=rows, follows=None, register=None)


def series(session: Session, *, actor: Actor, months: int) -> list[tuple[Month, FigureRow]]:
    """Return the caller's own row of the latest closed months, oldest first; from stored rows only."""
    prefix = _scope(actor)
    level, region = own_row(prefix)
    return closed_months.series(session, level, region, months=months)


def own_row(prefix: str) -> tuple[Level, str]:
    """Return the row that stands for all that a caller may see."""
    if not prefix:
        return Level.TOTAL, ""
    return (Level.COUNTY, prefix) if len(prefix) == REGION_DIGITS else (Level.PREFECTURE, f"{prefix}00")


def close_month(database: Database, month: Month, *, actor: Actor, reason: str | None = None) -> MonthlyTable:
    """Store a month as it is counted now: its first version, or with a reason the next one.

    It is counted in a view of its own, so that nobody waits for it, and stored in a short transaction.

    Raises:
        ForbiddenError: Neither a supervisor or operator of the whole province nor the service itself.
        MonthStateError: The month is not over, closed already (without a reason), not closed yet
            (with a reason), or somebody else stored a version meanwhile.
        InvalidRequestError: The reason is blank.
    """
    may_close(actor)
    if month.end > _now():
        raise MonthStateError("The month is not over; it can be closed from the first of the next one.")
    if reason is not None and not reason.strip():
        fault = {"field": "reason", "message": "is blank", "remedy": "say what is corrected and why"}
        raise InvalidRequestError("See 'errors' for each field.", errors=[fault])
    with database.read() as session:
        known = closed_months.versions(session, month)
        if bool(known) != (reason is not None):
            raise MonthStateError(
                "The month is closed; restate it with a reason." if known else "The month is not closed yet."
            )
        rows = count_month(session, month)
    number = known[-1].number + 1 if known else 1
    try:
        with database.write() as session:
            closed_months.store(session, month, number, rows, by=actor.name, reason=reason)
            kind = AuditKind.MONTH_RESTATED if known else AuditKind.MONTH_FROZEN
            record(session, kind, actor=actor, subject=f"month:{month}", version=number, rows=len(rows))
    except IntegrityError:
        raise MonthStateError("Somebody else stored a version of the month meanwhile.") from None
    with database.read() as session:
        return read_month(session, month, actor=actor)


def may_close(actor: Actor) -> None:
    """Let those pass who may close months: they must see every row that they answer for.

    Raises:
        ForbiddenError: Anybody else.
    """
    if actor.kind == "system":
        return
    actor.require_role(*CLOSERS)
    if _scope(actor):
        actor.require_role()


def due_month(session: Session, *, close_day: int) -> Month | None:
    """Return the oldest month that should be closed by itself now.

    Args:
        session: A view.
        close_day: Day of the next month from which on; 0 for never.
    """
    first = repository.first_month(session)
    if not close_day or first is None:
        return None
    today = _now().astimezone(BEIJING).date()
    closed = closed_months.closed(session)
    month = first
    while date(month.later(1).year, month.later(1).month, close_day) <= today:
        if str(month) not in closed:
            return month
        month = month.later(1)
    return None


def known_months(session: Session) -> list[tuple[Month, int]]:
    """Return the months of the record, the present one first, each with its number of closed versions."""
    closed, month = closed_months.closed(session), this_month()
    first = min(repository.first_month(session) or month, month)
    found = []
    while month >= first:
        found.append((month, closed.get(str(month), 0)))
        month = month.later(-1)
    return found


def this_month() -> Month:
    """Return the present month."""
    return Month.of(_now())


def _now() -> datetime:
    return closed_months.now()
