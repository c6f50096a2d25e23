"""Queries for deliveries: taking notices in, claiming what is due, and noting how it ended.

Every change is conditional, so that any number of processes may work on one database, and what
a process leaves behind when it is killed is taken up by another when its lease has ended.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import ColumnElement, and_, exists, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, aliased

from service.tables import Notice, NoticeDelivery, NoticeTarget

TAKEN_IN_AT_ONCE = 500
"""Notices taken into a target's queue in one transaction: few enough for SQLite's other writers to wait."""

LONGEST_WAIT = timedelta(hours=7)
"""No delivery waits, and no lease lasts, longer than this: the longest pause is six hours."""


class DeliveryState(StrEnum):
    """How far a delivery has come."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    DEAD = "dead"
    RELEASED = "released"


UNSETTLED = (DeliveryState.WAITING, DeliveryState.DEAD)
"""While a delivery is in one of these, the later ones of its lane wait."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A delivery that this process alone may send now."""

    id: int
    attempts: int
    give_up_at: datetime
    notice: Notice


def ensure_target(session: Session, name: str, *, at: datetime) -> None:
    """Know a target; a new one begins with the oldest notice that nobody has acknowledged."""
    if session.get(NoticeTarget, name) is not None:
        return
    oldest = session.scalar(select(func.min(Notice.sequence)).where(Notice.acknowledged_at.is_(None)))
    newest = session.scalar(select(func.max(Notice.sequence)))
    position = oldest - 1 if oldest is not None else newest or 0
    try:
        with session.begin_nested():
            session.add(NoticeTarget(name=name, position=position, added_at=at))
    except IntegrityError:
        return  # Another process met it first.


def has_work(session: Session, name: str, *, at: datetime) -> bool:
    """Tell, by reading only, whether a target has notices to take in or deliveries to send."""
    target = session.get(NoticeTarget, name)
    if target is None:
        return True
    if session.scalar(select(exists().where(Notice.sequence > target.position))):
        return True
    return bool(session.scalar(select(exists(_due(name, at).limit(1).subquery().select()))))


def take_in(
    session: Session, name: str, *, recipients: Sequence[str], give_up_after: timedelta, at: datetime
) -> int:
    """Put the next notices into a target's queue; return how many were looked at.

    Sequence numbers become visible in their order (decision 0009), so none is passed over. Of two
    processes that do this at once the second finds the position moved, and does nothing.
    """
    position = session.scalar(select(NoticeTarget.position).where(NoticeTarget.name == name)) or 0
    found = session.scalars(
        select(Notice).where(Notice.sequence > position).order_by(Notice.sequence).limit(TAKEN_IN_AT_ONCE)
    ).all()
    if not found or not _advance(session, name, position, found[-1].sequence):
        return 0
    rows = [
        {
            "sequence": notice.sequence,
            "target": name,
            "lane": lane_of(notice),
            "state": DeliveryState.WAITING,
            "attempts": 0,
            "next_at": at,
            "give_up_at": at + give_up_after,
        }
        for notice in found
        if _is_wanted(notice.recipient, recipients)
    ]
    if rows:
        session.execute(insert(NoticeDelivery), rows)
    return len(found)


def _advance(session: Session, name: str, old: int, new: int) -> bool:
    statement = (
        update(NoticeTarget)
        .where(NoticeTarget.name == name, NoticeTarget.position == old)
        .values(position=new)
        .returning(NoticeTarget.name)
        .execution_options(synchronize_session=False)
    )
    return session.scalar(statement) is not None


def lane_of(notice: Notice) -> str:
    """Return within what a notice must not overtake another: its transaction, or a sweep's case."""
    if notice.transaction_id is not None:
        return f"transaction:{notice.transaction_id}"
    return f"case:{notice.case_id}"


def _is_wanted(recipient: str, recipients: Sequence[str]) -> bool:
    return not recipients or any(recipient.startswith(wanted) for wanted in recipients)


def claim(
    session: Session, name: str, *, limit: int, by: str, until: datetime, at: datetime
) -> list[Claimed]:
    """Take a lease on the deliveries that have waited longest, at most one of each lane."""
    # Shared by those who claim, and kept from whoever sends something again: lanes must not change meanwhile.
    session.execute(select(NoticeTarget.name).where(NoticeTarget.name == name).with_for_update(read=True))
    due = session.scalars(
        _due(name, at).order_by(NoticeDelivery.next_at, NoticeDelivery.sequence).limit(limit)
    )
    wanted = list(due)
    if not wanted:
        return []
    statement = (
        update(NoticeDelivery)
        .where(NoticeDelivery.id.in_(wanted), *_free(at))
        .values(leased_by=by, leased_until=until, last_attempt_at=at, attempts=NoticeDelivery.attempts + 1)
        .returning(NoticeDelivery.id)
        .execution_options(synchronize_session=False)
    )
    mine = session.scalars(statement).all()
    rows = session.execute(
        select(NoticeDelivery, Notice)
        .join(Notice, Notice.sequence == NoticeDelivery.sequence)
        .where(NoticeDelivery.id.in_(mine))
        .order_by(NoticeDelivery.sequence)
        .execution_options(populate_existing=True)
    )
    return [Claimed(row.id, row.attempts, row.give_up_at, notice) for row, notice in rows]


def _free(at: datetime) -> tuple[ColumnElement[bool], ...]:
    ahead = at + LONGEST_WAIT  # Times beyond it were written before the clock was set back.
    return (
        NoticeDelivery.state == DeliveryState.WAITING,
        or_(NoticeDelivery.next_at <= at, NoticeDelivery.next_at > ahead),
        or_(
            NoticeDelivery.leased_until.is_(None),
            NoticeDelivery.leased_until <= at,
            NoticeDelivery.leased_until > ahead,
        ),
    )


def _due(name: str, at: datetime):  # type: ignore[no-untyped-def]  # a Select whose type is longer than it
    """Select the ids of what may be sent now: waiting, free, and first of its lane."""
    earlier = aliased(NoticeDelivery)
    overtakes = exists().where(
        earlier.target == name,
        earlier.lane == NoticeDelivery.lane,
        earlier.sequence < NoticeDelivery.sequence,
        earlier.state.in_(UNSETTLED),
    )
    return select(NoticeDelivery.id).where(NoticeDelivery.target == name, *_free(at), ~overtakes)


def settle_delivered(session: Session, delivery_id: int, *, outcome: str, at: datetime) -> bool:
    """Note that the target took a notice, whoever holds the lease by now; tell whether it was news."""
    return _settle(
        session,
        and_(NoticeDelivery.id == delivery_id, NoticeDelivery.state == DeliveryState.WAITING),
        state=DeliveryState.DELIVERED,
        last_outcome=outcome,
        settled_at=at,
    )


def settle_failed(
    session: Session, delivery_id: int, *, by: str, outcome: str, next_at: datetime | None, at: datetime
) -> bool:
    """Note that an attempt failed, unless the lease has gone to somebody else.

    Args:
        session: A transaction.
        delivery_id: The delivery.
        by: Who held the lease.
        outcome: Why.
        next_at: When to try again; None gives up.
        at: Now.
    """
    fate = {"next_at": next_at} if next_at is not None else {"state": DeliveryState.DEAD, "settled_at": at}
    mine = and_(
        NoticeDelivery.id == delivery_id,
        NoticeDelivery.state == DeliveryState.WAITING,
        NoticeDelivery.leased_by == by,
    )
    return _settle(session, mine, last_outcome=outcome, **fate)


def _settle(session: Session, which: ColumnElement[bool], **values: object) -> bool:
    statement = (
        update(NoticeDelivery)
        .where(which)
        .values(**values, leased_by=None, leased_until=None)
        .returning(NoticeDelivery.id)
        .execution_options(synchronize_session=False)
    )
    return session.scalar(statement) is not None


def queue_again(session: Session, delivery_id: int, *, give_up_at: datetime, at: datetime) -> bool:
    """Send a delivery anew, unless a later one of its lane has been sent; tell whether it will be.

    Of a later one that was sent and not confirmed, nobody knows whether the target took it.
    """
    _lock_target_of(session, delivery_id)
    later = aliased(NoticeDelivery)
    overtaken = exists().where(
        later.target == NoticeDelivery.target,
        later.lane == NoticeDelivery.lane,
        later.sequence > NoticeDelivery.sequence,
        later.last_attempt_at.is_not(None),
    )
    which = and_(NoticeDelivery.id == delivery_id, NoticeDelivery.state != DeliveryState.WAITING, ~overtaken)
    return _settle(
        session,
        which,
        state=DeliveryState.WAITING,
        attempts=0,
        next_at=at,
        give_up_at=give_up_at,
        settled_at=None,
    )


def _lock_target_of(session: Session, delivery_id: int) -> None:
    """Let nobody claim from the target's queue until the transaction ends, lest an older one come behind."""
    target = select(NoticeDelivery.target).where(NoticeDelivery.id == delivery_id).scalar_subquery()
    session.execute(select(NoticeTarget.name).where(NoticeTarget.name == target).with_for_update())


def release(session: Session, delivery_id: int, *, at: datetime) -> bool:
    """Let the later notices of a dead delivery's lane go; tell whether it was dead."""
    which = and_(NoticeDelivery.id == delivery_id, NoticeDelivery.state == DeliveryState.DEAD)
    return _settle(session, which, state=DeliveryState.RELEASED, settled_at=at)


def deliveries_of(session: Session, sequences: Collection[int]) -> Sequence[NoticeDelivery]:
    """Return the deliveries of notices, by notice and target."""
    query = (
        select(NoticeDelivery)
        .where(NoticeDelivery.sequence.in_(sequences))
        .order_by(NoticeDelivery.sequence, NoticeDelivery.target)
        .execution_options(populate_existing=True)
    )
    return session.scalars(query).all()


def delivery_by_id(session: Session, delivery_id: int) -> NoticeDelivery | None:
    """Find a delivery as it is stored now."""
    return session.get(NoticeDelivery, delivery_id, populate_existing=True)


def counts(session: Session) -> list[tuple[str, str, int, datetime | None]]:
    """Count unsettled deliveries by target and state, with the time at which the oldest notice was issued."""
    query = (
        select(NoticeDelivery.target, NoticeDelivery.state, func.count(), func.min(Notice.created_at))
        .join(Notice, Notice.sequence == NoticeDelivery.sequence)
        .where(NoticeDelivery.state.in_(UNSETTLED))
        .group_by(NoticeDelivery.target, NoticeDelivery.state)
    )
    return [(target, state, number, oldest) for target, state, number, oldest in session.execute(query)]
