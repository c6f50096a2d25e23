"""Queries for the queue: one index answers its order, its filters and its counts.

Open cases are those whose `closed_at` is empty. The condition is written out literally, because only then do
both databases use the index that holds nothing but open cases (`ix_cases_open`), or nothing but closed ones.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, Integer, and_, cast, func, literal, or_, select, true, tuple_
from sqlalchemy.orm import Session, lazyload

from service.review.opinion import OPEN_STATES, CaseState, Stage
from service.tables import Case, CaseCandidate, Check, Decision, Officer


@dataclass(frozen=True, slots=True)
class CaseFilter:
    """Which cases are asked for.

    Attributes:
        within: Only cases of divisions whose code begins with each of these.
        states: Only in one of these states.
        kind: Only of this kind.
        transaction_type: Only of this kind of transaction.
        claimed_by: Only those that this officer has claimed.
        escalated: Only those that are, or are not, with the supervisors.
        opened_before: Only those opened before.
    """

    within: tuple[str, ...]
    states: Collection[str]
    kind: str | None = None
    transaction_type: str | None = None
    claimed_by: UUID | None = None
    escalated: bool | None = None
    opened_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the queue: behind the case with these."""

    urgency: int
    opened_at: datetime
    case_id: UUID


@dataclass(frozen=True, slots=True)
class CaseRow:
    """One line of the queue."""

    case: Case
    check: Check | None
    claimed_by_name: str | None
    candidates: int
    best_score: float | None
    lowest_false_alarm_rate: float | None


@dataclass(frozen=True, slots=True)
class StateCount:
    """How many cases are in a state; of them claimed by the officer, by nobody, escalated, and overdue."""

    state: str
    cases: int
    mine: int
    unclaimed: int
    escalated: int
    overdue: int


def queue_page(
    session: Session, wanted: CaseFilter, *, only_open: bool, after: Place | None, limit: int
) -> Sequence[CaseRow]:
    """Return cases, beginning behind a place in the queue.

    Args:
        session: A view.
        wanted: Which cases.
        only_open: Whether `wanted.states` are open ones: these come most urgent first and then oldest
            first; else the order is oldest first. Neither order moves while cases arrive and go.
        after: The place; None for the start.
        limit: Longest page.
    """
    of_case = CaseCandidate.case_id == Case.id
    order = (Case.urgency, Case.opened_at, Case.id) if only_open else (Case.opened_at, Case.id)
    query = (
        select(
            Case,
            Check,
            Officer.name,
            select(func.count()).where(of_case).scalar_subquery(),
            select(func.max(CaseCandidate.score)).where(of_case).scalar_subquery(),
            select(func.min(CaseCandidate.false_alarm_rate)).where(of_case).scalar_subquery(),
        )
        .outerjoin(Check, Check.id == Case.check_id)
        .outerjoin(Officer, Officer.id == Case.claimed_by)
        .options(lazyload(Case.candidates), lazyload(Case.decisions), lazyload(Check.searches))
        .where(*_conditions(wanted), _openness(wanted.states), Case.state.in_(wanted.states))
        .order_by(*order)
        .limit(limit)
    )
    if after is not None:
        place = (after.urgency, after.opened_at, after.case_id)[-len(order) :]
        behind = zip(place, order, strict=True)
        query = query.where(
            tuple_(*order) > tuple_(*(literal(value, column.type) for value, column in behind))
        )
    return [CaseRow(*row) for row in session.execute(query)]


def count_by_state(
    session: Session,
    wanted: CaseFilter,
    *,
    officer_id: UUID | None,
    overdue_before: datetime,
    only_open: bool,
) -> list[StateCount]:
    """Count the cases that match, by state, whatever `wanted.states` says.

    Args:
        session: A view.
        wanted: Which cases.
        officer_id: Whose claims count as `mine`.
        overdue_before: Cases opened before count as overdue.
        only_open: Whether closed ones are left out: of those there are many more.
    """
    columns = (
        Case.state,
        func.count(),
        _times(Case.claimed_by == officer_id),
        _times(Case.claimed_by.is_(None)),
        _times(Case.escalated.is_(True)),
        _times(Case.opened_at < overdue_before),
    )
    parts = (
        [Case.closed_at.is_(None)] if only_open else [Case.closed_at.is_(None), Case.closed_at.is_not(None)]
    )
    found = []
    for part in parts:  # Two queries, for each has an index of its own.
        query = select(*columns).where(*_conditions(wanted), part).group_by(Case.state)
        found += [StateCount(*row) for row in session.execute(query)]
    return found


def next_unclaimed(
    session: Session, wanted: CaseFilter, *, officer_id: UUID, skipped: Collection[UUID]
) -> Case | None:
    """Return the most urgent open case that nobody has claimed and whose first opinion is not this officer's.

    PostgreSQL passes over cases that another transaction is claiming at this moment. A case that was
    claimed since is for the conditional update to notice.

    Args:
        session: A transaction.
        wanted: Which cases.
        officer_id: Who wants one.
        skipped: Cases that were tried and lost to somebody else.
    """
    own_opinion = (
        select(Decision.id)
        .where(
            Decision.case_id == Case.id,
            Decision.round == Case.round,
            Decision.stage == Stage.FIRST,
            Decision.officer_id == officer_id,
        )
        .exists()
    )
    query = (
        select(Case)
        .where(
            *_conditions(wanted),
            Case.closed_at.is_(None),
            Case.state.in_(wanted.states),
            Case.claimed_by.is_(None),
            or_(Case.state != CaseState.AWAITING_SECOND_OFFICER, ~own_opinion),
            Case.id.not_in(skipped),
        )
        .order_by(Case.urgency, Case.opened_at, Case.id)
        .limit(1)
        .with_for_update(skip_locked=True)
        .execution_options(populate_existing=True)
    )
    return session.scalar(query)


def _times(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.coalesce(func.sum(cast(condition, Integer)), 0)


def _openness(states: Collection[str]) -> ColumnElement[bool]:
    """Say of states what the indexes are made by: whether their cases are open."""
    if OPEN_STATES.issuperset(states):
        return Case.closed_at.is_(None)
    return true() if OPEN_STATES.intersection(states) else Case.closed_at.is_not(None)


def _conditions(wanted: CaseFilter) -> list[ColumnElement[bool]]:
    conditions = [_under(prefix) for prefix in wanted.within]
    if wanted.kind is not None:
        conditions.append(Case.kind == wanted.kind)
    if wanted.transaction_type is not None:
        conditions.append(Case.transaction_type == wanted.transaction_type)
    if wanted.claimed_by is not None:
        conditions.append(Case.claimed_by == wanted.claimed_by)
    if wanted.escalated is not None:
        conditions.append(Case.escalated.is_(wanted.escalated))
    if wanted.opened_before is not None:
        conditions.append(Case.opened_at < wanted.opened_before)
    return conditions


def _under(prefix: str) -> ColumnElement[bool]:
    """Tell the divisions whose code begins so. As a range: cheaper than LIKE for each of 50,000 cases."""
    stem = prefix.rstrip("9")
    if not (prefix.isascii() and prefix.isdigit() and stem):
        return Case.division_code.startswith(prefix, autoescape=True)
    after = stem[:-1] + str(int(stem[-1]) + 1)
    return and_(Case.division_code >= prefix, Case.division_code < after)
