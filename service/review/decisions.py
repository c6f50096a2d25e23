"""Records what the first and the second officer conclude, and does what follows."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from service.audit.service import AuditKind, record
from service.auth.service import Actor
from service.errors import CaseStateError
from service.refusals import Refusal
from service.review import repository
from service.review.access import moved_on, require_revision, require_turn, state_error, visible_case
from service.review.announcements import announce
from service.review.attachments import bind_attachments
from service.review.drafts import drop_draft
from service.review.opinion import (
    CandidateConclusion,
    CaseState,
    ConclusionKind,
    Evidence,
    IdentityEstablished,
    ManualConclusion,
    Opinion,
    Stage,
)
from service.review.rules import CaseFacts, agree, check_first, check_second, outcome_of
from service.review.service import ReviewPolicy
from service.tables import Case, Conclusion, Decision, now


def decide(
    session: Session,
    case_id: UUID,
    *,
    opinion: Opinion,
    actor: Actor,
    policy: ReviewPolicy,
    expected_revision: int | None = None,
) -> Case:
    """Record the first officer's opinion; the database lets one through.

    Raises:
        ForbiddenError: The caller's role, or the case is with the supervisors.
        NotFoundError: No such case in the officer's division.
        CaseStateError: The case is not under review, somebody else has it, or it moved on.
        InvalidRequestError: The opinion is incomplete or contradicts itself.
        EvidenceMissingError: It rests on the face alone.
    """
    case = visible_case(session, case_id, actor=actor)
    if case.state != CaseState.UNDER_REVIEW:
        raise state_error(case, _elsewhere(case, "not-under-review"))
    require_turn(session, case, actor=actor)
    require_revision(case, expected_revision)
    facts = facts_of(session, case)
    check_first(opinion, facts, policy.codes)
    state = outcome_of(opinion)
    _move(session, case, _closing(state))
    _store(session, case, Stage.FIRST, opinion=opinion, actor=actor)
    _record(session, AuditKind.CASE_DECIDED, case, opinion=opinion, actor=actor)
    announce(session, case, [opinion], facts=facts, due_days=policy.notice_due_days, actor=actor)
    return case


def confirm(
    session: Session,
    case_id: UUID,
    *,
    opinion: Opinion,
    actor: Actor,
    policy: ReviewPolicy,
    expected_revision: int | None = None,
) -> Case:
    """Record the second officer's opinion: agreement concludes, disagreement goes to a supervisor.

    Raises:
        ForbiddenError: The caller's role, or the case is with the supervisors.
        NotFoundError: No such case in the officer's division.
        SameOfficerError: The officer has recorded the first opinion.
        CaseStateError: No second opinion is awaited, somebody else has the case, or it moved on.
        InvalidRequestError: The opinion is incomplete or contradicts itself.
        EvidenceMissingError: It rests on the face alone.
    """
    case = visible_case(session, case_id, actor=actor)
    if case.state != CaseState.AWAITING_SECOND_OFFICER:
        raise state_error(case, _elsewhere(case, "not-awaiting-second"))
    require_turn(session, case, actor=actor)
    require_revision(case, expected_revision)
    first = first_opinion(session, case)
    facts = facts_of(session, case)
    check_second(opinion, facts, policy.codes, to_confirm=first.same_person)
    agreed, ended = agree(first, opinion, erased=facts.erased), case.round
    _move(session, case, _closing(CaseState.DUPLICATE_CONFIRMED) if agreed else _escalation())
    _store(session, case, Stage.SECOND, opinion=opinion, actor=actor, ended=ended)
    _record(session, AuditKind.CASE_CONFIRMED, case, opinion=opinion, actor=actor, agreed=agreed)
    announce(session, case, [first, opinion], facts=facts, due_days=policy.notice_due_days, actor=actor)
    return case


def facts_of(session: Session, case: Case) -> CaseFacts:
    """Return what the rules need to know of a case; its registrations stay as they are until the end."""
    subject = [case.subject_person_id] if case.subject_person_id is not None else []
    keys = [candidate.person_key for candidate in case.candidates]
    held = {person.key for person in repository.persons_kept(session, keys, subject)}
    return CaseFacts(
        subject=case.subject_person_id,
        candidates=frozenset(candidate.person_id for candidate in case.candidates),
        has_transaction=case.check_id is not None,
        erased=frozenset(one.person_id for one in case.candidates if one.person_key not in held),
    )


def _elsewhere(case: Case, key: str) -> str:
    """Name a withdrawal as such; every other state is told by the key."""
    return "case-withdrawn" if case.state == CaseState.WITHDRAWN else key


def first_opinion(session: Session, case: Case) -> Opinion:
    """Return the opinion that awaits confirmation.

    Raises:
        CaseStateError: There is none in this round.
    """
    decision = repository.decision_of(session, case, Stage.FIRST)
    if decision is None:
        raise CaseStateError.told(Refusal("no-first-opinion"))
    return opinion_of(case, decision)


def opinion_of(case: Case, decision: Decision) -> Opinion:
    """Read a stored opinion back."""
    persons = {candidate.id: candidate.person_id for candidate in case.candidates}
    identity = decision.identity_established
    return Opinion(
        conclusions=tuple(
            CandidateConclusion(
                person_id=persons[stored.candidate_id],
                conclusion=ConclusionKind(stored.conclusion),
                reason=stored.reason,
                evidence=_evidence(stored.evidence),
            )
            for stored in decision.conclusions
        ),
        manual=_manual(decision),
        registrations_to_cancel=frozenset(decision.registrations_to_cancel),
        identity=IdentityEstablished(**identity) if identity is not None else None,
    )


def _manual(decision: Decision) -> ManualConclusion | None:
    if decision.manual_conclusion is None:
        return None
    return ManualConclusion(
        outcome=CaseState(decision.manual_conclusion),
        reason=decision.reason or "",
        evidence=_evidence(decision.evidence),
    )


def _evidence(stored: list[dict[str, Any]]) -> tuple[Evidence, ...]:
    return tuple(
        Evidence(
            kind=item["kind"],
            reference=item["reference"],
            attachment=UUID(item["attachment"]) if item.get("attachment") else None,
        )
        for item in stored
    )


def _stored_evidence(evidence: Sequence[Evidence]) -> list[dict[str, Any]]:
    return [
        {"kind": item.kind, "reference": item.reference}
        | ({"attachment": str(item.attachment)} if item.attachment is not None else {})
        for item in evidence
    ]


def _closing(state: CaseState) -> dict[str, Any]:
    closed_at = None if state is CaseState.AWAITING_SECOND_OFFICER else now()
    return {"state": state, "closed_at": closed_at, "claimed_by": None, "claimed_at": None}


def _escalation() -> dict[str, Any]:
    return _closing(CaseState.UNDER_REVIEW) | {
        "closed_at": None,
        "escalated": True,
        "round": Case.round + 1,
    }


def _move(session: Session, case: Case, values: dict[str, Any]) -> None:
    if not repository.move_if_unchanged(session, case, values):
        raise moved_on(case)


def _store(
    session: Session,
    case: Case,
    stage: Stage,
    *,
    opinion: Opinion,
    actor: Actor,
    ended: int | None = None,
) -> None:
    """Keep an opinion with the round in which it was given, which may have ended by it."""
    ids = {candidate.person_id: candidate.id for candidate in case.candidates}
    manual = opinion.manual
    decision = Decision(
        case_id=case.id,
        round=ended if ended is not None else case.round,
        stage=stage,
        officer_id=actor.id,
        registrations_to_cancel=sorted(opinion.registrations_to_cancel),
        identity_established=asdict(opinion.identity) if opinion.identity is not None else None,
        manual_conclusion=manual.outcome if manual is not None else None,
        reason=manual.reason if manual is not None else None,
        evidence=_stored_evidence(manual.evidence) if manual is not None else [],
        conclusions=[_conclusion(given, ids[given.person_id]) for given in opinion.conclusions],
    )
    session.add(decision)
    session.flush()
    bind_attachments(session, decision, opinion.attachments, actor=actor)
    drop_draft(session, case.id, actor=actor)
    session.refresh(case)


def _conclusion(given: CandidateConclusion, candidate_id: int) -> Conclusion:
    return Conclusion(
        candidate_id=candidate_id,
        conclusion=given.conclusion,
        reason=given.reason,
        evidence=_stored_evidence(given.evidence),
    )


def _record(
    session: Session, kind: AuditKind, case: Case, *, opinion: Opinion, actor: Actor, **details: Any
) -> None:
    """Record the event with how often each conclusion was drawn; never the reasons."""
    record(
        session,
        kind,
        actor=actor,
        subject=f"case:{case.id}",
        result=case.state,
        round=case.round,
        conclusions=dict(Counter(str(given.conclusion) for given in opinion.conclusions)),
        **details,
    )
