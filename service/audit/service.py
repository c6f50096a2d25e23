"""Writes audit events in the transaction of what they record."""

from enum import StrEnum
from typing import Any, Protocol

from sqlalchemy.orm import Session

from service.request_context import current_request_id
from service.tables import AuditEvent


class AuditKind(StrEnum):
    """The closed list of what is recorded."""

    PERSON_STORED = "person-stored"
    PERSON_READ = "person-read"
    PERSON_ERASED = "person-erased"
    CHECK_MADE = "check-made"
    CHECK_READ = "check-read"
    CHECK_WITHDRAWN = "check-withdrawn"
    CASE_OPENED = "case-opened"
    CASE_VIEWED = "case-viewed"
    CASE_CLAIMED = "case-claimed"
    CASE_RELEASED = "case-released"
    CASE_DECIDED = "case-decided"
    CASE_CONFIRMED = "case-confirmed"
    CASE_REOPENED = "case-reopened"
    CASE_WITHDRAWN = "case-withdrawn"
    PORTRAIT_VIEWED = "portrait-viewed"
    NOTICE_ISSUED = "notice-issued"
    NOTICE_ACKNOWLEDGED = "notice-acknowledged"
    SIGNED_IN = "signed-in"
    SIGNED_OUT = "signed-out"
    SIGN_IN_FAILED = "sign-in-failed"
    CLIENT_ADDED = "client-added"
    CLIENT_REVOKED = "client-revoked"
    OFFICER_ADDED = "officer-added"
    OFFICER_DISABLED = "officer-disabled"
    IMPORT_RUN = "import-run"
    GALLERY_REBUILT = "gallery-rebuilt"
    GALLERY_ROLLED_BACK = "gallery-rolled-back"
    GALLERY_CALIBRATED = "gallery-calibrated"
    GALLERY_LINKED = "gallery-linked"


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
