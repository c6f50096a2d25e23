"""Who may see a case, and whose turn it is to work on it."""

from uuid import UUID

from sqlalchemy.orm import Session

from service.auth.service import Actor, Role, in_division
from service.errors import CaseStateError, ForbiddenError, NotFoundError, SameOfficerError
from service.review import repository
from service.review.opinion import OPEN_STATES, CaseState, Stage
from service.tables import Case


def visible_case(session: Session, case_id: UUID, *, actor: Actor) -> Case:
    """Return a case as it is stored now, if it is the officer's to see.

    Raises:
        ForbiddenError: Neither an officer nor a supervisor.
        NotFoundError: No such case, or another division's, which is answered alike.
    """
    actor.require_role(Role.OFFICER, Role.SUPERVISOR)
    case = repository.case_by_id(session, case_id)
    if case is None or not in_division(actor, case.division_code):
        raise NotFoundError("There is no such case in your division.")
    return case


def require_open(case: Case) -> None:
    """Let open cases pass.

    Raises:
        CaseStateError: The case is concluded or withdrawn.
    """
    if case.state not in OPEN_STATES:
        raise state_error(case, f"The case is {case.state}; nothing more can be recorded.")


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
        raise ForbiddenError("Officers disagreed on this case; a supervisor must take it.")
    if case.state == CaseState.AWAITING_SECOND_OFFICER:
        first = repository.decision_of(session, case, Stage.FIRST)
        if first is not None and first.officer_id == actor.id:
            raise SameOfficerError("You recorded the first opinion; another officer must give the second.")
    if case.claimed_by is not None and case.claimed_by != actor.id:
        raise state_error(case, "Another officer has claimed the case.")


def moved_on(case: Case) -> CaseStateError:
    """Return the error for a case that changed since it was read."""
    return state_error(case, "The case has changed since you read it; read it again.")


def state_error(case: Case, detail: str) -> CaseStateError:
    """Return a conflict that tells how the case stands, and nothing about persons or officers."""
    return CaseStateError(
        detail,
        state=case.state,
        revision=case.revision,
        claimed_at=case.claimed_at.isoformat() if case.claimed_at is not None else None,
    )
