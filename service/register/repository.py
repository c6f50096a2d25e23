"""Queries of the register."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, CompoundSelect, and_, func, or_, select, tuple_
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased, lazyload

from service.tables import (
    Case,
    CaseCandidate,
    Check,
    Notice,
    Officer,
    Person,
    PersonFlagEvent,
    RegisterEntry,
    Visit,
)

MANY = 500
"""Keys in one IN list; SQLite's default allows far more, PostgreSQL plans long lists slowly."""


@dataclass(frozen=True, slots=True)
class RegisterFilter:
    """Which lines are asked for.

    Attributes:
        within: Beginning of the division code; empty for all.
        left_as: Only those whose flag ended so; empty for those whose flag stands; None for all.
        case_states: Only those with a case in one of these states.
        no_case_states: Without those who have a case in one of these states.
        overdue_on: Only those whose next visit was due before this day.
        sought: Only those with this key, citizen number or beginning of the name; empty for all.
    """

    within: str
    left_as: str | None = ""
    case_states: Collection[str] = ()
    no_case_states: Collection[str] = ()
    overdue_on: date | None = None
    sought: str = ""


@dataclass(frozen=True, slots=True)
class Tally:
    """What one person's line counts."""

    checks: int = 0
    last_check_at: datetime | None = None
    last_outcome: str | None = None
    visits: int = 0
    notices: int = 0
    case_states: frozenset[str] = frozenset()


def entries_for_update(session: Session, person_ids: Collection[str]) -> dict[str, RegisterEntry]:
    """Find lines of the register, and lock them until the transaction ends."""
    found: dict[str, RegisterEntry] = {}
    for part in _parts(person_ids):
        query = (
            select(RegisterEntry)
            .where(RegisterEntry.person_id.in_(part))
            .order_by(RegisterEntry.person_id)
            .with_for_update()
        )
        found |= {entry.person_id: entry for entry in session.scalars(query)}
    return found


def entry_of(session: Session, person_id: str) -> RegisterEntry | None:
    """Find one line of the register."""
    return session.get(RegisterEntry, person_id)


def standing_level_code_changes(session: Session, person_ids: Collection[str]) -> dict[str, UUID]:
    """Return the case of each person's latest level-code notice that was not taken back."""
    reversal = aliased(Notice)
    found: dict[str, UUID] = {}
    for part in _parts(person_ids):
        query = (
            select(Notice.person_id, Notice.case_id)
            .outerjoin(reversal, reversal.reverses_id == Notice.id)
            .where(Notice.person_id.in_(part), Notice.kind == "level_code_change", reversal.id.is_(None))
            .order_by(Notice.sequence)
        )
        found |= {
            person_id: case_id for person_id, case_id in session.execute(query) if person_id is not None
        }
    return found


def persons_with_event(session: Session, kind: str, person_ids: Collection[str]) -> set[str]:
    """Return those of some persons who have an event of a kind."""
    found: set[str] = set()
    for part in _parts(person_ids):
        query = select(PersonFlagEvent.person_id).where(
            PersonFlagEvent.person_id.in_(part), PersonFlagEvent.kind == kind
        )
        found.update(session.scalars(query))
    return found


def unlisted_flagged(session: Session, flagged_codes: Collection[str], *, limit: int) -> Sequence[Person]:
    """Find persons whose level code is flagged and whose flag does not stand in the register."""
    query = (
        select(Person)
        .outerjoin(
            RegisterEntry,
            and_(RegisterEntry.person_id == Person.person_id, RegisterEntry.left_as.is_(None)),
        )
        .where(Person.level_code.in_(flagged_codes), RegisterEntry.person_id.is_(None))
        .order_by(Person.person_id)
        .limit(limit)
    )
    return session.scalars(query).all()


def wrongly_listed(session: Session, flagged_codes: Collection[str], *, limit: int) -> Sequence[Person | str]:
    """Find whose flag stands in the register without a flagged level code: person, or id of one gone."""
    query = (
        select(RegisterEntry.person_id, Person)
        .outerjoin(Person, Person.person_id == RegisterEntry.person_id)
        .where(
            RegisterEntry.left_as.is_(None),
            or_(Person.key.is_(None), Person.level_code.not_in(flagged_codes)),
        )
        .order_by(RegisterEntry.person_id)
        .limit(limit)
    )
    return [person if person is not None else person_id for person_id, person in session.execute(query)]


def register_page(
    session: Session, wanted: RegisterFilter, *, after: tuple[str, str] | None, limit: int
) -> Sequence[tuple[RegisterEntry, Person | None]]:
    """Return lines by division and person, beginning behind a place; the index has them in this order."""
    query = (
        select(RegisterEntry, Person)
        .outerjoin(Person, Person.person_id == RegisterEntry.person_id)
        .where(*_conditions(wanted))
        .order_by(RegisterEntry.division_code, RegisterEntry.person_id)
        .limit(limit)
    )
    if after is not None:
        query = query.where(tuple_(RegisterEntry.division_code, RegisterEntry.person_id) > after)
    return [(entry, person) for entry, person in session.execute(query)]


def count_lines(session: Session, wanted: RegisterFilter) -> int:
    """Count the lines that match."""
    query = (
        select(func.count())
        .select_from(RegisterEntry)
        .outerjoin(Person, Person.person_id == RegisterEntry.person_id)
        .where(*_conditions(wanted))
    )
    return session.scalar(query) or 0


def _conditions(wanted: RegisterFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if wanted.within:
        # As a range of digits, so that the index serves it under every collation.
        conditions.append(RegisterEntry.division_code >= wanted.within)
        if wanted.within.strip("9"):
            following = str(int(wanted.within) + 1).zfill(len(wanted.within))
            conditions.append(RegisterEntry.division_code < following)
    if wanted.left_as is not None:
        column = RegisterEntry.left_as
        conditions.append(column == wanted.left_as if wanted.left_as else column.is_(None))
    if wanted.overdue_on is not None:
        conditions.append(RegisterEntry.next_visit_on < wanted.overdue_on)
    if wanted.case_states:
        conditions.append(RegisterEntry.person_id.in_(_persons_in_cases(wanted.case_states)))
    if wanted.no_case_states:
        conditions += _in_no_case(wanted.no_case_states)
    if wanted.sought:
        conditions.append(_sought(wanted.sought))
    return conditions


def _persons_in_cases(states: Collection[str]) -> CompoundSelect[Any]:
    """Whoever is the subject or a candidate of a case in one of these states."""
    subjects = select(Case.subject_person_id).where(
        Case.state.in_(states), Case.subject_person_id.is_not(None)
    )
    candidates = (
        select(CaseCandidate.person_id)
        .join(Case, Case.id == CaseCandidate.case_id)
        .where(Case.state.in_(states))
    )
    return subjects.union(candidates)


def _in_no_case(states: Collection[str]) -> list[ColumnElement[bool]]:
    """Whoever is neither the subject nor a candidate of such a case; asked line by line, for most are not."""
    subjects = select(Case.id).where(
        Case.subject_person_id == RegisterEntry.person_id, Case.state.in_(states)
    )
    candidates = (
        select(CaseCandidate.case_id)
        .join(Case, Case.id == CaseCandidate.case_id)
        .where(CaseCandidate.person_id == RegisterEntry.person_id, Case.state.in_(states))
    )
    return [~subjects.exists(), ~candidates.exists()]


def _sought(text: str) -> ColumnElement[bool]:
    """Whoever is meant: keys and citizen numbers have digits and are compared whole, names have none."""
    is_key = RegisterEntry.person_id == text
    if any(character.isdigit() for character in text):
        has_number = select(Person.person_id).where(Person.citizen_id_number == text.upper())
        return or_(is_key, RegisterEntry.person_id.in_(has_number))
    return or_(is_key, Person.name.startswith(text, autoescape=True))


def tallies(session: Session, person_ids: Sequence[str]) -> dict[str, Tally]:
    """Count checks, visits, notices and cases of the persons of one page."""
    checks = _last_checks(session, person_ids)
    visits = _counted(session, Visit.person_id, person_ids, Visit.corrects_id.is_(None))
    notices = _counted(session, Notice.person_id, person_ids)
    states = _case_states(session, person_ids)
    return {
        person_id: Tally(
            checks=checks[person_id][0] if person_id in checks else 0,
            last_check_at=checks[person_id][1] if person_id in checks else None,
            last_outcome=checks[person_id][2] if person_id in checks else None,
            visits=visits.get(person_id, 0),
            notices=notices.get(person_id, 0),
            case_states=frozenset(states.get(person_id, ())),
        )
        for person_id in person_ids
    }


def _last_checks(session: Session, person_ids: Sequence[str]) -> dict[str, tuple[int, datetime, str]]:
    query = (
        select(Check.person_id, Check.created_at, Check.outcome)
        .where(Check.person_id.in_(person_ids))
        .order_by(Check.created_at)
    )
    found: dict[str, tuple[int, datetime, str]] = {}
    for person_id, created_at, outcome in session.execute(query):
        if person_id is not None:
            before = found[person_id][0] if person_id in found else 0
            found[person_id] = (before + 1, created_at, outcome)
    return found


def _counted(
    session: Session,
    column: InstrumentedAttribute[Any],
    person_ids: Sequence[str],
    *where: ColumnElement[bool],
) -> dict[str, int]:
    query = select(column, func.count()).where(column.in_(person_ids), *where).group_by(column)
    return {row[0]: row[1] for row in session.execute(query)}


def _case_states(session: Session, person_ids: Sequence[str]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    subjects = select(Case.subject_person_id, Case.state).where(Case.subject_person_id.in_(person_ids))
    candidates = (
        select(CaseCandidate.person_id, Case.state)
        .join(Case, Case.id == CaseCandidate.case_id)
        .where(CaseCandidate.person_id.in_(person_ids))
    )
    for query in (subjects, candidates):
        for person_id, state in session.execute(query):
            if person_id is not None:
                found.setdefault(person_id, set()).add(state)
    return found


def person_of(session: Session, person_id: str) -> Person | None:
    """Find a registration."""
    return session.scalar(select(Person).where(Person.person_id == person_id))


def division_of(session: Session, person_id: str | None) -> str | None:
    """Return the division of a registration, None when there is no such registration or it names none."""
    if person_id is None:
        return None
    return session.scalar(select(Person.division_code).where(Person.person_id == person_id))


def checks_of(session: Session, person_id: str, *, limit: int) -> Sequence[Check]:
    """Return a person's checks, newest first."""
    query = select(Check).where(Check.person_id == person_id).options(lazyload(Check.searches))
    return session.scalars(query.order_by(Check.created_at.desc(), Check.id).limit(limit)).all()


def cases_of(session: Session, person_id: str, *, limit: int) -> Sequence[Case]:
    """Return the cases that a person is the subject or a candidate of, newest first."""
    as_candidate = select(CaseCandidate.case_id).where(CaseCandidate.person_id == person_id)
    query = (
        select(Case)
        .where(or_(Case.subject_person_id == person_id, Case.id.in_(as_candidate)))
        .options(lazyload(Case.candidates), lazyload(Case.decisions))
    )
    return session.scalars(query.order_by(Case.opened_at.desc(), Case.id).limit(limit)).all()


def notices_of(session: Session, person_id: str, *, limit: int) -> Sequence[Notice]:
    """Return the notices about a person, newest first."""
    query = select(Notice).where(Notice.person_id == person_id)
    return session.scalars(query.order_by(Notice.sequence.desc()).limit(limit)).all()


def events_of(session: Session, person_id: str) -> Sequence[PersonFlagEvent]:
    """Return what happened to a person's flag, in order."""
    query = select(PersonFlagEvent).where(PersonFlagEvent.person_id == person_id)
    return session.scalars(query.order_by(PersonFlagEvent.at, PersonFlagEvent.id)).all()


def visits_of(session: Session, person_id: str) -> Sequence[tuple[Visit, str]]:
    """Return a person's visits as recorded, newest record first, each with the officer's name."""
    query = (
        select(Visit, Officer.name)
        .join(Officer, Officer.id == Visit.officer_id)
        .where(Visit.person_id == person_id)
        .order_by(Visit.id.desc())
    )
    return [(visit, name) for visit, name in session.execute(query)]


def latest_visit(session: Session, person_id: str) -> Visit | None:
    """Return the visit of the latest day among those that were not corrected."""
    correction = aliased(Visit)
    query = (
        select(Visit)
        .outerjoin(correction, correction.corrects_id == Visit.id)
        .where(Visit.person_id == person_id, correction.id.is_(None))
        .order_by(Visit.visited_on.desc(), Visit.id.desc())
        .limit(1)
    )
    return session.scalar(query)


def _parts(keys: Iterable[str]) -> Iterable[list[str]]:
    ordered = sorted(keys)
    return (ordered[start : start + MANY] for start in range(0, len(ordered), MANY))
