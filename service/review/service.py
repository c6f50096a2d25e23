"""Opens, withdraws, claims, releases and reopens cases."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID, uuid4

from sqlalchemy.orm import Session

from service.audit.service import Acting, AuditKind, record
from service.auth.service import SYSTEM, Actor, Role
from service.errors import CheckSettledError, NotFoundError
from service.notices.service import reverse_notices
from service.refusals import Refusal
from service.review import repository
from service.review.access import (
    moved_on,
    require_open,
    require_revision,
    require_turn,
    state_error,
    visible_case,
)
from service.review.appeals import take_up_appeals
from service.review.opinion import DECIDED_STATES, OPEN_STATES, CaseKind, CaseState, Stage
from service.review.rules import CodeRules
from service.review.urgency import urgency_of
from service.tables import Case, CaseCandidate, Decision, now


@dataclass(frozen=True, slots=True)
class NewCandidate:
    """A person whom a search returned, with the figures stated then.

    Attributes:
        rank: Place in the candidate list, from 1.
        person_id: The population system's key.
        person_key: Our key of the registration.
        reference_id: The reference that scored best.
        gallery: Where it was found.
        score: Cosine of the templates, -1 to 1; larger is closer.
        false_alarm_rate: Share of searches of this gallery by persons not in it that return a
            candidate scoring at least as high.
        false_alarm_low: Lower end of its 95 % interval.
        false_alarm_high: Upper end of its 95 % interval.
        extrapolated: Whether the rate lies beyond what the sample could measure.
    """

    rank: int
    person_id: str
    person_key: int
    reference_id: int
    gallery: str
    score: float
    false_alarm_rate: float
    false_alarm_low: float
    false_alarm_high: float
    extrapolated: bool = False


@dataclass(frozen=True, slots=True)
class NewCase:
    """A case to open.

    Attributes:
        division_code: The authority in whose jurisdiction it lies.
        kind: Where it comes from.
        check_id: The check; None exactly for a sweep.
        subject_person_id: The subject's registration, if there is one.
        candidates: In order of rank; empty exactly when the portrait was not searchable.
    """

    division_code: str
    kind: CaseKind = CaseKind.TRANSACTION
    check_id: UUID | None = None
    subject_person_id: str | None = None
    candidates: Sequence[NewCandidate] = ()


@dataclass(frozen=True, slots=True)
class ReviewPolicy:
    """What the operator's settings say about decisions and notices."""

    notice_due_days: int
    codes: CodeRules


def open_case(session: Session, new: NewCase, *, actor: Acting = SYSTEM) -> Case:
    """Open a case in the transaction of the check or sweep that found it.

    Raises:
        ValueError: Candidates without a search or a search without candidates, a check where
            there can be none or none where there must be one, or a person named twice.
    """
    _check_new(new)
    check = repository.check_by_id(session, new.check_id) if new.check_id is not None else None
    case = Case(
        id=uuid4(),
        kind=new.kind,
        check_id=new.check_id,
        subject_person_id=new.subject_person_id,
        division_code=new.division_code,
        state=CaseState.UNDER_REVIEW,
        urgency=urgency_of(
            waits=new.check_id is not None,
            lowest_false_alarm_rate=min((one.false_alarm_rate for one in new.candidates), default=None),
        ),
        transaction_type=check.transaction_type if check is not None else None,
        opened_at=now(),
        candidates=[_candidate(candidate) for candidate in new.candidates],
        decisions=[],
    )
    session.add(case)
    session.flush()
    record(
        session,
        AuditKind.CASE_OPENED,
        actor=actor,
        subject=f"case:{case.id}",
        purpose=f"check:{case.check_id}" if case.check_id is not None else None,
        kind_of_case=case.kind,
        candidates=len(new.candidates),
    )
    return case


def _check_new(new: NewCase) -> None:
    if bool(new.candidates) == (new.kind == CaseKind.NOT_SEARCHABLE):
        raise ValueError("a case has candidates unless its portrait was not searchable")
    if (new.check_id is None) != (new.kind == CaseKind.SWEEP):
        raise ValueError("a case belongs to a check unless a sweep found it")
    persons = [candidate.person_id for candidate in new.candidates]
    if len(set(persons)) != len(persons) or new.subject_person_id in persons:
        raise ValueError("a candidate is named twice, or is the subject")


def _candidate(new: NewCandidate) -> CaseCandidate:
    return CaseCandidate(
        rank=new.rank,
        person_id=new.person_id,
        person_key=new.person_key,
        reference_id=new.reference_id,
        gallery=new.gallery,
        score=new.score,
        false_alarm_rate=new.false_alarm_rate,
        false_alarm_low=new.false_alarm_low,
        false_alarm_high=new.false_alarm_high,
        extrapolated=new.extrapolated,
    )


def case_of_check(session: Session, check_id: UUID) -> Case | None:
    """Return the case that a check opened, if it opened one."""
    return repository.case_of_check(session, check_id)


def withdraw_case(session: Session, case_id: UUID, *, actor: Acting = SYSTEM) -> Case:
    """Withdraw a case whose transaction was withdrawn, whoever works on it; once is enough.

    Raises:
        NotFoundError: There is no such case.
        CheckSettledError: Officers have decided it.
    """
    withdrawn = repository.withdraw_if_open(session, case_id, open_states=OPEN_STATES, at=now())
    case = repository.case_by_id(session, case_id)
    if case is None:
        raise NotFoundError.told(Refusal("no-such-case"))
    if case.state != CaseState.WITHDRAWN:
        raise CheckSettledError.told(Refusal("case-decided"))
    if withdrawn:
        record(session, AuditKind.CASE_WITHDRAWN, actor=actor, subject=f"case:{case_id}")
    return case


def claim(session: Session, case_id: UUID, *, actor: Actor, expected_revision: int | None = None) -> Case:
    """Take a case, so that nobody else works on it; again is the same.

    Raises:
        ForbiddenError: The caller's role, or the case is with the supervisors.
        NotFoundError: No such case in the officer's division.
        SameOfficerError: The officer has recorded the first opinion.
        CaseStateError: Somebody else has it, it is concluded, or it moved on.
    """
    case = visible_case(session, case_id, actor=actor)
    require_open(case)
    require_turn(session, case, actor=actor)
    if case.claimed_by == actor.id:
        return case
    require_revision(case, expected_revision)
    if not repository.move_if_unchanged(session, case, {"claimed_by": actor.id, "claimed_at": now()}):
        if case.claimed_by == actor.id and case.state in OPEN_STATES:
            return case  # Our own second request, sent at the same moment, came first.
        raise moved_on(case)
    _record(session, AuditKind.CASE_CLAIMED, case, actor)
    return case


def release(session: Session, case_id: UUID, *, actor: Actor, expected_revision: int | None = None) -> Case:
    """Give a case back; a supervisor may do so for somebody else.

    Raises:
        ForbiddenError: The caller's role.
        NotFoundError: No such case in the officer's division.
        CaseStateError: Somebody else has it, it is concluded, or it moved on.
    """
    case = visible_case(session, case_id, actor=actor)
    require_open(case)
    if case.claimed_by is None:
        return case
    if case.claimed_by != actor.id and actor.role is not Role.SUPERVISOR:
        raise state_error(case, "release-of-another")
    require_revision(case, expected_revision)
    if not repository.move_if_unchanged(session, case, {"claimed_by": None, "claimed_at": None}):
        raise moved_on(case)
    _record(session, AuditKind.CASE_RELEASED, case, actor)
    return case


def reopen(
    session: Session,
    case_id: UUID,
    *,
    reason: str,
    actor: Actor,
    policy: ReviewPolicy,
    expected_revision: int | None = None,
) -> Case:
    """Begin a new round of a decided case, take up its appeals and take back every notice that still stands.

    Raises:
        ForbiddenError: Not a supervisor.
        NotFoundError: No such case in the supervisor's division.
        CaseStateError: It is still open, was withdrawn, or moved on.
    """
    actor.require_role(Role.SUPERVISOR)
    case = visible_case(session, case_id, actor=actor)
    if case.state not in DECIDED_STATES:
        raise state_error(case, "only-decided-reopened")
    require_revision(case, expected_revision)
    was, ended = case.state, case.round
    values = {"state": CaseState.UNDER_REVIEW, "round": Case.round + 1, "closed_at": None}
    if not repository.move_if_unchanged(session, case, values):
        raise moved_on(case)
    session.add(
        Decision(case_id=case.id, round=ended, stage=Stage.REOPEN, officer_id=actor.id, reason=reason)
    )
    session.flush()
    session.refresh(case)
    take_up_appeals(session, case, actor=actor)
    _record(session, AuditKind.CASE_REOPENED, case, actor, was=was)
    reverse_notices(session, case.id, due_days=policy.notice_due_days, actor=actor)
    return case


def _record(session: Session, kind: AuditKind, case: Case, actor: Actor, **details: str) -> None:
    record(session, kind, actor=actor, subject=f"case:{case.id}", round=case.round, **details)
