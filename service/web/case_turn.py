"""Whose turn it is, as far as a page can tell; the service decides when something is sent."""

from dataclasses import dataclass

from service.auth.service import Actor, Role
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
        hint: Key of the text that says whose turn it is.
    """

    may_claim: bool = False
    may_release: bool = False
    may_decide: bool = False
    may_confirm: bool = False
    may_reopen: bool = False
    hint: str = ""


def turn_of(case: CaseView, actor: Actor) -> Turn:
    """Tell what an officer may do with a case as it stands."""
    supervisor = actor.role is Role.SUPERVISOR
    if case.state not in OPEN_STATES:
        return Turn(may_reopen=supervisor and case.state in DECIDED_STATES, hint=f"turn.{case.state}")
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


def _gave_first_opinion(case: CaseView, actor: Actor) -> bool:
    return any(
        decision.round == case.round and decision.stage is Stage.FIRST and decision.officer.id == actor.id
        for decision in case.decisions
    )
