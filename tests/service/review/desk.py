"""Builders for the tests of cases: registrations, checks, cases, officers and opinions."""

from collections.abc import Sequence
from datetime import date
from uuid import uuid4

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.auth.service import Actor, Role, actor_of, add_officer
from service.review.opinion import (
    CandidateConclusion,
    CaseKind,
    CaseState,
    ConclusionKind,
    Evidence,
    IdentityEstablished,
    ManualConclusion,
    Opinion,
)
from service.review.rules import CodeRules
from service.review.service import NewCandidate, NewCase, ReviewPolicy, open_case
from service.tables import Case, Check, Officer, Person

CODES = CodeRules(
    evidence_kinds=("document", "visit", "interview", "fingerprint", "dna", "other_record"),
    flagged_codes=frozenset({"30"}),
)
POLICY = ReviewPolicy(notice_due_days=15, codes=CODES)
DIVISION = "530102"
DOCUMENT = (Evidence("document", "Birth record 1987/214"),)


def add_person(
    session: Session, person_id: str, *, division_code: str | None = "530302", level_code: str = "10"
) -> Person:
    """Store a registration."""
    person = Person(
        person_id=person_id,
        level_code=level_code,
        citizen_id_number="11010519491231002X",
        name="张三",
        sex="2",
        birth_date=date(1949, 12, 31),
        ethnicity="07",
        division_code=division_code,
        category="11",
    )
    session.add(person)
    session.flush()
    return person


def registered(session: Session, person_id: str) -> Person:
    """Return a registration, stored now if it is not."""
    stored = session.scalar(select(Person).where(Person.person_id == person_id))
    return stored if stored is not None else add_person(session, person_id)


def add_check(session: Session, *, person_id: str | None = "P-subject", outcome: str = "candidates") -> Check:
    """Store a check as the checks domain would."""
    check = Check(
        id=uuid4(),
        transaction_id=f"T-{uuid4().hex[:12]}",
        transaction_type="household-transfer",
        authority=DIVISION,
        fingerprint="0" * 64,
        person_id=person_id,
        outcome=outcome,
        instruction="hold",
        reasons=["no_face"] if outcome == "not_searchable" else [],
        pack="synthetic 1",
        contract_id="1" * 64,
        client="population",
    )
    session.add(check)
    session.flush()
    return check


def new_candidate(rank: int, person_id: str, *, person_key: int = 0, score: float = 0.6) -> NewCandidate:
    """A candidate with made-up figures."""
    return NewCandidate(
        rank=rank,
        person_id=person_id,
        person_key=person_key or 1000 + rank,
        reference_id=5000 + rank,
        gallery="flagged",
        score=score - rank / 100,
        false_alarm_rate=0.0005,
        false_alarm_low=0.0002,
        false_alarm_high=0.001,
        extrapolated=rank == 1,
    )


def add_case(
    session: Session,
    candidates: Sequence[str] = ("P-first", "P-second"),
    *,
    kind: CaseKind = CaseKind.TRANSACTION,
    subject: str | None = "P-subject",
    division_code: str = DIVISION,
) -> Case:
    """Open a case, with a check unless it is a sweep's; its candidates are registered."""
    check = None
    if kind is not CaseKind.SWEEP:
        outcome = "candidates" if candidates else "not_searchable"
        check = add_check(session, person_id=subject, outcome=outcome)
    new = NewCase(
        division_code=division_code,
        kind=kind,
        check_id=check.id if check is not None else None,
        subject_person_id=subject,
        candidates=[
            new_candidate(rank, person, person_key=registered(session, person).key)
            for rank, person in enumerate(candidates, 1)
        ],
    )
    return open_case(session, new)


def officer(
    session: Session, login: str = "", *, role: Role = Role.OFFICER, division_code: str = DIVISION
) -> Actor:
    """Make an officer's account and return who they are."""
    chosen = login or f"{role}-{uuid4().hex[:8]}"
    account: Officer = add_officer(session, chosen, name=chosen, role=role, division_code=division_code)[0]
    return actor_of(account)


def same(person_id: str, *, evidence: tuple[Evidence, ...] = DOCUMENT) -> CandidateConclusion:
    """A conclusion that this is the subject."""
    return CandidateConclusion(person_id, ConclusionKind.SAME_PERSON, "The same scar.", evidence)


def different(person_id: str) -> CandidateConclusion:
    """A conclusion that this is somebody else."""
    return CandidateConclusion(person_id, ConclusionKind.DIFFERENT_PERSON, "Met both.")


def undetermined(person_id: str) -> CandidateConclusion:
    """A conclusion that it cannot be told."""
    return CandidateConclusion(person_id, ConclusionKind.UNDETERMINED, "Moved away.")


def opinion(
    *conclusions: CandidateConclusion,
    cancel: str | Sequence[str] | None = None,
    identity: IdentityEstablished | None = None,
    manual: ManualConclusion | None = None,
) -> Opinion:
    """All that one officer records."""
    going = frozenset([cancel] if isinstance(cancel, str) else cancel or ())
    return Opinion(conclusions, manual=manual, registrations_to_cancel=going, identity=identity)


def established(person_id: str = "P-subject", level_code: str = "10") -> IdentityEstablished:
    """An identity that was established."""
    return IdentityEstablished(person_id, level_code, "DNA of both parents.")


def by_hand(
    outcome: CaseState = CaseState.CLEARED, *, evidence: tuple[Evidence, ...] = DOCUMENT
) -> ManualConclusion:
    """What was found out without a search."""
    return ManualConclusion(outcome, "Two witnesses.", evidence)


CLEARING = opinion(different("P-first"), different("P-second"))
SUSPECTING = opinion(same("P-first"), different("P-second"), cancel="P-first")
AGREEING = opinion(same("P-first"), cancel="P-first")
DISAGREEING = opinion(different("P-first"))
