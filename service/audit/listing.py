"""What auditors look for in the log: events by their facts, and all that concerns one person."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
    SQLColumnExpression,
    String,
    cast,
    func,
    literal,
    or_,
    select,
    union_all,
)
from sqlalchemy.orm import Session

from service.audit.chain import read_head
from service.audit.keys import KeyRing
from service.audit.kinds import AuditKind
from service.audit.records import code_of, read_records
from service.errors import NotFoundError
from service.tables import AuditEvent, Case, CaseCandidate, Check, Notice

PAGE = 50
"""Events on a page: what a table shows without becoming a burden to scroll."""


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events.

    Attributes:
        since: Not before.
        until: Before.
        actor: Name of the account.
        kind: What happened.
        subject: The object or the purpose, whole, as `case:…`.
        result: How it ended.
        person: Everything about this person: the registration, checks, cases and notices.
        before: Only smaller numbers: where the page before ended.
    """

    since: datetime | None = None
    until: datetime | None = None
    actor: str | None = None
    kind: AuditKind | None = None
    subject: str | None = None
    result: str | None = None
    person: str | None = None
    before: int | None = None


@dataclass(frozen=True, slots=True)
class EventPage:
    """Some events, the newest first; `following` is the number to go on before, if there are more."""

    events: Sequence[AuditEvent]
    following: int | None


def list_events(session: Session, wanted: EventFilter) -> EventPage:
    """Return a page of events."""
    query = select(AuditEvent).where(*_conditions(wanted)).order_by(AuditEvent.id.desc()).limit(PAGE + 1)
    found = session.scalars(query).all()
    return EventPage(found[:PAGE], found[PAGE - 1].id if len(found) > PAGE else None)


def _conditions(wanted: EventFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if wanted.since is not None:
        conditions.append(AuditEvent.at >= wanted.since)
    if wanted.until is not None:
        conditions.append(AuditEvent.at < wanted.until)
    if wanted.actor:
        conditions.append(AuditEvent.actor == wanted.actor)
    if wanted.kind is not None:
        conditions.append(AuditEvent.kind == wanted.kind)
    if wanted.subject:
        conditions.append(or_(AuditEvent.subject == wanted.subject, AuditEvent.purpose == wanted.subject))
    if wanted.result:
        conditions.append(AuditEvent.result == wanted.result)
    if wanted.before is not None:
        conditions.append(AuditEvent.id < wanted.before)
    if wanted.person:
        conditions.append(AuditEvent.id.in_(_about(wanted.person)))
    return conditions


def _about(person_id: str) -> Select[tuple[int]]:
    """Select the numbers of all events on a person, their checks, cases and notices."""
    cases = union_all(
        select(Case.id).where(Case.subject_person_id == person_id),
        select(CaseCandidate.case_id).where(CaseCandidate.person_id == person_id),
        select(Case.id).join(Check, Check.id == Case.check_id).where(Check.person_id == person_id),
    ).subquery()
    things = union_all(
        select(literal(f"person:{person_id}").label("thing")),
        select(literal("check:") + _uuid_text(Check.id)).where(Check.person_id == person_id),
        select(literal("check:") + _uuid_text(Case.check_id)).where(Case.id.in_(select(cases.c[0]))),
        select(literal("case:") + _uuid_text(cases.c[0])),
        select(literal("notice:") + _uuid_text(Notice.id)).where(Notice.case_id.in_(select(cases.c[0]))),
    ).subquery()
    found = union_all(
        select(AuditEvent.id).where(AuditEvent.subject.in_(select(things.c.thing))),
        select(AuditEvent.id).where(AuditEvent.purpose.in_(select(things.c.thing))),
    ).subquery()
    return select(found.c[0])


def _uuid_text(column: SQLColumnExpression[Any]) -> ColumnElement[str]:
    """Return a UUID as events write it; SQLite stores the 32 digits without hyphens."""
    digits = func.replace(cast(column, String), "-", "")
    cuts = ((1, 8), (9, 4), (13, 4), (17, 4), (21, 12))
    parts = [func.substr(digits, start, length) for start, length in cuts]
    joined: ColumnElement[str] = parts[0]
    for part in parts[1:]:
        joined = joined + literal("-") + part
    return joined


@dataclass(frozen=True, slots=True)
class EventView:
    """One event and its place in the chain.

    Attributes:
        event: The event.
        own: Whether its code fits; None if its key is not known here.
        linked: Whether it follows the event before it and is followed by the one after.
        earlier: Number of the one before, if it is in the database.
        later: Number of the one after, if there is one.
    """

    event: AuditEvent
    own: bool | None
    linked: bool
    earlier: int | None
    later: int | None


def event_view(session: Session, number: int, keys: KeyRing) -> EventView:
    """Return one event and whether it is as it was recorded.

    Raises:
        NotFoundError: There is no such event, or it was archived.
    """
    event = session.get(AuditEvent, number) if number < 2**63 else None
    if event is None:
        raise NotFoundError("There is no such event in the database; it may have been archived.")
    near = {record.id: record for record in read_records(session, first=number - 1, last=number + 1)}
    record, before, after = near[number], near.get(number - 1), near.get(number + 1)
    key = keys.find(record.key_tag or "")
    own = None if key is None else code_of(record, key) == record.mac
    linked = before is None or before.mac == record.previous_mac
    linked = linked and (after is None or after.previous_mac == record.mac)
    return EventView(event, own, linked, before.id if before else None, after.id if after else None)


@dataclass(frozen=True, slots=True)
class ChainState:
    """How the log stands.

    Attributes:
        events: Number of the newest event.
        key_tag: Name of the key in use.
        verified: The last verification on record.
    """

    events: int
    key_tag: str
    verified: AuditEvent | None


def chain_state(session: Session) -> ChainState:
    """Return how the log stands."""
    head = read_head(session)
    query = select(AuditEvent).where(AuditEvent.kind == AuditKind.AUDIT_VERIFIED)
    verified = session.scalars(query.order_by(AuditEvent.id.desc()).limit(1)).one_or_none()
    return ChainState(head.sequence if head else 0, head.key_tag if head else "", verified)
