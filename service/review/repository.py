"""Queries for cases, and the one conditional update that settles races between officers."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Integer, and_, cast, func, or_, select, update
from sqlalchemy.orm import Session, lazyload

from service.tables import Case, CaseCandidate, Check, Decision, Officer, Person, Portrait


@dataclass(frozen=True, slots=True)
class CaseFilter:
    """Which cases are asked for.

    Attributes:
        within: Only cases of divisions whose code begins with each of these.
        states: Only in one of these states.
        kind: Only of this kind.
        claimed_by: Only those that this officer has claimed.
        escalated: Only those that are, or are not, with the supervisors.
    """

    within: tuple[str, ...]
    states: Collection[str]
    kind: str | None = None
    claimed_by: UUID | None = None
    escalated: bool | None = None


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
    """How many cases are in a state; of them claimed by the officer, and escalated."""

    state: str
    cases: int
    mine: int
    escalated: int


def case_by_id(session: Session, case_id: UUID) -> Case | None:
    """Find a case as it is stored now."""
    return session.get(Case, case_id, populate_existing=True)


def case_of_check(session: Session, check_id: UUID) -> Case | None:
    """Find the case that a check opened."""
    return session.scalar(select(Case).where(Case.check_id == check_id))


def move_if_unchanged(session: Session, case: Case, values: Mapping[str, Any]) -> bool:
    """Change a case if it still is in the state and revision that were read; tell whether it was.

    The revision counts up. `case` is brought up to date either way.
    """
    statement = (
        update(Case)
        .where(Case.id == case.id, Case.state == case.state, Case.revision == case.revision)
        .values(dict(values) | {"revision": Case.revision + 1})
        .returning(Case.id)
        .execution_options(synchronize_session=False)
    )
    moved = session.scalar(statement) is not None
    session.refresh(case)
    return moved


def withdraw_if_open(session: Session, case_id: UUID, *, open_states: Collection[str], at: datetime) -> bool:
    """Withdraw a case that nobody has decided, whoever works on it; tell whether it was."""
    statement = (
        update(Case)
        .where(Case.id == case_id, Case.state.in_(open_states))
        .values(
            state="withdrawn",
            claimed_by=None,
            claimed_at=None,
            closed_at=at,
            revision=Case.revision + 1,
        )
        .returning(Case.id)
        .execution_options(synchronize_session=False)
    )
    return session.scalar(statement) is not None


def decision_of(session: Session, case: Case, stage: str) -> Decision | None:
    """Find what was recorded at a stage of the case's present round."""
    query = select(Decision).where(
        Decision.case_id == case.id, Decision.round == case.round, Decision.stage == stage
    )
    return session.scalar(query)


def check_of(session: Session, case: Case) -> Check | None:
    """Find the check that opened a case."""
    return session.get(Check, case.check_id) if case.check_id is not None else None


def persons_by_key(session: Session, keys: Collection[int]) -> dict[int, Person]:
    """Find the registrations that still exist, by our key."""
    found = session.scalars(select(Person).where(Person.key.in_(keys)))
    return {person.key: person for person in found}


def person_by_id(session: Session, person_id: str) -> Person | None:
    """Find a registration by the population system's key."""
    return session.scalar(select(Person).where(Person.person_id == person_id))


def portraits_of_persons(session: Session, keys: Collection[int]) -> Sequence[Portrait]:
    """Find the enrolled portraits of registrations, by our key, newest first."""
    newest_first = (Portrait.taken_on.desc().nulls_last(), Portrait.reference_id.desc())
    return session.scalars(
        select(Portrait).where(Portrait.person_key.in_(keys)).order_by(*newest_first)
    ).all()


def officers_by_id(session: Session, ids: Collection[UUID]) -> dict[UUID, Officer]:
    """Find officers' accounts."""
    found = session.scalars(select(Officer).where(Officer.id.in_(ids)))
    return {officer.id: officer for officer in found}


def queue_page(
    session: Session, wanted: CaseFilter, *, after: tuple[datetime, UUID] | None, limit: int
) -> Sequence[CaseRow]:
    """Return cases, oldest first, beginning behind a place in the queue.

    New cases join at the end, so a page stays where it is while they arrive.
    """
    of_case = CaseCandidate.case_id == Case.id
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
        .where(*_conditions(wanted), Case.state.in_(wanted.states))
        .order_by(Case.opened_at, Case.id)
        .limit(limit)
    )
    if after is not None:
        opened_at, case_id = after
        query = query.where(
            or_(Case.opened_at > opened_at, and_(Case.opened_at == opened_at, Case.id > case_id))
        )
    return [CaseRow(*row) for row in session.execute(query)]


def count_by_state(session: Session, wanted: CaseFilter, *, officer_id: UUID | None) -> list[StateCount]:
    """Count the cases that match, whatever their state."""
    query = (
        select(
            Case.state,
            func.count(),
            func.coalesce(func.sum(cast(Case.claimed_by == officer_id, Integer)), 0),
            func.coalesce(func.sum(cast(Case.escalated, Integer)), 0),
        )
        .where(*_conditions(wanted))
        .group_by(Case.state)
    )
    return [StateCount(*row) for row in session.execute(query)]


def _conditions(wanted: CaseFilter) -> list[ColumnElement[bool]]:
    conditions = [Case.division_code.startswith(prefix, autoescape=True) for prefix in wanted.within]
    if wanted.kind is not None:
        conditions.append(Case.kind == wanted.kind)
    if wanted.claimed_by is not None:
        conditions.append(Case.claimed_by == wanted.claimed_by)
    if wanted.escalated is not None:
        conditions.append(Case.escalated.is_(wanted.escalated))
    return conditions
