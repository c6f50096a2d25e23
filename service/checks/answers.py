"""What a check's caller is told, from what is stored."""

from collections.abc import Mapping
from uuid import UUID

from sqlalchemy.orm import Session

from service.checks import repository
from service.checks.repository import Calibrated
from service.checks.schemas import CandidateAnswer, CheckAnswer, RateAnswer, SearchAnswer, TransactionRequest
from service.settings import Settings
from service.tables import Case, Check, CheckSearch


def status_of(check: Check, case: Case | None) -> str:
    """Tell how far a check has come: its withdrawal, else its case, else closed."""
    if check.withdrawn_at is not None:
        return "withdrawn"
    return case.state if case is not None else "closed"


def review_url(settings: Settings, case: Case | None) -> str | None:
    """Return the page on which officers review a case."""
    return None if case is None else f"{settings.public_url.rstrip('/')}/cases/{case.id}"


def answer(session: Session, check: Check, settings: Settings) -> CheckAnswer:
    """Build the answer of a check as it stands now."""
    records = repository.calibrations(session, check)
    return answer_with(check, repository.case_of(session, check.id), records, settings)


def answer_with(
    check: Check, case: Case | None, records: Mapping[UUID, Calibrated], settings: Settings
) -> CheckAnswer:
    """Build the answer of a check whose case is at hand, or known to be none, as are its calibrations."""
    searches = [_search(row, records[row.calibration_id]) for row in check.searches]
    first = searches[0] if searches else None
    return CheckAnswer.model_validate(
        {
            "check_id": check.id,
            "transaction": TransactionRequest.model_construct(
                id=check.transaction_id, type=check.transaction_type, authority=check.authority
            ),
            "person_id": check.person_id,
            "outcome": check.outcome,
            "instruction": check.instruction,
            "status": status_of(check, case),
            "reasons": check.reasons,
            "candidates": _candidates(case),
            "quality": check.quality,
            "pack": check.pack,
            "contract_id": check.contract_id,
            "generation": first.generation if first else None,
            "gallery_size": first.gallery_size if first else None,
            "threshold": first.threshold if first else None,
            "searches": searches,
            "case_id": case.id if case else None,
            "review_url": review_url(settings, case),
            "timings_ms": check.timings_ms,
            "created_at": check.created_at,
        }
    )


def _candidates(case: Case | None) -> list[CandidateAnswer]:
    if case is None:
        return []
    return [
        CandidateAnswer(
            rank=candidate.rank,
            person_id=candidate.person_id,
            score=candidate.score,
            false_alarm_rate=candidate.false_alarm_rate,
            false_alarm_low=candidate.false_alarm_low,
            false_alarm_high=candidate.false_alarm_high,
            extrapolated=candidate.extrapolated,
            gallery=candidate.gallery,
        )
        for candidate in case.candidates
    ]


def _search(row: CheckSearch, record: Calibrated) -> SearchAnswer:
    return SearchAnswer(
        gallery=row.gallery,
        generation=row.generation,
        position=row.position,
        gallery_size=row.persons,
        references=row.references,
        threshold=row.threshold,
        fpir=RateAnswer(value=row.fpir, low=row.fpir_low, high=row.fpir_high, n=row.fpir_n),
        calibration_id=row.calibration_id,
        calibration_method=record.method,
        calibrated_at=record.created_at,
    )
