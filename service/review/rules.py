"""What may be decided, and what follows from it: plain facts in, plain facts out.

Nothing here knows a score. The software proposes candidates; officers decide.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from service.errors import EvidenceMissingError, InvalidRequestError
from service.notices.service import NoticeKind
from service.refusals import Refusal
from service.review.opinion import (
    CaseState,
    ConclusionKind,
    Evidence,
    IdentityEstablished,
    Opinion,
    is_blank,
)


@dataclass(frozen=True, slots=True)
class CaseFacts:
    """What the rules need to know of a case.

    Attributes:
        subject: The subject's registration; None when the person has none yet.
        candidates: The registrations of the candidates.
        erased: Those candidates whose registration is no longer held: there is nothing left to cancel.
        has_transaction: Whether a transaction waits for the outcome.
    """

    subject: str | None
    candidates: frozenset[str]
    has_transaction: bool
    erased: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class CodeRules:
    """The codes that depend on settings: kinds of evidence, and level codes that mean doubt."""

    evidence_kinds: Collection[str]
    flagged_codes: Collection[str]


@dataclass(frozen=True, slots=True)
class DueNotice:
    """A notice that an outcome demands; `level_code` belongs to a change of the level code."""

    kind: NoticeKind
    person_id: str | None
    level_code: str | None = None


def check_first(opinion: Opinion, facts: CaseFacts, codes: CodeRules) -> None:
    """Refuse a first opinion that is incomplete or contradicts itself.

    Raises:
        InvalidRequestError: A conclusion is missing, twofold or about nobody; a registration
            to cancel or an established identity is missing or does not fit.
        EvidenceMissingError: A conclusion rests on the face alone.
    """
    if facts.candidates:
        if opinion.manual is not None:
            raise _invalid("manual_conclusion", "manual-beside-candidates")
        _check_covered(opinion, required=facts.candidates, allowed=facts.candidates)
    else:
        _check_manual(opinion, codes)
    _check_grounds(opinion, facts, codes)


def check_second(opinion: Opinion, facts: CaseFacts, codes: CodeRules, *, to_confirm: frozenset[str]) -> None:
    """Refuse a second opinion that is incomplete or contradicts itself.

    Args:
        opinion: The second officer's own.
        facts: The case.
        codes: Codes from the settings.
        to_confirm: The candidates on which it must conclude; on others it may.

    Raises:
        InvalidRequestError: As for the first opinion.
        EvidenceMissingError: As for the first opinion.
    """
    _check_covered(opinion, required=to_confirm, allowed=facts.candidates)
    _check_grounds(opinion, facts, codes)


def outcome_of(opinion: Opinion) -> CaseState:
    """Return the state that a first opinion leads to."""
    if opinion.manual is not None:
        return opinion.manual.outcome
    found = {c.conclusion for c in opinion.conclusions}
    if ConclusionKind.SAME_PERSON in found:
        return CaseState.AWAITING_SECOND_OFFICER
    return CaseState.UNDETERMINED if ConclusionKind.UNDETERMINED in found else CaseState.CLEARED


def agree(first: Opinion, second: Opinion, *, erased: frozenset[str] = frozenset()) -> bool:
    """Tell whether two officers concluded the same.

    They must take the same candidates for the subject, want the same registrations to go and
    not establish different identities; one who establishes none does not contradict the other.

    Args:
        first: The first officer's.
        second: The second officer's.
        erased: Registrations that went meanwhile; whether somebody wanted them to go says nothing any more.
    """
    return (
        first.same_person == second.same_person
        and first.registrations_to_cancel - erased == second.registrations_to_cancel - erased
        and not _identities_differ(first.identity, second.identity)
    )


def notices_due(state: CaseState, opinions: Sequence[Opinion], facts: CaseFacts) -> list[DueNotice]:
    """Return the notices that a concluded case demands, in the order of issue.

    Args:
        state: What the case has become.
        opinions: The first opinion and, on a confirmed duplicate, the second that agrees.
        facts: The case.
    """
    due = []
    if state is CaseState.CLEARED and facts.has_transaction:
        due.append(DueNotice(NoticeKind.RELEASE, facts.subject))
    if state is CaseState.DUPLICATE_CONFIRMED:
        if facts.has_transaction:
            due.append(DueNotice(NoticeKind.TERMINATE, facts.subject))
        going = sorted(opinions[0].registrations_to_cancel - facts.erased)
        due += [DueNotice(NoticeKind.CANCEL_REQUEST, person_id) for person_id in going]
    identity = next((o.identity for o in opinions if o.identity is not None), None)
    if identity is not None and state in (CaseState.CLEARED, CaseState.DUPLICATE_CONFIRMED):
        due.append(DueNotice(NoticeKind.LEVEL_CODE_CHANGE, identity.person_id, identity.level_code))
    return due


def _identities_differ(one: IdentityEstablished | None, other: IdentityEstablished | None) -> bool:
    if one is None or other is None:
        return False
    return (one.person_id, one.level_code) != (other.person_id, other.level_code)


def _invalid(field: str, key: str, **values: object) -> InvalidRequestError:
    return InvalidRequestError.told(Refusal(key, values, field))


def _check_covered(opinion: Opinion, *, required: frozenset[str], allowed: frozenset[str]) -> None:
    named = [c.person_id for c in opinion.conclusions]
    if len(named) != len(set(named)):
        raise _invalid("conclusions", "candidate-twice")
    if not allowed.issuperset(named):
        raise _invalid("conclusions", "no-candidate")
    if not required.issubset(named):
        raise _invalid("conclusions", "candidate-missing")


def _check_manual(opinion: Opinion, codes: CodeRules) -> None:
    manual = opinion.manual
    if opinion.conclusions:
        raise _invalid("conclusions", "conclusion-without-candidates")
    if manual is None:
        raise _invalid("manual_conclusion", "manual-missing")
    if manual.outcome not in (CaseState.CLEARED, CaseState.UNDETERMINED):
        raise _invalid("manual_conclusion.outcome", "manual-outcome")
    _check_text("manual_conclusion", manual.reason, manual.evidence, codes)
    if manual.outcome is CaseState.CLEARED and not manual.evidence:
        raise EvidenceMissingError.told(Refusal("evidence-missing-manual"))


def _check_grounds(opinion: Opinion, facts: CaseFacts, codes: CodeRules) -> None:
    for conclusion in opinion.conclusions:
        _check_text("conclusions", conclusion.reason, conclusion.evidence, codes)
        if conclusion.conclusion is ConclusionKind.SAME_PERSON and not conclusion.evidence:
            raise EvidenceMissingError.told(Refusal("evidence-missing"))
    if len(opinion.attachments) != len(set(opinion.attachments)):
        raise _invalid("conclusions.evidence", "attachment-twice")
    _check_registrations(opinion, facts)
    if opinion.identity is not None:
        _check_identity(opinion, opinion.identity, facts, codes)


def _check_text(field: str, reason: str, evidence: Sequence[Evidence], codes: CodeRules) -> None:
    if is_blank(reason):
        raise _invalid(f"{field}.reason", "reason-blank")
    if any(e.kind not in codes.evidence_kinds for e in evidence):
        raise _invalid(f"{field}.evidence", "evidence-kind", kinds=", ".join(codes.evidence_kinds))
    if any(is_blank(e.reference) for e in evidence):
        raise _invalid(f"{field}.evidence", "evidence-reference")


def _check_registrations(opinion: Opinion, facts: CaseFacts) -> None:
    """Of several registrations some must go and one must stay; of fewer than two there is none to choose."""
    chosen = opinion.registrations_to_cancel
    concerned = _concerned(opinion, facts) if opinion.same_person else frozenset()
    if not chosen <= concerned:
        raise _invalid("registrations_to_cancel", "registration-of-nobody")
    if chosen & facts.erased:
        raise _invalid("registrations_to_cancel", "registration-erased")
    held = concerned - facts.erased
    if len(held) > 1 and not chosen:
        raise _invalid("registrations_to_cancel", "registration-missing")
    if len(held) > 1 and chosen == held:
        raise _invalid("registrations_to_cancel", "registrations-all")


def _check_identity(
    opinion: Opinion, identity: IdentityEstablished, facts: CaseFacts, codes: CodeRules
) -> None:
    if identity.person_id not in _concerned(opinion, facts):
        raise _invalid("identity_established.person_id", "registration-of-nobody")
    if identity.person_id in facts.erased:
        raise _invalid("identity_established.person_id", "registration-erased")
    if identity.person_id in opinion.registrations_to_cancel:
        raise _invalid("identity_established.person_id", "identity-cancelled")
    if identity.level_code in codes.flagged_codes:
        raise _invalid("identity_established.level_code", "identity-in-doubt")
    if is_blank(identity.reason):
        raise _invalid("identity_established.reason", "reason-blank")
    if outcome_of(opinion) is CaseState.UNDETERMINED:
        raise _invalid("identity_established", "identity-undetermined")


def _concerned(opinion: Opinion, facts: CaseFacts) -> frozenset[str]:
    """The registrations of the one person: the subject's and those of the same person."""
    return opinion.same_person | ({facts.subject} if facts.subject is not None else set())
