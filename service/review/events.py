"""What happened to a case beside its decisions: claims, releases, first looks and opened ID numbers."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from service.audit.service import AuditKind
from service.tables import AuditEvent, Officer

OF_CASE = (
    AuditKind.CASE_CLAIMED,
    AuditKind.CASE_RELEASED,
    AuditKind.CASE_ASSIGNED,
    AuditKind.CASE_TRANSFERRED,
    AuditKind.SCORES_OPENED,
    AuditKind.CASE_WITHDRAWN,
)
"""Kinds that officers of a case see of each other; decisions have records of their own."""


@dataclass(frozen=True, slots=True)
class CaseEvent:
    """One thing that somebody did.

    Attributes:
        kind: One of `OF_CASE`, or `ID_NUMBER_OPENED`.
        actor: Name of the officer, or of the account where it is no officer's.
        at: When.
        person_id: Whose number was opened.
    """

    kind: AuditKind
    actor: str
    at: datetime
    person_id: str | None = None


def events_of_case(session: Session, case_id: UUID, person_ids: Collection[str]) -> list[CaseEvent]:
    """Return what is on record, oldest first.

    Args:
        session: A view.
        case_id: The case.
        person_ids: Its persons: openings are found by their subject, which the log is indexed by.
    """
    of_case = (AuditEvent.subject == f"case:{case_id}") & AuditEvent.kind.in_(OF_CASE)
    of_person = (
        AuditEvent.subject.in_([f"person:{person_id}" for person_id in person_ids])
        & (AuditEvent.kind == AuditKind.ID_NUMBER_OPENED)
        & (AuditEvent.purpose == f"case:{case_id}")
    )
    rows = session.execute(
        select(AuditEvent.kind, AuditEvent.actor_kind, AuditEvent.actor, AuditEvent.at, AuditEvent.subject)
        .where(or_(of_case, of_person))
        .order_by(AuditEvent.id)
    ).all()
    names = _names(session, rows)
    return [
        CaseEvent(AuditKind(kind), names.get((by, actor), actor), at, _person_of(subject))
        for kind, by, actor, at, subject in rows
    ]


def _names(session: Session, rows: Sequence[Any]) -> dict[tuple[str, str], str]:
    """Return the officers' names by kind and name of account."""
    logins = {row.actor for row in rows if row.actor_kind == "officer"}
    found = session.execute(select(Officer.login, Officer.name).where(Officer.login.in_(logins)))
    return {("officer", login): name for login, name in found}


def _person_of(subject: str | None) -> str | None:
    kind, _, person_id = (subject or "").partition(":")
    return person_id if kind == "person" else None
