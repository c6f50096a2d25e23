"""Two officers at once: the database lets exactly one through, on both databases."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from uuid import UUID

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from service.auth.service import Actor, Role
from service.database import Database
from service.errors import CheckSettledError, ServiceError
from service.notices.service import RegistrationChange, answered_by_registrations
from service.persons.repository import persons_for_update
from service.review.decisions import confirm, decide
from service.review.service import claim, reopen, withdraw_case
from service.tables import AuditEvent, Case, Decision, Notice
from tests.service.review.desk import (
    AGREEING,
    CLEARING,
    DISAGREEING,
    POLICY,
    SUSPECTING,
    add_case,
    officer,
)

Step = Callable[[Session], object]
ROUNDS = 5


def at_once(database: Database, *steps: Step) -> list[str]:
    """Run each step in a transaction and a thread of its own; return `done` or the problem's code."""
    barrier = threading.Barrier(len(steps))

    def run(step: Step) -> str:
        barrier.wait(timeout=10)
        try:
            with database.write() as session:
                step(session)
        except ServiceError as error:
            return error.code
        return "done"

    with ThreadPoolExecutor(len(steps)) as pool:
        return sorted(pool.map(run, steps))


def behind(database: Database, first: Step, second: Step) -> list[str]:
    """Begin the second step while the first is done and not yet committed; return how each ended."""
    with ThreadPoolExecutor(1) as pool:

        def run() -> str:
            try:
                with database.write() as session:
                    second(session)
            except ServiceError as error:
                return error.code
            return "done"

        with database.write() as session:
            first(session)
            waiting = pool.submit(run)
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.2)
        return ["done", waiting.result(timeout=10)]


def prepared(
    database: Database, *, suspected: bool = False, cleared: bool = False
) -> tuple[UUID, list[Actor]]:
    """A case and two people who may work on it."""
    with database.write() as session:
        case = add_case(session)
        actors = [officer(session, role=Role.SUPERVISOR) for _ in range(2)]
        if suspected or cleared:
            given = SUSPECTING if suspected else CLEARING
            decide(session, case.id, opinion=given, actor=officer(session), policy=POLICY)
        return case.id, actors


def test_two_claims_at_once_are_settled(database: Database) -> None:
    for _ in range(ROUNDS):
        case_id, (one, other) = prepared(database)
        ended = at_once(
            database, partial(claim, case_id=case_id, actor=one), partial(claim, case_id=case_id, actor=other)
        )
        assert ended == ["case-state", "done"]


def test_a_claim_waits_for_an_earlier_one_and_then_loses(database: Database) -> None:
    case_id, (one, other) = prepared(database)
    ended = behind(
        database, partial(claim, case_id=case_id, actor=one), partial(claim, case_id=case_id, actor=other)
    )
    assert ended == ["done", "case-state"]
    with database.read() as session:
        assert session.get_one(Case, case_id).claimed_by == one.id


def test_the_same_officers_two_claims_at_once_both_succeed(database: Database) -> None:
    case_id, (one, _) = prepared(database)
    ended = behind(
        database, partial(claim, case_id=case_id, actor=one), partial(claim, case_id=case_id, actor=one)
    )
    assert ended == ["done", "done"]
    with database.read() as session:
        assert session.get_one(Case, case_id).revision == 2


def test_two_first_opinions_at_once_store_one(database: Database) -> None:
    for _ in range(ROUNDS):
        case_id, (one, other) = prepared(database)
        ended = at_once(
            database,
            partial(decide, case_id=case_id, opinion=CLEARING, actor=one, policy=POLICY),
            partial(decide, case_id=case_id, opinion=SUSPECTING, actor=other, policy=POLICY),
        )
        assert ended == ["case-state", "done"]
        with database.read() as session:
            (stored,) = session.scalars(select(Decision).where(Decision.case_id == case_id))
            case = session.get_one(Case, case_id)
            assert case.state == ("cleared" if stored.officer_id == one.id else "awaiting_second_officer")
            releases = session.scalar(
                select(func.count()).select_from(Notice).where(Notice.case_id == case_id)
            )
            assert releases == (1 if case.state == "cleared" else 0)


def test_a_first_opinion_behind_another_changes_nothing(database: Database) -> None:
    case_id, (one, other) = prepared(database)
    ended = behind(
        database,
        partial(decide, case_id=case_id, opinion=SUSPECTING, actor=one, policy=POLICY),
        partial(decide, case_id=case_id, opinion=CLEARING, actor=other, policy=POLICY),
    )
    assert ended == ["done", "case-state"]
    with database.read() as session:
        assert session.get_one(Case, case_id).state == "awaiting_second_officer"
        assert session.scalars(select(Notice)).all() == []


def test_two_second_opinions_at_once_conclude_once(database: Database) -> None:
    for _ in range(ROUNDS):
        case_id, (one, other) = prepared(database, suspected=True)
        ended = at_once(
            database,
            partial(confirm, case_id=case_id, opinion=AGREEING, actor=one, policy=POLICY),
            partial(confirm, case_id=case_id, opinion=DISAGREEING, actor=other, policy=POLICY),
        )
        assert ended == ["case-state", "done"]
        with database.read() as session:
            stages = list(session.scalars(select(Decision.stage).where(Decision.case_id == case_id)))
            assert sorted(stages) == ["first", "second"]
            kinds = list(session.scalars(select(Notice.kind).where(Notice.case_id == case_id)))
            confirmed = session.get_one(Case, case_id).state == "duplicate_confirmed"
            assert sorted(kinds) == (["cancel_request", "terminate"] if confirmed else [])


def test_a_withdrawal_and_a_decision_at_once_are_settled(database: Database) -> None:
    for _ in range(ROUNDS):
        case_id, (one, _) = prepared(database)
        ended = at_once(
            database,
            partial(withdraw_case, case_id=case_id),
            partial(decide, case_id=case_id, opinion=CLEARING, actor=one, policy=POLICY),
        )
        with database.read() as session:
            case = session.get_one(Case, case_id)
            assert (case.state, ended) in [
                ("withdrawn", ["case-state", "done"]),
                ("cleared", [CheckSettledError.code, "done"]),
            ]
            assert len(case.decisions) == (0 if case.state == "withdrawn" else 1)


def test_an_erasure_behind_a_confirmation_finds_the_request_that_it_answers(database: Database) -> None:
    case_id, (one, _) = prepared(database, suspected=True)

    def erase(session: Session) -> None:
        session.delete(persons_for_update(session, ["P-first"])["P-first"])
        session.flush()
        gone = RegistrationChange("P-first", level_code=None, recoded=True)
        answered_by_registrations(session, [gone], actor=one)

    concluding = partial(confirm, case_id=case_id, opinion=AGREEING, actor=one, policy=POLICY)
    assert behind(database, concluding, erase) == ["done", "done"]
    with database.read() as session:
        asked = session.scalars(select(Notice).where(Notice.kind == "cancel_request")).one()
        assert asked.acknowledged_via == "registration"


def test_a_withdrawal_does_not_mind_a_claim(database: Database) -> None:
    case_id, (one, _) = prepared(database)
    ended = behind(
        database, partial(claim, case_id=case_id, actor=one), partial(withdraw_case, case_id=case_id)
    )
    assert ended == ["done", "done"]


def test_reopening_twice_at_once_reverses_each_notice_once(database: Database) -> None:
    for _ in range(ROUNDS):
        case_id, (one, other) = prepared(database, cleared=True)
        ended = at_once(
            database,
            partial(reopen, case_id=case_id, reason="An appeal.", actor=one, policy=POLICY),
            partial(reopen, case_id=case_id, reason="An appeal.", actor=other, policy=POLICY),
        )
        assert ended == ["case-state", "done"]
        with database.read() as session:
            kinds = session.scalars(
                select(Notice.kind).where(Notice.case_id == case_id).order_by(Notice.sequence)
            ).all()
            assert kinds == ["release", "reversal"]
            reopened = select(func.count()).where(
                AuditEvent.kind == "case-reopened", AuditEvent.subject == f"case:{case_id}"
            )
            assert session.scalar(reopened) == 1
