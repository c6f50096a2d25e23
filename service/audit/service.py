"""Writes audit events in the transaction of what they record."""

from typing import Any, Protocol

from sqlalchemy.orm import Session

from service.audit.kinds import AuditKind
from service.request_context import current_request_id
from service.tables import AuditEvent


__all__ = ["Acting", "AuditKind", "record"]


class Acting(Protocol):
    """What an audit event needs to know of who acts."""

    @property
    def kind(self) -> str:
        """`client`, `officer` or `system`."""

    @property
    def name(self) -> str:
        """Name of the account."""


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
    """Add one event to the running transaction.

    Args:
        session: The transaction of the change.
        kind: What happened.
        actor: Who did it.
        subject: What it was done to, as `person:…`, `check:…`, `case:…`, `notice:…`.
        purpose: Why: `transaction:…` or `case:…`.
        result: How it ended.
        details: Facts free of names, document numbers and biometric data.
    """
    session.add(
        AuditEvent(
            kind=kind,
            actor_kind=actor.kind,
            actor=actor.name,
            subject=subject,
            purpose=purpose,
            result=result,
            details=details,
            request_id=current_request_id(),
        )
    )
