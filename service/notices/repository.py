"""Queries for notices."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from sqlalchemy import ColumnElement, and_, exists, func, or_, select, update
from sqlalchemy.orm import Session, aliased

from service.tables import Case, Notice, NoticeDelivery

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
        delivery: Only those with a delivery in this state.
        division: Only to authorities whose division code begins like this.
        within: Only those of a case, or to an authority, whose division code begins like this.
    """

    pending: bool = True
    acknowledged: bool = True
    overdue: bool = True
    kind: str | None = None
    recipient: str | None = None
    delivery: str | None = None
    division: str | None = None
    within: str | None = None


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
    query = select(Notice).where(Notice.sequence > sequence, *_conditions(wanted, at))
    return session.scalars(query.order_by(Notice.sequence).limit(limit)).all()


def newest_notices(
    session: Session, before: int | None, *, wanted: NoticeFilter, limit: int, at: datetime
) -> Sequence[Notice]:
    """Return notices, newest first, beginning before a sequence number."""
    query = select(Notice).where(*_conditions(wanted, at))
    if before is not None:
        query = query.where(Notice.sequence < before)
    return session.scalars(query.order_by(Notice.sequence.desc()).limit(limit)).all()


def count_notices(session: Session, wanted: NoticeFilter, *, at: datetime) -> int:
    """Count the notices that match."""
    return session.scalar(select(func.count()).select_from(Notice).where(*_conditions(wanted, at))) or 0


def case_division(session: Session, notice: Notice) -> str | None:
    """Return the division of the case that a notice follows from."""
    return session.scalar(select(Case.division_code).where(Case.id == notice.case_id))


def _conditions(wanted: NoticeFilter, at: datetime) -> list[ColumnElement[bool]]:
    conditions = [_states(wanted, at)]
    if wanted.kind is not None:
        conditions.append(Notice.kind == wanted.kind)
    if wanted.recipient is not None:
        conditions.append(Notice.recipient == wanted.recipient)
    if wanted.delivery is not None:
        of_notice = NoticeDelivery.sequence == Notice.sequence
        conditions.append(exists().where(of_notice, NoticeDelivery.state == wanted.delivery))
    if wanted.division is not None:
        conditions.append(Notice.recipient.startswith(wanted.division, autoescape=True))
    if wanted.within is not None:
        of_case = select(Case.id).where(
            Case.id == Notice.case_id, Case.division_code.startswith(wanted.within, autoescape=True)
        )
        conditions.append(or_(Notice.recipient.startswith(wanted.within, autoescape=True), of_case.exists()))
    return conditions


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


def standing_requests(
    session: Session, person_ids: Collection[str], *, kinds: Collection[str], reversal_kind: str
) -> Sequence[Notice]:
    """Return notices about registrations that are neither acknowledged nor taken back, in order."""
    reversal = aliased(Notice)
    query = select(Notice).where(
        Notice.person_id.in_(person_ids),
        Notice.kind.in_(kinds),
        Notice.acknowledged_at.is_(None),
        ~exists().where(reversal.reverses_id == Notice.id, reversal.kind == reversal_kind),
    )
    return session.scalars(query.order_by(Notice.sequence)).all()


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """An acknowledgement to store.

    Attributes:
        by: Who took note.
        via: How we know.
        note: What they said.
        on: The day that their answer bears, if told.
    """

    by: str
    via: str
    note: str | None = None
    on: date | None = None


def acknowledge_if_open(session: Session, notice_id: UUID, given: Acknowledgement, *, at: datetime) -> bool:
    """Store an acknowledgement unless there is one; tell whether this one was stored."""
    statement = (
        update(Notice)
        .where(Notice.id == notice_id, Notice.acknowledged_at.is_(None))
        .values(
            acknowledged_at=at,
            acknowledged_by=given.by,
            acknowledged_via=given.via,
            acknowledged_on=given.on,
            acknowledgement=given.note,
        )
        .returning(Notice.sequence)
        .execution_options(synchronize_session=False)
    )
    return session.scalar(statement) is not None
