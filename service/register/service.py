"""Rules of the register: who sees whom, what officers record of their visits, what is put on record."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from service.audit.service import AuditKind, record
from service.auth.service import Actor, Role, division_prefix, in_division
from service.errors import InvalidRequestError, NotFoundError, VisitCorrectedError
from service.months import BEIJING
from service.register import repository
from service.register.repository import RegisterFilter, Tally
from service.review.opinion import OPEN_STATES, CaseState
from service.review.views import masked
from service.tables import Case, Check, Notice, Person, PersonFlagEvent, RegisterEntry, Visit, now

READERS = (Role.OFFICER, Role.SUPERVISOR)
MOST_SHOWN = 50
"""Checks, cases and notices that a person's page lists; few persons have more, and the counts tell."""


class RegisterState(StrEnum):
    """How a person stands; of several the first that holds is shown."""

    CANCELLED = "cancelled"
    ESTABLISHED = "established"
    OTHER = "other"
    DUPLICATE_CONFIRMED = "duplicate_confirmed"
    OPEN_CASE = "open_case"
    FLAGGED = "flagged"


LEFT = (RegisterState.CANCELLED, RegisterState.ESTABLISHED, RegisterState.OTHER)

NO_STATES: frozenset[CaseState] = frozenset()
CONFIRMED = frozenset({CaseState.DUPLICATE_CONFIRMED})

IN_CASES: dict[RegisterState | None, tuple[frozenset[CaseState], frozenset[CaseState]]] = {
    RegisterState.DUPLICATE_CONFIRMED: (CONFIRMED, NO_STATES),
    RegisterState.OPEN_CASE: (OPEN_STATES, CONFIRMED),
    RegisterState.FLAGGED: (NO_STATES, OPEN_STATES | CONFIRMED),
}
"""States of cases that a person who stands so has, and has not."""


@dataclass(frozen=True, slots=True)
class RegisterQuery:
    """A page of the register.

    Attributes:
        state: Only persons who stand so; None for everybody whose flag stands.
        division: Beginning of a division code, within the officer's own.
        overdue: Only those whose next visit is overdue.
        sought: Only those with this key, citizen number or beginning of the name, flagged or not any more.
        after: Place behind which the page begins.
        limit: Lines of the page.
    """

    state: RegisterState | None = None
    division: str | None = None
    overdue: bool = False
    sought: str = ""
    after: tuple[str, str] | None = None
    limit: int = 50


@dataclass(frozen=True, slots=True)
class RegisterLine:
    """One person's line; the registration's fields are None where it is no longer held."""

    person_id: str
    name: str | None
    sex: str | None
    birth_date: date | None
    citizen_id_number_masked: str | None
    category: str | None
    division_code: str
    state: RegisterState
    flagged_at: datetime
    left_at: datetime | None
    visited_on: date | None
    next_visit_on: date | None
    overdue: bool
    tally: Tally


@dataclass(frozen=True, slots=True)
class RegisterPage:
    """Some lines, and the place behind them when more follow."""

    lines: list[RegisterLine]
    next: tuple[str, str] | None


@dataclass(frozen=True, slots=True)
class RecordedVisit:
    """One visit as recorded, and whether a later record corrects it."""

    visit: Visit
    officer: str
    corrected: bool


@dataclass(frozen=True, slots=True)
class PersonFile:
    """All that the register holds of one person; never a portrait.

    `own_cases` are those of `cases` that the officer may open: a person's cases can lie with any division.
    """

    line: RegisterLine
    ethnicity: str | None
    number: str | None
    events: Sequence[PersonFlagEvent]
    checks: Sequence[Check]
    cases: Sequence[Case]
    own_cases: frozenset[UUID]
    notices: Sequence[Notice]
    visits: list[RecordedVisit]


@dataclass(frozen=True, slots=True)
class NewVisit:
    """A visit as typed; `corrects` is the record that it replaces, and then `reason` says why."""

    visited_on: date
    place: str
    visitors: str
    found: str
    next_visit_on: date | None
    corrects: int | None = None
    reason: str = ""


def list_register(session: Session, query: RegisterQuery, *, actor: Actor) -> RegisterPage:
    """Return a page of the officer's own division's persons, on record.

    Raises:
        ForbiddenError: Neither an officer nor a supervisor.
    """
    found = lines_after(session, query, actor=actor)
    names = {"state": query.state, "division": query.division, "overdue": query.overdue or None}
    chosen = {name: str(value) for name, value in names.items() if value is not None}
    subject = None
    if query.sought:  # Of what was typed nothing is kept, for it may be a name or a citizen number.
        chosen["sought"] = "yes"
        subject = f"person:{found.lines[0].person_id}" if len(found.lines) == 1 else None
    record(session, AuditKind.REGISTER_VIEWED, actor=actor, subject=subject, lines=len(found.lines), **chosen)
    return found


def count_register(session: Session, query: RegisterQuery, *, actor: Actor) -> int:
    """Count the lines of all pages together.

    Raises:
        ForbiddenError: Neither an officer nor a supervisor.
    """
    actor.require_role(*READERS)
    wanted = filter_of(query, actor=actor)
    return repository.count_lines(session, wanted) if wanted is not None else 0


def lines_after(session: Session, query: RegisterQuery, *, actor: Actor) -> RegisterPage:
    """Return a page without putting it on record, for those who record the whole.

    Raises:
        ForbiddenError: Neither an officer nor a supervisor.
    """
    actor.require_role(*READERS)
    wanted = filter_of(query, actor=actor)
    if wanted is None:
        return RegisterPage([], None)
    rows = repository.register_page(session, wanted, after=query.after, limit=query.limit + 1)
    shown = rows[: query.limit]
    counted = repository.tallies(session, [entry.person_id for entry, _person in shown])
    lines = [_line(entry, person, counted[entry.person_id]) for entry, person in shown]
    last = lines[-1] if len(rows) > query.limit else None
    return RegisterPage(lines, (last.division_code, last.person_id) if last is not None else None)


def filter_of(query: RegisterQuery, *, actor: Actor) -> RegisterFilter | None:
    """Return which lines a query of an officer asks for; None when it asks outside their division."""
    own = division_prefix(actor.division_code or "")
    asked = division_prefix(query.division or "")
    if not (own.startswith(asked) or asked.startswith(own)):
        return None
    having, lacking = IN_CASES.get(query.state, (NO_STATES, NO_STATES))
    return RegisterFilter(
        within=max(own, asked, key=len),
        left_as=query.state if query.state in LEFT else None if query.sought else "",
        case_states=having,
        no_case_states=lacking,
        overdue_on=today() if query.overdue else None,
        sought=query.sought,
    )


def read_person(session: Session, person_id: str, *, actor: Actor, with_number: bool = False) -> PersonFile:
    """Return one person's file, on record; the full citizen number only when it is asked for, on record too.

    Raises:
        ForbiddenError: Neither an officer nor a supervisor.
        NotFoundError: Nobody of this id is in the register of the officer's division.
    """
    entry = visible_entry(session, person_id, actor=actor)
    person = repository.person_of(session, person_id)
    cases = repository.cases_of(session, person_id, limit=MOST_SHOWN)
    found = PersonFile(
        line=_line(entry, person, repository.tallies(session, [person_id])[person_id]),
        ethnicity=person.ethnicity if person is not None else None,
        number=person.citizen_id_number if person is not None and with_number else None,
        events=repository.events_of(session, person_id),
        checks=repository.checks_of(session, person_id, limit=MOST_SHOWN),
        cases=cases,
        own_cases=frozenset(case.id for case in cases if in_division(actor, case.division_code)),
        notices=repository.notices_of(session, person_id, limit=MOST_SHOWN),
        visits=_visits(session, person_id),
    )
    kind = AuditKind.ID_NUMBER_OPENED if with_number else AuditKind.PERSON_VIEWED
    record(session, kind, actor=actor, subject=f"person:{person_id}", purpose="register")
    return found


def visible_entry(session: Session, person_id: str, *, actor: Actor) -> RegisterEntry:
    """Return a person's line if it is the officer's to see.

    Raises:
        ForbiddenError: Neither an officer nor a supervisor.
        NotFoundError: Nobody of this id is in the register of the officer's division.
    """
    actor.require_role(*READERS)
    entry = repository.entry_of(session, person_id)
    if entry is None or not in_division(actor, entry.division_code):
        raise NotFoundError("Nobody of this id is in the register of your division.")
    return entry


def record_visit(session: Session, person_id: str, new: NewVisit, *, actor: Actor) -> Visit:
    """Add a visit, or a correction of one; nothing that was recorded is changed.

    Raises:
        ForbiddenError: Neither an officer nor a supervisor.
        NotFoundError: No such person in the officer's division, or no such visit of that person.
        InvalidRequestError: A date cannot be right, or a correction lacks its reason.
        VisitCorrectedError: The record has been corrected before; correct the latest.
    """
    visible_entry(session, person_id, actor=actor)
    entry = repository.entries_for_update(session, [person_id])[person_id]
    _check_visit(session, entry, new)
    if actor.id is None:
        raise AssertionError("unreachable: officers have an account")
    visit = Visit(
        person_id=person_id,
        visited_on=new.visited_on,
        place=new.place.strip(),
        visitors=new.visitors.strip(),
        found=new.found.strip(),
        next_visit_on=new.next_visit_on,
        corrects_id=new.corrects,
        correction_reason=new.reason.strip() or None if new.corrects is not None else None,
        officer_id=actor.id,
    )
    session.add(visit)
    try:
        session.flush()
    except IntegrityError:
        raise VisitCorrectedError("The visit has been corrected meanwhile; read the page again.") from None
    latest = repository.latest_visit(session, person_id)
    entry.visited_on = latest.visited_on if latest is not None else None
    entry.next_visit_on = latest.next_visit_on if latest is not None else None
    record(
        session,
        AuditKind.VISIT_RECORDED,
        actor=actor,
        subject=f"person:{person_id}",
        purpose="register",
        visit=visit.id,
        corrects=new.corrects,
    )
    return visit


def _check_visit(session: Session, entry: RegisterEntry, new: NewVisit) -> None:
    faults = {}
    if new.visited_on > today():
        faults["visited_on"] = "lies in the future"
    if new.next_visit_on is not None and new.next_visit_on <= new.visited_on:
        faults["next_visit_on"] = "is not after the visit"
    faults |= {name: "is blank" for name in ("place", "visitors", "found") if not getattr(new, name).strip()}
    if new.corrects is not None:
        if not new.reason.strip():
            faults["reason"] = "is blank"
        corrected = session.get(Visit, new.corrects)
        if corrected is None or corrected.person_id != entry.person_id:
            raise NotFoundError("There is no such visit of this person.")
    if faults:
        errors = [{"field": name, "message": text, "remedy": "correct it"} for name, text in faults.items()]
        raise InvalidRequestError("See 'errors' for each field.", errors=errors)


def _visits(session: Session, person_id: str) -> list[RecordedVisit]:
    rows = repository.visits_of(session, person_id)
    corrected = {visit.corrects_id for visit, _name in rows}
    return [RecordedVisit(visit, name, visit.id in corrected) for visit, name in rows]


def _line(entry: RegisterEntry, person: Person | None, tally: Tally) -> RegisterLine:
    stands = entry.left_as is None
    return RegisterLine(
        person_id=entry.person_id,
        name=person.name if person is not None else None,
        sex=person.sex if person is not None else None,
        birth_date=person.birth_date if person is not None else None,
        citizen_id_number_masked=masked(person.citizen_id_number) if person is not None else None,
        category=person.category if person is not None else None,
        division_code=entry.division_code,
        state=_state(entry, tally),
        flagged_at=entry.flagged_at,
        left_at=entry.left_at,
        visited_on=entry.visited_on,
        next_visit_on=entry.next_visit_on,
        overdue=stands and entry.next_visit_on is not None and entry.next_visit_on < today(),
        tally=tally,
    )


def _state(entry: RegisterEntry, tally: Tally) -> RegisterState:
    if entry.left_as is not None:
        return RegisterState(entry.left_as)
    if CaseState.DUPLICATE_CONFIRMED in tally.case_states:
        return RegisterState.DUPLICATE_CONFIRMED
    if tally.case_states & OPEN_STATES:
        return RegisterState.OPEN_CASE
    return RegisterState.FLAGGED


def today() -> date:
    """Return the day in Beijing."""
    return now().astimezone(BEIJING).date()
