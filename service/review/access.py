"""Who may see a case, and whose turn it is to work on it."""

from uuid import UUID

from sqlalchemy.orm import Session

from service.audit.service import AuditKind, record
from service.auth.service import Actor, Role, in_division
from service.database import Database
from service.errors import (
    CaseStateError,
    ForbiddenError,
    ForeignDivisionError,
    NotFoundError,
    SameOfficerError,
)
from service.refusals import Refusal, Word
from service.review import repository
from service.review.opinion import OPEN_STATES, CaseState, Stage
from service.tables import Case, Decision


def visible_case(session: Session, case_id: UUID, *, actor: Actor) -> Case:
    """Return a case as it is stored now, if it is the officer's to see.

    Raises:
        ForbiddenError: Neither an officer nor a supervisor.
        NotFoundError: No such case, or another division's, which is answered alike.
    """
    actor.require_role(Role.OFFICER, Role.SUPERVISOR)
    case = repository.case_by_id(session, case_id)
    if case is None:
        raise NotFoundError.told(Refusal("no-such-case"))
    if not in_division(actor, case.division_code):
        raise ForeignDivisionError.told(Refusal("no-such-case"))
    return case


def note_viewed(database: Database, case_id: UUID, *, actor: Actor) -> None:
    """Record that a case was read, in a short transaction of its own; call it before anything is shown."""
    with database.write() as session:
        record(session, AuditKind.CASE_VIEWED, actor=actor, subject=f"case:{case_id}")


def require_open(case: Case) -> None:
    """Let open cases pass.

    Raises:
        CaseStateError: The case is concluded or withdrawn.
    """
    if case.state not in OPEN_STATES:
        raise state_error(case, "case-closed")


def require_revision(case: Case, expected: int | None) -> None:
    """Let a case pass that nobody has changed since the caller read it.

    Raises:
        CaseStateError: It moved on.
    """
    if expected is not None and expected != case.revision:
        raise moved_on(case)


def require_turn(session: Session, case: Case, *, actor: Actor) -> None:
    """Let an officer pass who may work on an open case now.

    Raises:
        ForbiddenError: Officers disagreed on the case, so it is with the supervisors.
        SameOfficerError: The officer has recorded the first opinion.
        CaseStateError: Somebody else has claimed it.
    """
    if case.escalated and actor.role is not Role.SUPERVISOR:
        raise ForbiddenError.told(Refusal("escalated"))
    if case.state == CaseState.AWAITING_SECOND_OFFICER:
        first = repository.decision_of(session, case, Stage.FIRST)
        if first is not None and first.officer_id == actor.id:
            raise SameOfficerError.told(Refusal("same-officer"))
    if case.claimed_by is not None and case.claimed_by != actor.id:
        raise state_error(case, "claimed-by-another")


def is_concealed(decision: Decision, case: Case, *, actor: Actor) -> bool:
    """Tell whether a second officer could still be led by this opinion."""
    return (
        case.state == CaseState.AWAITING_SECOND_OFFICER
        and decision.round == case.round
        and decision.stage == Stage.FIRST
        and decision.officer_id != actor.id
    )


def moved_on(case: Case) -> CaseStateError:
    """Return the error for a case that changed since it was read; a withdrawal is told as such."""
    return state_error(case, "case-withdrawn" if case.state == CaseState.WITHDRAWN else "case-moved-on")


def state_error(case: Case, key: str) -> CaseStateError:
    """Return a conflict that tells how the case stands, and nothing about persons or officers.

    Args:
        case: As it stands.
        key: Of the refusal; its text may name the case's `{state}`.
    """
    return CaseStateError.told(
        Refusal(key, {"state": Word(f"state.{case.state}")}),
        state=case.state,
        revision=case.revision,
        claimed_at=case.claimed_at.isoformat() if case.claimed_at is not None else None,
    )
