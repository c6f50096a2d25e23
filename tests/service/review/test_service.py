"""Opening, withdrawing, claiming, releasing and reopening cases, on both databases."""

from uuid import uuid4

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from service.auth.service import SYSTEM, Actor, Role, Scope
from service.database import Database
from service.errors import (
    CaseStateError,
    CheckSettledError,
    ForbiddenError,
    NotFoundError,
    SameOfficerError,
)
from service.notices.service import NoticeKind, notices_of_case
from service.review.decisions import confirm, decide
from service.review.opinion import CaseKind, CaseState, Opinion, Stage
from service.review.service import (
    NewCase,
    case_of_check,
    claim,
    open_case,
    release,
    reopen,
    withdraw_case,
)
from service.tables import AuditEvent, Case
from tests.service.review.desk import (
    AGREEING,
    CLEARING,
    DISAGREEING,
    DIVISION,
    POLICY,
    SUSPECTING,
    add_case,
    add_check,
    new_candidate,
    officer,
    opinion,
    undetermined,
)

UNSURE = opinion(undetermined("P-first"), undetermined("P-second"))


def audited(session: Session, case: Case) -> list[str]:
    """The kinds of a case's events, in order."""
    query = select(AuditEvent.kind).where(AuditEvent.subject == f"case:{case.id}").order_by(AuditEvent.id)
    return list(session.scalars(query))


def test_a_case_is_opened_with_its_candidates_in_order(database: Database) -> None:
    with database.write() as session:
        check = add_check(session)
        new = NewCase(
            division_code=DIVISION,
            check_id=check.id,
            subject_person_id="P-subject",
            candidates=[new_candidate(2, "P-second"), new_candidate(1, "P-first")],
        )
        case_id = open_case(session, new).id
    with database.read() as session:
        case = session.get_one(Case, case_id)
        assert (case.state, case.kind, case.round, case.revision, case.escalated) == (
            "under_review",
            "transaction",
            1,
            1,
            False,
        )
        assert [(c.rank, c.person_id) for c in case.candidates] == [(1, "P-first"), (2, "P-second")]
        assert case.candidates[0].extrapolated
        assert audited(session, case) == ["case-opened"]
        assert case_of_check(session, check.id) is case
        assert case_of_check(session, uuid4()) is None


def test_a_case_that_contradicts_itself_is_not_opened(database: Database) -> None:
    with database.write() as session:
        check_id = add_check(session).id
        one = [new_candidate(1, "P-first")]
        twice = [new_candidate(1, "P-first"), new_candidate(2, "P-first")]
        for new in (
            NewCase(DIVISION, check_id=check_id),
            NewCase(DIVISION, CaseKind.NOT_SEARCHABLE, check_id=check_id, candidates=one),
            NewCase(DIVISION, CaseKind.SWEEP, check_id=check_id, candidates=one),
            NewCase(DIVISION, CaseKind.TRANSACTION, candidates=one),
            NewCase(DIVISION, check_id=check_id, candidates=twice),
            NewCase(DIVISION, check_id=check_id, candidates=one, subject_person_id="P-first"),
        ):
            with pytest.raises(ValueError, match=r"a case|a candidate"):
                open_case(session, new)
        assert session.scalars(select(Case)).all() == []


def test_an_open_case_is_withdrawn_once_whoever_works_on_it(database: Database) -> None:
    with database.write() as session:
        case = add_case(session)
        claim(session, case.id, actor=officer(session))
        case = withdraw_case(session, case.id)
        assert (case.state, case.claimed_by, case.closed_at is not None) == ("withdrawn", None, True)
        revision = case.revision
        assert withdraw_case(session, case.id).revision == revision
        assert notices_of_case(session, case.id) == []
    with database.read() as session:
        assert audited(session, case).count("case-withdrawn") == 1


def test_a_case_awaiting_the_second_officer_can_be_withdrawn(database: Database) -> None:
    with database.write() as session:
        case = add_case(session)
        decide(session, case.id, opinion=SUSPECTING, actor=officer(session), policy=POLICY)
        assert withdraw_case(session, case.id).state == CaseState.WITHDRAWN


@pytest.mark.parametrize("given", [CLEARING, UNSURE], ids=["cleared", "undetermined"])
def test_a_decided_case_is_not_withdrawn(database: Database, given: Opinion) -> None:
    with database.write() as session:
        case = add_case(session)
        decided = decide(session, case.id, opinion=given, actor=officer(session), policy=POLICY)
        state, revision = decided.state, decided.revision
        with pytest.raises(CheckSettledError):
            withdraw_case(session, case.id)
        assert (case.state, case.revision) == (state, revision)


def test_a_case_that_does_not_exist_is_not_withdrawn(database: Database) -> None:
    with database.write() as session, pytest.raises(NotFoundError):
        withdraw_case(session, uuid4())


def test_claiming_twice_is_the_same_as_once(database: Database) -> None:
    with database.write() as session:
        case, actor = add_case(session), officer(session)
        first = claim(session, case.id, actor=actor, expected_revision=1)
        assert (first.claimed_by, first.revision) == (actor.id, 2)
        assert claim(session, case.id, actor=actor, expected_revision=1).revision == 2
    with database.read() as session:
        assert audited(session, case).count("case-claimed") == 1


def test_somebody_elses_claim_is_a_conflict_that_names_only_the_time(database: Database) -> None:
    with database.write() as session:
        case, colleague = add_case(session), officer(session, "li.si")
        claim(session, case.id, actor=colleague)
        with pytest.raises(CaseStateError) as raised:
            claim(session, case.id, actor=officer(session))
        assert case.claimed_at is not None
        assert raised.value.extensions["claimed_at"] == case.claimed_at.isoformat()
        assert "li.si" not in f"{raised.value.detail} {raised.value.extensions}"
        assert str(colleague.id) not in f"{raised.value.detail} {raised.value.extensions}"
        with pytest.raises(CaseStateError):
            release(session, case.id, actor=officer(session))
        with pytest.raises(CaseStateError):
            decide(session, case.id, opinion=CLEARING, actor=officer(session), policy=POLICY)


def test_a_released_case_can_be_claimed_by_another(database: Database) -> None:
    with database.write() as session:
        case, actor, colleague = add_case(session), officer(session), officer(session)
        claim(session, case.id, actor=actor)
        assert release(session, case.id, actor=actor).claimed_by is None
        revision = case.revision
        assert release(session, case.id, actor=actor).revision == revision
        assert claim(session, case.id, actor=colleague).claimed_by == colleague.id
    with database.read() as session:
        assert audited(session, case) == ["case-opened", "case-claimed", "case-released", "case-claimed"]


def test_a_supervisor_releases_what_an_absent_officer_claimed(database: Database) -> None:
    with database.write() as session:
        case = add_case(session)
        claim(session, case.id, actor=officer(session))
        assert release(session, case.id, actor=officer(session, role=Role.SUPERVISOR)).claimed_by is None


def test_a_stale_revision_is_refused(database: Database) -> None:
    with database.write() as session:
        case, actor = add_case(session), officer(session)
        claim(session, case.id, actor=actor)
        with pytest.raises(CaseStateError) as raised:
            release(session, case.id, actor=actor, expected_revision=1)
        assert raised.value.extensions["revision"] == 2
        with pytest.raises(CaseStateError):
            decide(session, case.id, opinion=CLEARING, actor=actor, policy=POLICY, expected_revision=1)
        decide(session, case.id, opinion=CLEARING, actor=actor, policy=POLICY, expected_revision=2)


def test_the_first_officer_cannot_claim_the_second_opinion(database: Database) -> None:
    with database.write() as session:
        case, first = add_case(session), officer(session)
        decide(session, case.id, opinion=SUSPECTING, actor=first, policy=POLICY)
        with pytest.raises(SameOfficerError):
            claim(session, case.id, actor=first)
        second = officer(session)
        assert claim(session, case.id, actor=second).claimed_by == second.id


def test_a_case_on_which_officers_disagreed_is_a_supervisors(database: Database) -> None:
    with database.write() as session:
        case, supervisor = add_case(session), officer(session, role=Role.SUPERVISOR)
        decide(session, case.id, opinion=SUSPECTING, actor=officer(session), policy=POLICY)
        confirm(session, case.id, opinion=DISAGREEING, actor=officer(session), policy=POLICY)
        assert case.escalated
        with pytest.raises(ForbiddenError):
            claim(session, case.id, actor=officer(session))
        with pytest.raises(ForbiddenError):
            decide(session, case.id, opinion=CLEARING, actor=officer(session), policy=POLICY)
        assert claim(session, case.id, actor=supervisor).claimed_by == supervisor.id


def test_another_divisions_case_looks_as_if_it_did_not_exist(database: Database) -> None:
    with database.write() as session:
        case = add_case(session, division_code="530102")
        stranger = officer(session, role=Role.SUPERVISOR, division_code="530300")
        messages = set()
        for case_id in (case.id, uuid4()):
            with pytest.raises(NotFoundError) as raised:
                claim(session, case_id, actor=stranger)
            messages.add((raised.value.detail, str(raised.value.extensions)))
        assert len(messages) == 1
        for division in ("530102", "530100", "530000"):
            actor = officer(session, division_code=division)
            assert claim(session, case.id, actor=actor).claimed_by == actor.id
            release(session, case.id, actor=actor)


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.AUDITOR])
def test_operators_and_auditors_see_no_case(database: Database, role: Role) -> None:
    with database.write() as session:
        case = add_case(session)
        actor = officer(session, role=role)
        for act in (claim, release):
            with pytest.raises(ForbiddenError):
                act(session, case.id, actor=actor)
        with pytest.raises(ForbiddenError):
            reopen(session, case.id, reason="x", actor=actor, policy=POLICY)


def test_clients_and_commands_decide_nothing(database: Database) -> None:
    client = Actor(kind="client", id=uuid4(), name="population", scopes=frozenset(Scope))
    with database.write() as session:
        case = add_case(session)
        for actor in (client, SYSTEM):
            with pytest.raises(ForbiddenError):
                decide(session, case.id, opinion=CLEARING, actor=actor, policy=POLICY)


def test_reopening_takes_back_every_notice_that_stands(database: Database) -> None:
    with database.write() as session:
        case, supervisor = add_case(session), officer(session, role=Role.SUPERVISOR)
        decide(session, case.id, opinion=CLEARING, actor=officer(session), policy=POLICY)
        reopen(session, case.id, reason="An appeal.", actor=supervisor, policy=POLICY)
        assert (case.state, case.round, case.closed_at) == ("under_review", 2, None)
        decide(session, case.id, opinion=SUSPECTING, actor=officer(session), policy=POLICY)
        confirm(session, case.id, opinion=AGREEING, actor=officer(session), policy=POLICY)
        reopen(session, case.id, reason="Another.", actor=supervisor, policy=POLICY)

        notices = notices_of_case(session, case.id)
        kinds = [notice.kind for notice in notices]
        assert kinds == ["release", "reversal", "terminate", "cancel_request", "reversal", "reversal"]
        reversed_ = {n.reverses_id: n for n in notices if n.kind == NoticeKind.REVERSAL}
        standing = [n for n in notices if n.kind != NoticeKind.REVERSAL]
        assert set(reversed_) == {notice.id for notice in standing}
        for notice in standing:
            back = reversed_[notice.id]
            assert (back.recipient, back.person_id, back.transaction_id) == (
                notice.recipient,
                notice.person_id,
                notice.transaction_id,
            )
            assert back.payload["reverses"]["sequence"] == notice.sequence
        assert [(d.round, d.stage, d.reason) for d in case.decisions if d.stage == Stage.REOPEN] == [
            (1, "reopen", "An appeal."),
            (2, "reopen", "Another."),
        ]


def test_only_a_supervisor_reopens_and_only_what_is_decided(database: Database) -> None:
    with database.write() as session:
        case, supervisor = add_case(session), officer(session, role=Role.SUPERVISOR)
        with pytest.raises(CaseStateError):
            reopen(session, case.id, reason="Too early.", actor=supervisor, policy=POLICY)
        decide(session, case.id, opinion=UNSURE, actor=officer(session), policy=POLICY)
        with pytest.raises(ForbiddenError):
            reopen(session, case.id, reason="Mine.", actor=officer(session), policy=POLICY)
        with pytest.raises(CaseStateError):
            reopen(session, case.id, reason="Stale.", actor=supervisor, policy=POLICY, expected_revision=1)
        assert reopen(session, case.id, reason="New papers.", actor=supervisor, policy=POLICY).round == 2
        withdraw_case(session, case.id)
        with pytest.raises(CaseStateError):
            reopen(session, case.id, reason="Too late.", actor=supervisor, policy=POLICY)
