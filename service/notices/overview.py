"""Notices for people: officers see those of their division, operators all, to keep delivery going."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from enum import StrEnum
from uuid import UUID

from sqlalchemy.orm import Session

from service.audit.service import AuditKind, record
from service.auth.service import Actor, Role, division_prefix
from service.errors import InvalidRequestError, NotFoundError, NoticeStateError
from service.notices import queue, repository
from service.notices.queue import DeliveryState
from service.notices.repository import Acknowledgement, NoticeFilter
from service.notices.service import AcknowledgedVia, NoticeKind, store_acknowledgement
from service.tables import Notice, NoticeDelivery, now

READERS = (Role.OFFICER, Role.SUPERVISOR, Role.OPERATOR)
SENDERS = (Role.SUPERVISOR, Role.OPERATOR)
"""Who may have a notice sent again, or let later ones pass one that cannot be delivered."""

ACKNOWLEDGERS = (Role.OFFICER, Role.SUPERVISOR)


class Progress(StrEnum):
    """How far a notice has come, as people ask for it; a notice may answer to several."""

    PENDING = "pending"
    WAITING = "waiting"
    DELIVERED = "delivered"
    FAILED = "failed"
    ACKNOWLEDGED = "acknowledged"
    OVERDUE = "overdue"


DELIVERIES = {
    Progress.WAITING: DeliveryState.WAITING,
    Progress.DELIVERED: DeliveryState.DELIVERED,
    Progress.FAILED: DeliveryState.DEAD,
}


@dataclass(frozen=True, slots=True)
class OverviewQuery:
    """A page of notices, newest first.

    Attributes:
        progress: Only those that have come this far.
        kind: Only of this kind.
        division: Only to authorities of this division and those below it.
        before: Only those with a smaller sequence number.
        limit: Longest page.
    """

    progress: Progress | None = None
    kind: NoticeKind | None = None
    division: str | None = None
    before: int | None = None
    limit: int = 50


@dataclass(frozen=True, slots=True)
class OverviewLine:
    """One notice with its deliveries."""

    notice: Notice
    deliveries: Sequence[NoticeDelivery]


@dataclass(frozen=True, slots=True)
class Overview:
    """A page of notices.

    Attributes:
        lines: Newest first.
        counts: Over all of the reader's notices, whatever the filters: pending, overdue and failed ones.
        next: Where the following page begins; None when there is none.
    """

    lines: Sequence[OverviewLine]
    counts: dict[Progress, int]
    next: int | None


def overview(session: Session, query: OverviewQuery, *, actor: Actor) -> Overview:
    """Return a page of the notices that the reader may see.

    Raises:
        ForbiddenError: The reader's role has nothing to do with notices.
    """
    actor.require_role(*READERS)
    base, at = NoticeFilter(within=_within(actor)), now()
    wanted = replace(
        _come_so_far(base, query.progress),
        kind=query.kind,
        division=division_prefix(query.division) if query.division is not None else None,
    )
    found = repository.newest_notices(session, query.before, wanted=wanted, limit=query.limit + 1, at=at)
    shown = found[: query.limit]
    counted = (Progress.PENDING, Progress.OVERDUE, Progress.FAILED)
    return Overview(
        lines=_lines(session, shown),
        counts={
            progress: repository.count_notices(session, _come_so_far(base, progress), at=at)
            for progress in counted
        },
        next=shown[-1].sequence if len(found) > query.limit else None,
    )


def visible_notice(session: Session, notice_id: UUID, *, actor: Actor) -> OverviewLine:
    """Return a notice with its deliveries, if it is the reader's to see.

    Raises:
        ForbiddenError: The reader's role has nothing to do with notices.
        NotFoundError: No such notice, or another division's, which is answered alike.
    """
    actor.require_role(*READERS)
    notice = repository.notice_by_id(session, notice_id)
    if notice is None or not _may_see(session, notice, actor):
        raise NotFoundError("There is no such notice in your division.")
    return _lines(session, [notice])[0]


def acknowledge_by_officer(session: Session, notice_id: UUID, *, note: str, on: date, actor: Actor) -> Notice:
    """Store the answer that an officer received on paper or by telephone.

    Args:
        session: A transaction.
        notice_id: The notice.
        note: What the recipient says; 1 to 2,000 characters.
        on: The day of the answer: neither before the notice nor in the future.
        actor: The officer who received it.

    Raises:
        ForbiddenError: Neither an officer nor a supervisor.
        NotFoundError: No such notice in the officer's division.
        NoticeStateError: An acknowledgement was stored first.
        InvalidRequestError: The day cannot be right.
    """
    actor.require_role(*ACKNOWLEDGERS)
    notice = visible_notice(session, notice_id, actor=actor).notice
    if not earliest_day(notice) <= on <= latest_day():
        raise InvalidRequestError("The day of the answer is before the notice or in the future.")
    if notice.acknowledged_at is not None:
        raise NoticeStateError("The notice was acknowledged before.")
    given = Acknowledgement(actor.name, AcknowledgedVia.OFFICER, note, on)
    stored = store_acknowledgement(session, notice, given, actor=actor)
    if (stored.acknowledged_by, stored.acknowledgement) != (actor.name, note):
        raise NoticeStateError("The notice was acknowledged by somebody else at the same moment.")
    return stored


def earliest_day(notice: Notice) -> date:
    """Return the first day on which a notice can have been answered, anywhere."""
    return (notice.created_at - timedelta(hours=12)).date()


def latest_day() -> date:
    """Return the last day that it is now anywhere: China is 8 hours ahead of UTC."""
    return (now() + timedelta(hours=14)).date()


def resend(
    session: Session, notice_id: UUID, delivery_id: int, *, give_up_after: timedelta, actor: Actor
) -> None:
    """Send a notice to a target once more.

    Raises:
        ForbiddenError: Neither a supervisor nor an operator.
        NotFoundError: No such delivery of a notice that the actor may see.
        NoticeStateError: It is on its way already, or a later notice of the same transaction has been sent,
            behind which an older instruction must not come.
    """
    at = now()
    delivery = _delivery(session, notice_id, delivery_id, actor=actor)
    if not queue.queue_again(session, delivery.id, give_up_at=at + give_up_after, at=at):
        raise NoticeStateError("It is on its way, or a later notice of the same transaction was sent.")
    _record(session, notice_id, delivery, result="queued", actor=actor)


def release(session: Session, notice_id: UUID, delivery_id: int, *, actor: Actor) -> None:
    """Let the later notices of the same transaction pass a dead letter, which is not sent any more.

    Raises:
        ForbiddenError: Neither a supervisor nor an operator.
        NotFoundError: No such delivery of a notice that the actor may see.
        NoticeStateError: It is no dead letter.
    """
    delivery = _delivery(session, notice_id, delivery_id, actor=actor)
    if not queue.release(session, delivery.id, at=now()):
        raise NoticeStateError("Only what could not be delivered can be released.")
    _record(session, notice_id, delivery, result="released", actor=actor)


def _delivery(session: Session, notice_id: UUID, delivery_id: int, *, actor: Actor) -> NoticeDelivery:
    actor.require_role(*SENDERS)
    line = visible_notice(session, notice_id, actor=actor)
    for delivery in line.deliveries:
        if delivery.id == delivery_id:
            return delivery
    raise NotFoundError("There is no such delivery of this notice.")


def _record(
    session: Session, notice_id: UUID, delivery: NoticeDelivery, *, result: str, actor: Actor
) -> None:
    record(
        session,
        AuditKind.NOTICE_RESENT,
        actor=actor,
        subject=f"notice:{notice_id}",
        result=result,
        target=delivery.target,
    )


def _within(actor: Actor) -> str | None:
    return None if actor.role is Role.OPERATOR else division_prefix(actor.division_code or "none")


def _may_see(session: Session, notice: Notice, actor: Actor) -> bool:
    within = _within(actor)
    if within is None:
        return True
    divisions = (notice.recipient, repository.case_division(session, notice) or "")
    return any(division.startswith(within) for division in divisions)


def _come_so_far(base: NoticeFilter, progress: Progress | None) -> NoticeFilter:
    if progress is None:
        return base
    if progress in DELIVERIES:
        return replace(base, delivery=DELIVERIES[progress])
    return replace(
        base,
        pending=progress is Progress.PENDING,
        acknowledged=progress is Progress.ACKNOWLEDGED,
        overdue=progress is Progress.OVERDUE,
    )


def _lines(session: Session, notices: Sequence[Notice]) -> list[OverviewLine]:
    deliveries: dict[int, list[NoticeDelivery]] = {}
    for delivery in queue.deliveries_of(session, [notice.sequence for notice in notices]):
        deliveries.setdefault(delivery.sequence, []).append(delivery)
    return [OverviewLine(notice, deliveries.get(notice.sequence, [])) for notice in notices]
