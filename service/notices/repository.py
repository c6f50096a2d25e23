"""Queries for notices."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, and_, func, or_, select, update
from sqlalchemy.orm import Session, aliased

from service.tables import Notice

ISSUING_LOCK = 5_301_001
"""Key of PostgreSQL's advisory lock under which sequence numbers are drawn; any constant would do."""


@dataclass(frozen=True, slots=True)
class NoticeFilter:
    """Which notices are asked for; an empty field asks for all.

    Attributes:
        pending: Include those neither acknowledged nor overdue.
        acknowledged: Include those acknowledged.
        overdue: Include those past their day and not acknowledged.
        kind: Only of this kind.
        recipient: Only to this recipient.
    """

    pending: bool = True
    acknowledged: bool = True
    overdue: bool = True
    kind: str | None = None
    recipient: str | None = None


def lock_order(session: Session) -> None:
    """Hold back other issuers until this transaction ends.

    PostgreSQL draws sequence numbers before the commit, so without this a reader that polls
    with the last number it saw could pass over a smaller one that commits later. SQLite has
    one writer at a time anyway.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(select(func.pg_advisory_xact_lock(ISSUING_LOCK)))


def notice_by_id(session: Session, notice_id: UUID) -> Notice | None:
    """Find a notice as it is stored now."""
    query = select(Notice).where(Notice.id == notice_id)
    return session.scalar(query.execution_options(populate_existing=True))


def notices_after(
    session: Session, sequence: int, *, wanted: NoticeFilter, limit: int, at: datetime
) -> Sequence[Notice]:
    """Return notices in order, beginning behind a sequence number."""
    query = select(Notice).where(Notice.sequence > sequence, _states(wanted, at))
    if wanted.kind is not None:
        query = query.where(Notice.kind == wanted.kind)
    if wanted.recipient is not None:
        query = query.where(Notice.recipient == wanted.recipient)
    return session.scalars(query.order_by(Notice.sequence).limit(limit)).all()


def _states(wanted: NoticeFilter, at: datetime) -> ColumnElement[bool]:
    open_ = Notice.acknowledged_at.is_(None)
    chosen = {
        "pending": (wanted.pending, and_(open_, Notice.due_at > at)),
        "acknowledged": (wanted.acknowledged, Notice.acknowledged_at.is_not(None)),
        "overdue": (wanted.overdue, and_(open_, Notice.due_at <= at)),
    }
    return or_(*(condition for asked, condition in chosen.values() if asked))


def notices_of_case(session: Session, case_id: UUID) -> Sequence[Notice]:
    """Return a case's notices in order."""
    return session.scalars(select(Notice).where(Notice.case_id == case_id).order_by(Notice.sequence)).all()


def unreversed(session: Session, case_id: UUID, *, reversal_kind: str) -> Sequence[Notice]:
    """Return a case's notices that no reversal has followed, in order."""
    reversal = aliased(Notice)
    query = select(Notice).where(
        Notice.case_id == case_id,
        Notice.kind != reversal_kind,
        ~select(reversal.id).where(reversal.reverses_id == Notice.id).exists(),
    )
    return session.scalars(query.order_by(Notice.sequence)).all()


def acknowledge_if_open(
    session: Session, notice_id: UUID, *, by: str, note: str | None, at: datetime
) -> bool:
    """Store an acknowledgement unless there is one; tell whether this one was stored."""
    statement = (
        update(Notice)
        .where(Notice.id == notice_id, Notice.acknowledged_at.is_(None))
        .values(acknowledged_at=at, acknowledged_by=by, acknowledgement=note)
        .returning(Notice.sequence)
        .execution_options(synchronize_session=False)
    )
    return session.scalar(statement) is not None
