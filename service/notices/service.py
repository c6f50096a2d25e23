"""Issues notices, lists them in order and stores acknowledgements."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy.orm import Session

from service.audit.service import Acting, AuditKind, record
from service.auth.service import Actor, Scope, division_prefix
from service.errors import NotFoundError
from service.notices import repository
from service.notices.repository import Acknowledgement, NoticeFilter
from service.tables import Notice, now

POPULATION_SYSTEM = "population-system"
"""Recipient of what concerns a transaction or a level code; other recipients are division codes."""


class NoticeKind(StrEnum):
    """What a notice asks for."""

    RELEASE = "release"
    TERMINATE = "terminate"
    CANCEL_REQUEST = "cancel_request"
    LEVEL_CODE_CHANGE = "level_code_change"
    REVERSAL = "reversal"


class NoticeState(StrEnum):
    """How far a notice has come; exactly one holds."""

    PENDING = "pending"
    ACKNOWLEDGED = "acknowledged"
    OVERDUE = "overdue"


class AcknowledgedVia(StrEnum):
    """How an acknowledgement became known."""

    CLIENT = "client"
    OFFICER = "officer"
    REGISTRATION = "registration"


@dataclass(frozen=True, slots=True)
class NewNotice:
    """A notice to issue.

    Attributes:
        kind: What it asks for.
        recipient: `population-system`, or the division code of an authority.
        case_id: The case that it follows from.
        check_id: The case's check, if it has one.
        transaction_id: The check's transaction.
        person_id: The registration that it is about.
        payload: What is to be done, for machines; free of portraits, names and document numbers.
        reverses: The notice that it takes back.
    """

    kind: NoticeKind
    recipient: str
    case_id: UUID
    check_id: UUID | None = None
    transaction_id: str | None = None
    person_id: str | None = None
    payload: Mapping[str, Any] = field(default_factory=dict)
    reverses: UUID | None = None


@dataclass(frozen=True, slots=True)
class NoticeQuery:
    """A page of notices; `after` is the last sequence number seen, `states` empty asks for all."""

    after: int = 0
    limit: int = 100
    states: frozenset[NoticeState] = frozenset()
    kind: NoticeKind | None = None
    recipient: str | None = None
    delivery: str | None = None
    division: str | None = None


@dataclass(frozen=True, slots=True)
class RegistrationChange:
    """What has become of a registration.

    Attributes:
        person_id: The registration.
        level_code: Its level code now; None when it was erased.
        recoded: Whether its level code is another one than before.
    """

    person_id: str
    level_code: str | None
    recoded: bool


def issue(session: Session, new: NewNotice, *, due_days: int, actor: Acting) -> Notice:
    """Store a notice in the transaction of what it tells of.

    Sequence numbers become visible in their order: other issuers wait until this
    transaction ends, so issue last.
    """
    repository.lock_order(session)
    created = now()
    notice = Notice(
        id=uuid4(),
        kind=new.kind,
        recipient=new.recipient,
        case_id=new.case_id,
        check_id=new.check_id,
        transaction_id=new.transaction_id,
        person_id=new.person_id,
        payload=dict(new.payload),
        reverses_id=new.reverses,
        created_at=created,
        due_at=created + timedelta(days=due_days),
    )
    session.add(notice)
    session.flush()
    record(
        session,
        AuditKind.NOTICE_ISSUED,
        actor=actor,
        subject=f"notice:{notice.id}",
        purpose=f"case:{notice.case_id}",
        kind_of_notice=notice.kind,
        recipient=notice.recipient,
        sequence=notice.sequence,
    )
    return notice


def reverse_notices(session: Session, case_id: UUID, *, due_days: int, actor: Acting) -> list[Notice]:
    """Take back every notice of a case that was not taken back before, in their order."""
    standing = repository.unreversed(session, case_id, reversal_kind=NoticeKind.REVERSAL)
    return [issue(session, _reversal(notice), due_days=due_days, actor=actor) for notice in standing]


def _reversal(notice: Notice) -> NewNotice:
    return NewNotice(
        kind=NoticeKind.REVERSAL,
        recipient=notice.recipient,
        case_id=notice.case_id,
        check_id=notice.check_id,
        transaction_id=notice.transaction_id,
        person_id=notice.person_id,
        payload={
            "action": "undo",
            "reverses": {"id": str(notice.id), "sequence": notice.sequence, "kind": notice.kind},
        },
        reverses=notice.id,
    )


def state_of(notice: Notice, *, at: datetime) -> NoticeState:
    """Tell how far a notice has come at a point in time."""
    if notice.acknowledged_at is not None:
        return NoticeState.ACKNOWLEDGED
    return NoticeState.OVERDUE if notice.due_at <= at else NoticeState.PENDING


def list_notices(session: Session, query: NoticeQuery, *, actor: Actor) -> tuple[list[Notice], bool]:
    """Return notices in the order in which they must be applied, and whether more follow.

    Raises:
        ForbiddenError: The caller lacks the scope.
    """
    actor.require_scope(Scope.NOTICES)
    states = query.states or frozenset(NoticeState)
    wanted = NoticeFilter(
        pending=NoticeState.PENDING in states,
        acknowledged=NoticeState.ACKNOWLEDGED in states,
        overdue=NoticeState.OVERDUE in states,
        kind=query.kind,
        recipient=query.recipient,
        delivery=query.delivery,
        division=division_prefix(query.division) if query.division is not None else None,
    )
    found = repository.notices_after(session, query.after, wanted=wanted, limit=query.limit + 1, at=now())
    return list(found[: query.limit]), len(found) > query.limit


def notices_of_case(session: Session, case_id: UUID) -> Sequence[Notice]:
    """Return a case's notices in order; whether the caller may see the case is the caller's matter."""
    return repository.notices_of_case(session, case_id)


def read_notice(session: Session, notice_id: UUID, *, actor: Actor) -> Notice:
    """Return one notice.

    Raises:
        ForbiddenError: The caller lacks the scope.
        NotFoundError: There is no such notice.
    """
    actor.require_scope(Scope.NOTICES)
    return _existing(session, notice_id)


def acknowledge(
    session: Session, notice_id: UUID, *, actor: Actor, note: str | None, acknowledged_by: str | None
) -> Notice:
    """Store that the recipient has taken note; the first acknowledgement stands.

    Args:
        session: A transaction.
        notice_id: The notice.
        actor: The client that reports it.
        note: What the recipient says.
        acknowledged_by: Who took note; default: the client's name.

    Raises:
        ForbiddenError: The caller lacks the scope.
        NotFoundError: There is no such notice.
    """
    actor.require_scope(Scope.NOTICES)
    given = Acknowledgement(acknowledged_by or actor.name, AcknowledgedVia.CLIENT, note)
    return store_acknowledgement(session, _existing(session, notice_id), given, actor=actor)


def store_acknowledgement(
    session: Session, notice: Notice, given: Acknowledgement, *, actor: Acting
) -> Notice:
    """Store an acknowledgement and put it on record, unless there is one; return the notice as it stands."""
    if repository.acknowledge_if_open(session, notice.id, given, at=now()):
        record(
            session,
            AuditKind.NOTICE_ACKNOWLEDGED,
            actor=actor,
            subject=f"notice:{notice.id}",
            purpose=f"case:{notice.case_id}",
            via=str(given.via),
        )
    return _existing(session, notice.id)


def answered_by_registrations(
    session: Session, changes: Sequence[RegistrationChange], *, actor: Acting
) -> None:
    """Close the notices that changes of registrations answer; call it in the transaction of the changes.

    A request to cancel is answered when the registration that it names is erased or gets another level
    code; its category says why somebody was unregistered, and may be corrected for other reasons. A
    request to change a level code is answered when the registration bears the code asked for. What has
    been taken back is not answered any more.
    """
    by_id = {change.person_id: change for change in changes}
    standing = repository.standing_requests(
        session,
        list(by_id),
        kinds=(NoticeKind.CANCEL_REQUEST, NoticeKind.LEVEL_CODE_CHANGE),
        reversal_kind=NoticeKind.REVERSAL,
    )
    for notice in standing:
        if _answers(by_id[str(notice.person_id)], notice):
            given = Acknowledgement(actor.name, AcknowledgedVia.REGISTRATION)
            store_acknowledgement(session, notice, given, actor=actor)


def _answers(change: RegistrationChange, notice: Notice) -> bool:
    if notice.kind == NoticeKind.CANCEL_REQUEST:
        return change.level_code is None or change.recoded
    return change.level_code is not None and change.level_code == notice.payload.get("level_code")


def _existing(session: Session, notice_id: UUID) -> Notice:
    notice = repository.notice_by_id(session, notice_id)
    if notice is None:
        raise NotFoundError("There is no such notice.")
    return notice
