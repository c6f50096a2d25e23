"""Queries for cases, and the one conditional update that settles races between officers."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from service.tables import Case, Check, Decision, Officer, Person, Portrait


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


def check_by_id(session: Session, check_id: UUID) -> Check | None:
    """Find a check."""
    return session.get(Check, check_id)


def persons_by_key(session: Session, keys: Collection[int]) -> dict[int, Person]:
    """Find the registrations that still exist, by our key."""
    found = session.scalars(select(Person).where(Person.key.in_(keys)))
    return {person.key: person for person in found}


def persons_kept(session: Session, keys: Collection[int], person_ids: Collection[str]) -> Sequence[Person]:
    """Find registrations that still exist, by our key or by theirs, and keep them as they are until the end.

    Who changes or erases one meanwhile waits, and so finds the notices that this transaction issues about it.
    The order is that in which batches of registrations lock them.
    """
    query = (
        select(Person)
        .where(or_(Person.key.in_(keys), Person.person_id.in_(person_ids)))
        .order_by(Person.person_id)
        .with_for_update(read=True)
        .execution_options(populate_existing=True)
    )
    return session.scalars(query).all()


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
