"""Whose turn it is, as far as a page can tell; the service decides when something is sent."""

from dataclasses import dataclass

from service.auth.service import Actor, Role
from service.errors import CaseStateError, ForbiddenError, SameOfficerError, ServiceError
from service.refusals import Refusal, Word
from service.review.answers import CaseView
from service.review.opinion import DECIDED_STATES, OPEN_STATES, CaseState, Stage


@dataclass(frozen=True, slots=True)
class Turn:
    """What the page offers to an officer.

    Attributes:
        may_claim: Take the case.
        may_release: Give it back.
        may_decide: Record the first opinion.
        may_confirm: Record the second opinion.
        may_reopen: Begin a new round.
        may_appeal: Record that somebody appealed.
        hint: Key of the text that says whose turn it is.
    """

    may_claim: bool = False
    may_release: bool = False
    may_decide: bool = False
    may_confirm: bool = False
    may_reopen: bool = False
    may_appeal: bool = False
    hint: str = ""


def turn_of(case: CaseView, actor: Actor) -> Turn:
    """Tell what an officer may do with a case as it stands."""
    supervisor = actor.role is Role.SUPERVISOR
    if case.state not in OPEN_STATES:
        decided = case.state in DECIDED_STATES
        return Turn(may_reopen=supervisor and decided, may_appeal=decided, hint=f"turn.{case.state}")
    mine = case.claim is not None and case.claim.mine
    release = mine or (case.claim is not None and supervisor)
    if case.escalated and not supervisor:
        return Turn(may_release=release, hint="turn.escalated")
    awaiting = case.state == CaseState.AWAITING_SECOND_OFFICER
    if awaiting and _gave_first_opinion(case, actor):
        return Turn(may_release=release, hint="turn.same_officer")
    if case.claim is not None and not mine:
        return Turn(may_release=release, hint="turn.claimed_by_other")
    return Turn(
        may_claim=case.claim is None,
        may_release=release,
        may_decide=not awaiting,
        may_confirm=awaiting,
        hint="turn.confirm" if awaiting else "turn.decide_escalated" if case.escalated else "turn.decide",
    )


def refusal_of(case: CaseView, actor: Actor) -> ServiceError:
    """Return why a case takes no opinion of an officer now, for one that was sent nevertheless."""
    state = {"state": Word(f"state.{case.state}")}
    if case.state == CaseState.WITHDRAWN:
        return CaseStateError.told(Refusal("case-withdrawn"))
    if case.state not in OPEN_STATES:
        return CaseStateError.told(Refusal("case-closed", state))
    if case.escalated and actor.role is not Role.SUPERVISOR:
        return ForbiddenError.told(Refusal("escalated"))
    if case.state == CaseState.AWAITING_SECOND_OFFICER and _gave_first_opinion(case, actor):
        return SameOfficerError.told(Refusal("same-officer"))
    if case.claim is not None and not case.claim.mine:
        return CaseStateError.told(Refusal("claimed-by-another"))
    return CaseStateError.told(Refusal("case-moved-on"))


def _gave_first_opinion(case: CaseView, actor: Actor) -> bool:
    return any(
        decision.round == case.round and decision.stage is Stage.FIRST and decision.officer.id == actor.id
        for decision in case.decisions
    )
