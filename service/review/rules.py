"""What may be decided, and what follows from it: plain facts in, plain facts out.

Nothing here knows a score. The software proposes candidates; officers decide.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from service.errors import EvidenceMissingError, InvalidRequestError
from service.notices.service import NoticeKind
from service.review.opinion import (
    CaseState,
    ConclusionKind,
    Evidence,
    IdentityEstablished,
    Opinion,
)


@dataclass(frozen=True, slots=True)
class CaseFacts:
    """What the rules need to know of a case.

    Attributes:
        subject: The subject's registration; None when the person has none yet.
        candidates: The registrations of the candidates.
        has_transaction: Whether a transaction waits for the outcome.
    """

    subject: str | None
    candidates: frozenset[str]
    has_transaction: bool


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
            raise _invalid(
                "manual_conclusion", "is given, but there are candidates", "conclude on each of them"
            )
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


def agree(first: Opinion, second: Opinion) -> bool:
    """Tell whether two officers concluded the same.

    They must take the same candidates for the subject, want the same registration to go and
    not establish different identities; one who establishes none does not contradict the other.
    """
    return (
        first.same_person == second.same_person
        and first.registration_to_cancel == second.registration_to_cancel
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
        if opinions[0].registration_to_cancel is not None:
            due.append(DueNotice(NoticeKind.CANCEL_REQUEST, opinions[0].registration_to_cancel))
    identity = next((o.identity for o in opinions if o.identity is not None), None)
    if identity is not None and state in (CaseState.CLEARED, CaseState.DUPLICATE_CONFIRMED):
        due.append(DueNotice(NoticeKind.LEVEL_CODE_CHANGE, identity.person_id, identity.level_code))
    return due


def _identities_differ(one: IdentityEstablished | None, other: IdentityEstablished | None) -> bool:
    if one is None or other is None:
        return False
    return (one.person_id, one.level_code) != (other.person_id, other.level_code)


def _invalid(field: str, message: str, remedy: str) -> InvalidRequestError:
    fault = {"field": field, "message": message, "remedy": remedy}
    return InvalidRequestError(f"{field} {message}; {remedy}.", errors=[fault])


def _check_covered(opinion: Opinion, *, required: frozenset[str], allowed: frozenset[str]) -> None:
    named = [c.person_id for c in opinion.conclusions]
    if len(named) != len(set(named)):
        raise _invalid("conclusions", "name a candidate twice", "give one for each")
    if not allowed.issuperset(named):
        raise _invalid("conclusions", "name someone who is no candidate of this case", "leave that one out")
    if not required.issubset(named):
        raise _invalid("conclusions", "lack a candidate", "give one for each")


def _check_manual(opinion: Opinion, codes: CodeRules) -> None:
    manual = opinion.manual
    if opinion.conclusions:
        raise _invalid(
            "conclusions", "name someone who is no candidate of this case", "give a manual_conclusion"
        )
    if manual is None:
        raise _invalid(
            "manual_conclusion", "is missing, and there are no candidates", "say what was found out"
        )
    if manual.outcome not in (CaseState.CLEARED, CaseState.UNDETERMINED):
        raise _invalid("manual_conclusion.outcome", "is not allowed", "choose cleared or undetermined")
    _check_text("manual_conclusion", manual.reason, manual.evidence, codes)
    if manual.outcome is CaseState.CLEARED and not manual.evidence:
        raise EvidenceMissingError("To clear a person by hand, name what identifies them.")


def _check_grounds(opinion: Opinion, facts: CaseFacts, codes: CodeRules) -> None:
    for conclusion in opinion.conclusions:
        _check_text("conclusions", conclusion.reason, conclusion.evidence, codes)
        if conclusion.conclusion is ConclusionKind.SAME_PERSON and not conclusion.evidence:
            raise EvidenceMissingError(
                "To conclude same_person, name at least one piece of evidence beyond the face."
            )
    _check_registration(opinion, facts)
    if opinion.identity is not None:
        _check_identity(opinion, opinion.identity, facts, codes)


def _check_text(field: str, reason: str, evidence: Sequence[Evidence], codes: CodeRules) -> None:
    if not reason.strip():
        raise _invalid(f"{field}.reason", "is blank", "say why")
    if any(e.kind not in codes.evidence_kinds for e in evidence):
        raise _invalid(
            f"{field}.evidence", "has an unknown kind", f"use one of {', '.join(codes.evidence_kinds)}"
        )
    if any(not e.reference.strip() for e in evidence):
        raise _invalid(f"{field}.evidence", "lacks a reference", "say by what it can be found")


def _check_registration(opinion: Opinion, facts: CaseFacts) -> None:
    """One of several registrations must go; with fewer than two there is none to choose from."""
    chosen = opinion.registration_to_cancel
    concerned = _concerned(opinion, facts) if opinion.same_person else frozenset()
    if chosen is None:
        if len(concerned) > 1:
            raise _invalid("registration_to_cancel", "is missing", "name the registration that must go")
    elif chosen not in concerned:
        raise _invalid(
            "registration_to_cancel",
            "is not a registration of this person",
            "name the subject or a candidate who is the same person",
        )


def _check_identity(
    opinion: Opinion, identity: IdentityEstablished, facts: CaseFacts, codes: CodeRules
) -> None:
    if identity.person_id not in _concerned(opinion, facts):
        raise _invalid(
            "identity_established.person_id",
            "is not a registration of this person",
            "name the subject or a candidate who is the same person",
        )
    if identity.person_id == opinion.registration_to_cancel:
        raise _invalid(
            "identity_established.person_id", "is to be cancelled", "name the registration that stays"
        )
    if identity.level_code in codes.flagged_codes:
        raise _invalid("identity_established.level_code", "means identity in doubt", "give another code")
    if not identity.reason.strip():
        raise _invalid("identity_established.reason", "is blank", "say why")
    if outcome_of(opinion) is CaseState.UNDETERMINED:
        raise _invalid("identity_established", "is given, but the case is undetermined", "leave it out")


def _concerned(opinion: Opinion, facts: CaseFacts) -> frozenset[str]:
    """The registrations of the one person: the subject's and those of the same person."""
    return opinion.same_person | ({facts.subject} if facts.subject is not None else set())
