"""What is past its time: conditions and counts, for the erasing and for the examination."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, exists, func, or_, select
from sqlalchemy.orm import Session, aliased

from service.notices.queue import DeliveryState
from service.settings import Settings
from service.tables import (
    Appeal,
    Attachment,
    AuditEvent,
    Case,
    Check,
    Draft,
    KnownBrowser,
    LocalAccount,
    NoticeDelivery,
    PageSession,
)

PENDING = "pending"
"""State of an appeal that nobody has answered: until then the case keeps everything."""


@dataclass(frozen=True, slots=True)
class Cutoffs:
    """Points in time: what ended before them is past its time."""

    probes: datetime
    evidence: datetime
    drafts: datetime
    deliveries: datetime
    sessions: datetime
    audit: datetime

    @classmethod
    def of(cls, settings: Settings, at: datetime, *, grace: timedelta = timedelta(0)) -> "Cutoffs":
        """Compute them.

        Args:
            settings: How many days.
            at: The present time.
            grace: How much later everything is past its time: what an examination allows the worker.
        """

        def before(days: float) -> datetime:
            return at - timedelta(days=days) - grace

        return cls(
            probes=before(settings.probe_days),
            evidence=before(settings.evidence_days),
            drafts=before(settings.draft_days),
            deliveries=before(settings.delivery_days),
            sessions=before(0),
            audit=before(settings.audit_retention_days),
        )


def closed_before(cutoff: datetime) -> ColumnElement[bool]:
    """Say of a case that it was closed before a time and that no appeal waits for an answer."""
    appealed = exists().where(Appeal.case_id == Case.id, Appeal.state == PENDING)
    return and_(Case.closed_at.is_not(None), Case.closed_at < cutoff, ~appealed)


def due_probe(cutoff: datetime) -> ColumnElement[bool]:
    """Say of a check that its probe is past its time; one without a case counts from the check itself."""
    its_case = Case.check_id == Check.id
    is_closed = exists().where(its_case, closed_before(cutoff))
    return and_(
        Check.probe_location.is_not(None),
        or_(is_closed, and_(~exists().where(its_case), Check.created_at < cutoff)),
    )


def due_cases_with_files(cutoff: datetime) -> Select[UUID]:
    """Select the cases whose files are past their time."""
    held = exists().where(Attachment.case_id == Case.id)
    return select(Case.id).where(closed_before(cutoff), held)


def due_loose_file(cutoff: datetime) -> ColumnElement[bool]:
    """Say of a file that no opinion names it and that its case was closed long enough ago."""
    is_closed = exists().where(Case.id == Attachment.case_id, closed_before(cutoff))
    return and_(Attachment.decision_id.is_(None), Attachment.created_at < cutoff, is_closed)


def due_draft(cutoff: datetime) -> ColumnElement[bool]:
    """Say of a draft that its case was closed, and it was saved, long enough ago."""
    is_closed = exists().where(Case.id == Draft.case_id, closed_before(cutoff))
    return and_(Draft.saved_at < cutoff, is_closed)


def due_delivery(cutoff: datetime) -> ColumnElement[bool]:
    """Say of a delivery that it arrived long ago, and that none before it in its lane is still open.

    A dead one must go on seeing that a later one has arrived; see `service.notices.queue`.
    """
    earlier = aliased(NoticeDelivery)
    open_before = exists().where(
        earlier.target == NoticeDelivery.target,
        earlier.lane == NoticeDelivery.lane,
        earlier.sequence < NoticeDelivery.sequence,
        earlier.state != DeliveryState.DELIVERED,
    )
    return and_(
        NoticeDelivery.state == DeliveryState.DELIVERED, NoticeDelivery.settled_at < cutoff, ~open_before
    )


def overdue(session: Session, cutoffs: Cutoffs) -> dict[str, int]:
    """Count what is past its time, by what it is; nothing is named that is in order."""
    loose = due_loose_file(cutoffs.drafts)
    counts = {
        "probes": select(func.count()).select_from(Check).where(due_probe(cutoffs.probes)),
        "cases with evidence files": select(func.count()).select_from(
            due_cases_with_files(cutoffs.evidence).subquery()
        ),
        "files of no opinion": select(func.count()).select_from(Attachment).where(loose),
        "drafts": select(func.count()).select_from(Draft).where(due_draft(cutoffs.drafts)),
        "deliveries": select(func.count())
        .select_from(NoticeDelivery)
        .where(due_delivery(cutoffs.deliveries)),
        "page sessions": select(func.count())
        .select_from(PageSession)
        .where(PageSession.expires_at < cutoffs.sessions),
        "known browsers": select(func.count())
        .select_from(KnownBrowser)
        .where(KnownBrowser.expires_at < cutoffs.sessions),
        "one-time codes": select(func.count())
        .select_from(LocalAccount)
        .where(LocalAccount.setup_expires_at < cutoffs.sessions),
        "audit events": select(func.count()).select_from(AuditEvent).where(AuditEvent.at < cutoffs.audit),
    }
    found = {name: session.scalar(query) or 0 for name, query in counts.items()}
    return {name: count for name, count in found.items() if count}
