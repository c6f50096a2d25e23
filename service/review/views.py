"""Shows a case to an officer: ID numbers masked, a first opinion concealed while a second is awaited."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from service.auth.service import Actor
from service.notices.service import NoticeKind, notices_of_case, state_of
from service.review import repository
from service.review.access import is_concealed
from service.review.answers import (
    AppealView,
    AttachmentView,
    CandidateView,
    CaseSummary,
    CaseView,
    ClaimView,
    DecisionView,
    IssuedNoticeView,
    OfficerView,
    RegistrationView,
    SearchView,
    TransactionView,
)
from service.review.appeals import AppealState, appeals_of
from service.review.attachments import files_of_decisions
from service.review.decisions import first_opinion, opinion_of
from service.review.kinship import kinship_of
from service.review.opinion import CaseState, Evidence, Opinion, Stage
from service.review.queue_repository import CaseRow
from service.review.schemas import ConclusionItem, EvidenceItem, IdentityItem, ManualConclusionItem
from service.tables import (
    Appeal,
    Attachment,
    Case,
    CaseCandidate,
    Check,
    Decision,
    Notice,
    Officer,
    Person,
    now,
)

CLEAR_START, CLEAR_END = 6, 4
"""Characters of an ID number left readable: the division, and the sequence with its check character."""


def masked(number: str | None) -> str | None:
    """Hide the middle of an ID number; one too short to keep anything apart is hidden whole."""
    if number is None:
        return None
    hidden = len(number) - CLEAR_START - CLEAR_END
    if hidden <= 0:
        return "*" * len(number)
    return number[:CLEAR_START] + "*" * hidden + number[-CLEAR_END:]


def case_view(session: Session, case: Case, *, actor: Actor) -> CaseView:
    """Show a whole case; the caller has made sure that the officer may see it."""
    check = repository.check_of(session, case)
    appeals, files = appeals_of(session, case.id), files_of_decisions(session, case.id)
    officers = repository.officers_by_id(session, _officer_ids(case, appeals))
    subject, at = _subject(session, case), now()
    return CaseView(
        **_head(case, check, _claim(case, officers, actor=actor)),
        searches=_searches(check),
        reasons=check.reasons if check is not None else [],
        subject=_shown_subject(case, subject),
        candidates=_candidates(session, case, subject),
        to_confirm=_to_confirm(session, case),
        decisions=[
            _decision(decision, case, officers, files, concealed=is_concealed(decision, case, actor=actor))
            for decision in case.decisions
        ],
        appeals=[_appeal(one, officers) for one in appeals],
        notices=[_notice(notice, at=at) for notice in notices_of_case(session, case.id)],
    )


def case_summary(row: CaseRow, *, actor: Actor, overdue_before: datetime, blind: bool) -> CaseSummary:
    """Show one line of the queue.

    Args:
        row: The case.
        actor: Who looks.
        overdue_before: Open cases opened before are overdue.
        blind: Whether scores and rates are left out while the case is open.
    """
    case, claim = row.case, None
    hidden = blind and case.closed_at is None
    if case.claimed_by is not None and case.claimed_at is not None:
        officer = OfficerView(id=case.claimed_by, name=row.claimed_by_name or "")
        claim = ClaimView(officer=officer, mine=case.claimed_by == actor.id, claimed_at=case.claimed_at)
    return CaseSummary(
        **_head(case, row.check, claim),
        urgency=case.urgency,
        overdue=case.closed_at is None and case.opened_at < overdue_before,
        candidates=row.candidates,
        best_score=None if hidden else row.best_score,
        lowest_false_alarm_rate=None if hidden else row.lowest_false_alarm_rate,
    )


def _head(case: Case, check: Check | None, claim: ClaimView | None) -> dict[str, Any]:
    return {
        "id": case.id,
        "kind": case.kind,
        "state": case.state,
        "escalated": case.escalated,
        "round": case.round,
        "revision": case.revision,
        "division_code": case.division_code,
        "opened_at": case.opened_at,
        "closed_at": case.closed_at,
        "claim": claim,
        "check_id": case.check_id,
        "transaction": _transaction(check),
        "subject_person_id": case.subject_person_id,
    }


def _transaction(check: Check | None) -> TransactionView | None:
    if check is None:
        return None
    return TransactionView(id=check.transaction_id, type=check.transaction_type, authority=check.authority)


def _officer_ids(case: Case, appeals: Sequence[Appeal]) -> set[UUID]:
    ids = {decision.officer_id for decision in case.decisions}
    for appeal in appeals:
        ids |= {appeal.recorded_by} | ({appeal.answered_by} if appeal.answered_by is not None else set())
    return ids | ({case.claimed_by} if case.claimed_by is not None else set())


def _claim(case: Case, officers: Mapping[UUID, Officer], *, actor: Actor) -> ClaimView | None:
    if case.claimed_by is None or case.claimed_at is None:
        return None
    officer = _officer(officers[case.claimed_by])
    return ClaimView(officer=officer, mine=case.claimed_by == actor.id, claimed_at=case.claimed_at)


def _officer(officer: Officer) -> OfficerView:
    return OfficerView(id=officer.id, name=officer.name)


def _searches(check: Check | None) -> list[SearchView]:
    return [
        SearchView(
            gallery=search.gallery,
            threshold=search.threshold,
            gallery_size=search.persons,
            generation=search.generation,
        )
        for search in (check.searches if check is not None else ())
    ]


def _subject(session: Session, case: Case) -> Person | None:
    if case.subject_person_id is None:
        return None
    return repository.person_by_id(session, case.subject_person_id)


def _shown_subject(case: Case, person: Person | None) -> RegistrationView | None:
    return _registration(case.subject_person_id, person) if case.subject_person_id is not None else None


def _registration(person_id: str, person: Person | None) -> RegistrationView:
    if person is None:
        return RegistrationView(person_id=person_id, erased=True)
    return RegistrationView(
        person_id=person_id,
        erased=False,
        name=person.name,
        citizen_id_number_masked=masked(person.citizen_id_number),
        sex=person.sex,
        birth_date=person.birth_date,
        ethnicity=person.ethnicity,
        division_code=person.division_code,
        level_code=person.level_code,
        category=person.category,
    )


def _candidates(session: Session, case: Case, subject: Person | None) -> list[CandidateView]:
    """Find registrations by our key: one that was erased and stored anew is not the one that was searched."""
    persons = repository.persons_by_key(session, [candidate.person_key for candidate in case.candidates])
    return [
        _candidate(candidate, persons.get(candidate.person_key), subject) for candidate in case.candidates
    ]


def _candidate(candidate: CaseCandidate, person: Person | None, subject: Person | None) -> CandidateView:
    return CandidateView(
        rank=candidate.rank,
        person_id=candidate.person_id,
        gallery=candidate.gallery,
        reference_id=candidate.reference_id,
        score=candidate.score,
        false_alarm_rate=candidate.false_alarm_rate,
        false_alarm_low=candidate.false_alarm_low,
        false_alarm_high=candidate.false_alarm_high,
        extrapolated=candidate.extrapolated,
        registration=_registration(candidate.person_id, person),
        kinship=kinship_of(subject, person),
    )


def _to_confirm(session: Session, case: Case) -> list[str]:
    if case.state != CaseState.AWAITING_SECOND_OFFICER:
        return []
    return sorted(first_opinion(session, case).same_person)


def _decision(
    decision: Decision,
    case: Case,
    officers: Mapping[UUID, Officer],
    files: Mapping[UUID, Attachment],
    *,
    concealed: bool,
) -> DecisionView:
    content = {} if concealed else _content(decision, opinion_of(case, decision), files)
    return DecisionView(
        round=decision.round,
        stage=Stage(decision.stage),
        officer=_officer(officers[decision.officer_id]),
        decided_at=decision.decided_at,
        concealed=concealed,
        **content,
    )


def _content(decision: Decision, opinion: Opinion, files: Mapping[UUID, Attachment]) -> dict[str, Any]:
    manual, identity, going = opinion.manual, opinion.identity, sorted(opinion.registrations_to_cancel)
    return {
        "conclusions": [
            ConclusionItem(
                person_id=given.person_id,
                conclusion=given.conclusion,
                reason=given.reason,
                evidence=_evidence(given.evidence),
            )
            for given in opinion.conclusions
        ],
        "manual_conclusion": ManualConclusionItem.model_validate(
            {"outcome": manual.outcome, "reason": manual.reason, "evidence": _evidence(manual.evidence)}
        )
        if manual is not None
        else None,
        "registration_to_cancel": going[0] if len(going) == 1 else None,
        "registrations_to_cancel": going,
        "attachments": [attachment_view(files[one]) for one in opinion.attachments if one in files],
        "identity_established": IdentityItem(
            person_id=identity.person_id, level_code=identity.level_code, reason=identity.reason
        )
        if identity is not None
        else None,
        "reason": decision.reason if decision.stage == Stage.REOPEN else None,
    }


def _evidence(evidence: tuple[Evidence, ...]) -> list[EvidenceItem]:
    return [
        EvidenceItem(kind=item.kind, reference=item.reference, attachment=item.attachment)
        for item in evidence
    ]


def attachment_view(file: Attachment) -> AttachmentView:
    """Show a file; the caller has made sure that the officer may know of it."""
    return AttachmentView(
        id=file.id,
        name=file.name,
        media_type=file.media_type,
        size_bytes=file.size_bytes,
        sha256=file.sha256,
    )


def _appeal(appeal: Appeal, officers: Mapping[UUID, Officer]) -> AppealView:
    return AppealView(
        id=appeal.id,
        round=appeal.round,
        appellant=appeal.appellant,
        appealed_on=appeal.appealed_on,
        grounds=appeal.grounds,
        recorded_by=_officer(officers[appeal.recorded_by]),
        recorded_at=appeal.recorded_at,
        state=AppealState(appeal.state),
        answered_by=_officer(officers[appeal.answered_by]) if appeal.answered_by is not None else None,
        answered_at=appeal.answered_at,
        answer=appeal.answer,
    )


def _notice(notice: Notice, *, at: datetime) -> IssuedNoticeView:
    return IssuedNoticeView(
        id=notice.id,
        sequence=notice.sequence,
        kind=NoticeKind(notice.kind),
        state=state_of(notice, at=at),
        recipient=notice.recipient,
        person_id=notice.person_id,
        reverses=notice.reverses_id,
        created_at=notice.created_at,
        due_at=notice.due_at,
        acknowledged_at=notice.acknowledged_at,
    )
