"""Queries of the monthly table; they aggregate in the database and only read."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Integer, Select, and_, case, cast, func, literal_column, or_, select
from sqlalchemy.orm import Session, aliased

from service.months import Month
from service.notices.service import NoticeKind
from service.register.flags import ARRIVALS, DEPARTURES, REGION_DIGITS, FlagEvent
from service.review.opinion import DECIDED_STATES, CaseState
from service.tables import Case, Check, Notice, PersonFlagEvent, RegisterEntry

FETCH = 10_000
"""Rows fetched at once while groups are read one after the other."""

Event = PersonFlagEvent


@dataclass(frozen=True, slots=True)
class Counted:
    """How often something happened in a region: in the month, and from the beginning to its end."""

    region: str
    month: int
    cumulative: int


@dataclass(frozen=True, slots=True)
class CountedPerson:
    """How often something happened to one person; None for all subjects without a registration."""

    region: str
    person: str | None
    month: int
    cumulative: int


def flag_events(session: Session, month: Month) -> Sequence[tuple[str, str, str, int]]:
    """Count the events up to a month's end by month, region and kind."""
    query = (
        select(Event.month, Event.region, Event.kind, func.count())
        .where(Event.month <= str(month))
        .group_by(Event.month, Event.region, Event.kind)
    )
    return [(row[0], row[1], row[2], row[3]) for row in session.execute(query)]


def repeated_events(session: Session, month: Month) -> Iterator[tuple[str, str, str, str]]:
    """Return person, month, region and kind of events, in order, where a person had several in a month."""
    signed = Event.kind.in_(sorted(ARRIVALS | DEPARTURES))
    several = (
        select(Event.person_id, Event.month)
        .where(Event.month <= str(month), signed)
        .group_by(Event.person_id, Event.month)
        .having(func.count() > 1)
        .subquery()
    )
    query = (
        select(Event.person_id, Event.month, Event.region, Event.kind)
        .join(several, and_(several.c.person_id == Event.person_id, several.c.month == Event.month))
        .where(signed)
        .order_by(Event.person_id, Event.month, Event.at, Event.id)
    )
    for row in session.execute(query.execution_options(yield_per=FETCH)):
        yield row[0], row[1], row[2], row[3]


def registered_flagged(session: Session, month: Month) -> list[Counted]:
    """Count the registered persons of a category who were flagged by the month's end."""
    flagged = aliased(Event)
    has_flag = (
        select(flagged.id)
        .where(
            flagged.person_id == Event.person_id,
            flagged.month <= str(month),
            flagged.kind == FlagEvent.FLAGGED,
        )
        .exists()
    )
    query = (
        select(Event.region, func.sum(_as_int(Event.month == str(month))), func.count())
        .where(Event.kind == FlagEvent.REGISTERED, Event.month <= str(month), has_flag)
        .group_by(Event.region)
    )
    return [Counted(*row) for row in session.execute(query)]


def checks(session: Session, month: Month) -> dict[str, list[Counted]]:
    """Count checks by outcome and region."""
    query = (
        select(
            Check.outcome,
            Check.region,
            func.sum(_as_int(Check.created_at >= month.start)),
            func.count(),
        )
        .where(Check.created_at < month.end)
        .group_by(Check.outcome, Check.region)
    )
    found: dict[str, list[Counted]] = {}
    for outcome, region, of_month, cumulative in session.execute(query):
        found.setdefault(outcome, []).append(Counted(region, of_month, cumulative))
    return found


def persons_with_candidates(session: Session, month: Month) -> list[CountedPerson]:
    """Count the checks with candidates by person and region."""
    query = (
        select(
            Check.region,
            Check.person_id,
            func.sum(_as_int(Check.created_at >= month.start)),
            func.count(),
        )
        .where(Check.outcome == "candidates", Check.created_at < month.end)
        .group_by(Check.region, Check.person_id)
    )
    return [CountedPerson(*row) for row in session.execute(query)]


def cases_under_review(session: Session, month: Month) -> list[CountedPerson]:
    """Count the cases that were open at the month's end by subject and region."""
    open_then = or_(Case.closed_at.is_(None), Case.closed_at >= month.end)
    return _cases(session, month, Case.opened_at < month.end, open_then)


def confirmed_cases(session: Session, month: Month) -> list[CountedPerson]:
    """Count the cases in which a duplicate was confirmed by subject and region."""
    confirmed = Case.state == CaseState.DUPLICATE_CONFIRMED
    return _cases(session, month, confirmed, Case.closed_at < month.end)


def _cases(session: Session, month: Month, *where: ColumnElement[bool]) -> list[CountedPerson]:
    query = (
        _of_case(
            _region(),
            Case.subject_person_id,
            func.sum(_as_int(func.coalesce(Case.closed_at >= month.start, False))),
            func.count(),
        )
        .where(*where)
        .group_by(_region(), Case.subject_person_id)
    )
    return [CountedPerson(*row) for row in session.execute(query)]


def waiting(session: Session, month: Month) -> Iterator[tuple[str, datetime, datetime]]:
    """Return region, opening and conclusion of the cases that officers concluded in the month."""
    query = _of_case(_region(), Case.opened_at, Case.closed_at).where(
        Case.state.in_(sorted(DECIDED_STATES)), Case.closed_at >= month.start, Case.closed_at < month.end
    )
    for row in session.execute(query.execution_options(yield_per=FETCH)):
        yield row[0], row[1], row[2]


def transactions_stopped(session: Session, month: Month) -> list[Counted]:
    """Count the orders to stop a transaction that were not taken back by the month's end."""
    reversal = aliased(Notice)
    query = (
        _of_notice(_region(), func.sum(_as_int(Notice.created_at >= month.start)), func.count())
        .outerjoin(reversal, and_(reversal.reverses_id == Notice.id, reversal.created_at < month.end))
        .where(Notice.kind == NoticeKind.TERMINATE, Notice.created_at < month.end, reversal.id.is_(None))
        .group_by(_region())
    )
    return [Counted(*row) for row in session.execute(query)]


def notices_sent(session: Session, month: Month) -> list[Counted]:
    """Count the requests to cancel that went to another county."""
    query = _elsewhere(month, Notice.created_at)
    return [Counted(*row) for row in session.execute(query)]


def acknowledgements(session: Session, month: Month) -> list[Counted]:
    """Count the acknowledgements of requests to cancel that went to another county."""
    query = _elsewhere(month, Notice.acknowledged_at)
    return [Counted(*row) for row in session.execute(query)]


def _elsewhere(month: Month, when: Any) -> Select[Any]:
    return (
        _of_notice(_region(), func.sum(_as_int(when >= month.start)), func.count())
        .where(
            Notice.kind == NoticeKind.CANCEL_REQUEST,
            when < month.end,
            _county(Notice.recipient) != _region(),
        )
        .group_by(_region())
    )


def duplicates_cancelled(session: Session, month: Month) -> list[tuple[str, str, str, int]]:
    """Return region of the case, region of the registration, person, and whether in the month.

    A registration counts when officers asked for its cancellation before it was erased.
    """
    query = (
        _of_notice(_region(), Event.region, Event.person_id, func.max(_as_int(Event.month == str(month))))
        .join(
            Event,
            and_(
                Event.person_id == Notice.person_id,
                Event.kind.in_((FlagEvent.CANCELLED, FlagEvent.REMOVED)),
                Event.at >= Notice.created_at,
                Event.month <= str(month),
            ),
        )
        .where(Notice.kind == NoticeKind.CANCEL_REQUEST)
        .group_by(_region(), Event.region, Event.person_id)
    )
    return [tuple(row) for row in session.execute(query)]


def first_month(session: Session) -> Month | None:
    """Return the month in which the record begins."""
    found = session.scalar(select(func.min(Event.month)))
    first_check = session.scalar(select(func.min(Check.created_at)))
    months = [Month.parse(found)] if found is not None else []
    return min([*months, Month.of(first_check)] if first_check is not None else months, default=None)


def flagged_now(session: Session) -> int:
    """Count those whose flag stands in the register."""
    return session.scalar(select(func.count()).where(RegisterEntry.left_as.is_(None))) or 0


def _of_case(*columns: Any) -> Select[Any]:
    return select(*columns).select_from(Case).outerjoin(Check, Check.id == Case.check_id)


def _of_notice(*columns: Any) -> Select[Any]:
    return (
        select(*columns)
        .select_from(Notice)
        .join(Case, Case.id == Notice.case_id)
        .outerjoin(Check, Check.id == Case.check_id)
    )


def _region() -> ColumnElement[str]:
    """Where a case counts: as its check, else where it lies."""
    return func.coalesce(Check.region, _county(Case.division_code))


def _county(division_code: Any) -> ColumnElement[str]:
    """A code's county; with literals, for PostgreSQL takes two parameters of GROUP BY for different ones."""
    return func.substr(division_code, literal_column("1"), literal_column(str(REGION_DIGITS)))


def _as_int(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return cast(case((condition, 1), else_=0), Integer)
