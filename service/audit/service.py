"""Records audit events in the transaction of what they tell."""

from typing import Any, Protocol

from sqlalchemy.orm import Session

from service.audit.chain import add_pending
from service.audit.kinds import AuditKind
from service.database import Database
from service.request_context import current_request_id

__all__ = ["Acting", "AuditKind", "record", "record_listing"]


class Acting(Protocol):
    """What an audit event needs to know of who acts."""

    @property
    def kind(self) -> str:
        """`client`, `officer` or `system`."""

    @property
    def name(self) -> str:
        """Name of the account."""

    @property
    def role(self) -> str | None:
        """Of an officer."""

    @property
    def division_code(self) -> str | None:
        """Of an officer."""


def record(
    session: Session,
    kind: AuditKind,
    *,
    actor: Acting,
    subject: str | None = None,
    purpose: str | None = None,
    result: str = "done",
    **details: Any,
) -> None:
    """Add one event to the running transaction; it is chained and stored when the transaction commits.

    Args:
        session: The transaction of the change, as `Database.write` gives it.
        kind: What happened.
        actor: Who did it.
        subject: What it was done to, as `person:…`, `check:…`, `case:…`, `notice:…`.
        purpose: Why: `transaction:…` or `case:…`; what is done to a case is done for it.
        result: How it ended.
        details: Facts free of names, document numbers and biometric data; what JSON can say.
    """
    fields = {
        "kind": kind,
        "actor_kind": actor.kind,
        "actor": actor.name,
        "role": str(actor.role) if actor.role is not None else None,
        "division_code": actor.division_code or None,
        "purpose": purpose or _own_purpose(subject),
        "subject": subject or None,
        "result": result,
        "details": details,
        "request_id": current_request_id(),
    }
    add_pending(session, fields)


def record_listing(database: Database, kind: AuditKind, *, actor: Acting, shown: int, **filters: Any) -> None:
    """Record that somebody was shown a list; in a transaction of its own, for lists are read in a view.

    Args:
        database: Where to record.
        kind: Which list.
        actor: Who was shown it.
        shown: How many entries.
        filters: What they were chosen by, free of personal data.
    """
    with database.write() as session:
        record(session, kind, actor=actor, shown=shown, **filters)


def _own_purpose(subject: str | None) -> str | None:
    return subject if subject is not None and subject.startswith("case:") else None
