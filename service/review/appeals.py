"""Appeals: somebody objects to how a case was decided; a supervisor reopens it or dismisses the appeal."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta, timezone
from enum import StrEnum
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from service.audit.service import AuditKind, record
from service.auth.service import Actor, Role
from service.errors import CaseStateError, InvalidRequestError, NotFoundError
from service.refusals import Refusal
from service.review.access import require_revision, state_error, visible_case
from service.review.opinion import DECIDED_STATES
from service.tables import Appeal, Case, now

BEIJING = timezone(timedelta(hours=8))
"""Where the dates of appeals are written; all of China keeps one time."""


class AppealState(StrEnum):
    """How far an appeal has come."""

    PENDING = "pending"
    TAKEN_UP = "taken_up"
    DISMISSED = "dismissed"


@dataclass(frozen=True, slots=True)
class NewAppeal:
    """An appeal to record.

    Attributes:
        appellant: Who appealed.
        appealed_on: The day on which they did.
        grounds: What they say.
    """

    appellant: str
    appealed_on: date
    grounds: str


def appeal(
    session: Session,
    case_id: UUID,
    *,
    new: NewAppeal,
    actor: Actor,
    expected_revision: int | None = None,
) -> Case:
    """Record an appeal against a decided case; the case stays as it is until a supervisor answers.

    Raises:
        ForbiddenError: Neither an officer nor a supervisor.
        NotFoundError: No such case in the officer's division.
        CaseStateError: The case is not decided, or moved on.
        InvalidRequestError: The day lies in the future.
    """
    case = visible_case(session, case_id, actor=actor)
    if case.state not in DECIDED_STATES:
        raise state_error(case, "only-decided-appealed")
    require_revision(case, expected_revision)
    if new.appealed_on > now().astimezone(BEIJING).date():
        raise InvalidRequestError.told(Refusal("appeal-in-future", field="appealed_on"))
    stored = Appeal(
        case_id=case.id,
        round=case.round,
        appellant=new.appellant,
        appealed_on=new.appealed_on,
        grounds=new.grounds,
        recorded_by=actor.id,
        state=AppealState.PENDING,
    )
    session.add(stored)
    session.flush()
    _record(session, case, actor, stored.id, result=AppealState.PENDING)
    return case


def dismiss_appeal(session: Session, case_id: UUID, appeal_id: UUID, *, reason: str, actor: Actor) -> Case:
    """Answer an appeal without reopening the case, as a supervisor.

    Raises:
        ForbiddenError: Not a supervisor.
        NotFoundError: No such case in the supervisor's division, or no such appeal of it.
        CaseStateError: The appeal has been answered.
    """
    actor.require_role(Role.SUPERVISOR)
    case = visible_case(session, case_id, actor=actor)
    found = session.get(Appeal, appeal_id)
    if found is None or found.case_id != case.id:
        raise NotFoundError.told(Refusal("no-such-appeal"))
    if not _answer(session, [appeal_id], AppealState.DISMISSED, reason=reason, actor=actor):
        raise CaseStateError.told(Refusal("appeal-answered"))
    _record(session, case, actor, appeal_id, result=AppealState.DISMISSED)
    return case


def take_up_appeals(session: Session, case: Case, *, actor: Actor) -> None:
    """Answer every pending appeal of a case by having reopened it."""
    pending = [one.id for one in appeals_of(session, case.id) if one.state == AppealState.PENDING]
    _answer(session, pending, AppealState.TAKEN_UP, reason=None, actor=actor)


def appeals_of(session: Session, case_id: UUID) -> Sequence[Appeal]:
    """Return a case's appeals, oldest first; whether the caller may see the case is the caller's matter."""
    query = select(Appeal).where(Appeal.case_id == case_id).order_by(Appeal.recorded_at, Appeal.id)
    return session.scalars(query.execution_options(populate_existing=True)).all()


def _answer(
    session: Session, appeals: Sequence[UUID], state: AppealState, *, reason: str | None, actor: Actor
) -> int:
    """Answer those that nobody has answered; tell how many."""
    statement = (
        update(Appeal)
        .where(Appeal.id.in_(appeals), Appeal.state == AppealState.PENDING)
        .values(state=state, answered_by=actor.id, answered_at=now(), answer=reason)
        .returning(Appeal.id)
        .execution_options(synchronize_session=False)
    )
    return len(session.scalars(statement).all())


def _record(session: Session, case: Case, actor: Actor, appeal_id: UUID, *, result: AppealState) -> None:
    record(
        session,
        AuditKind.APPEAL_RECORDED,
        actor=actor,
        subject=f"case:{case.id}",
        result=result,
        round=case.round,
        appeal=str(appeal_id),
    )
