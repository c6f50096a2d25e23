"""The queue: own division, filters, counts, and pages that stay where they are."""

import base64
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session

from service.auth.service import Actor, Role
from service.database import Database
from service.errors import ForbiddenError, InvalidRequestError
from service.review.answers import CasePage
from service.review.decisions import confirm, decide
from service.review.opinion import CaseKind, CaseState
from service.review.queue import QueuePolicy, claim_next, cursor_of, list_cases, read_cursor
from service.review.queue_repository import Place
from service.review.schemas import NextQuery, QueueQuery
from service.review.service import NewCase, claim, open_case, withdraw_case
from service.tables import Case, now
from tests.service.review.desk import (
    CLEARING,
    DISAGREEING,
    POLICY,
    SUSPECTING,
    add_case,
    add_check,
    new_candidate,
    officer,
)

POLICY_OF_QUEUE = QueuePolicy(due_days=3)


def listed(session: Session, actor: Actor, **query: object) -> CasePage:
    return list_cases(session, QueueQuery.model_validate(query), actor=actor, policy=POLICY_OF_QUEUE)


def ids(page: CasePage) -> list[object]:
    return [item.id for item in page.items]


def test_officers_see_their_own_division_and_what_lies_below_it(database: Database) -> None:
    with database.write() as session:
        cases = {
            code: add_case(session, division_code=code).id
            for code in ("530102", "530103", "530302", "530102001")
        }
        county = officer(session, division_code="530102")
        prefecture = officer(session, division_code="530100")
        province = officer(session, division_code="530000")
        assert ids(listed(session, county)) == [cases["530102"], cases["530102001"]]
        assert set(ids(listed(session, prefecture))) == set(cases.values()) - {cases["530302"]}
        assert set(ids(listed(session, province))) == set(cases.values())
        assert ids(listed(session, province, division="530300")) == [cases["530302"]]
        assert ids(listed(session, county, division="530300")) == []
        assert ids(listed(session, county, division="53")) == [cases["530102"], cases["530102001"]]
        assert listed(session, county).counts.states[CaseState.UNDER_REVIEW] == 2


def test_a_page_stays_where_it_is_while_cases_arrive_and_leave(database: Database) -> None:
    with database.write() as session:
        actor = officer(session)
        cases = [add_case(session).id for _ in range(7)]
        first = listed(session, actor, limit=3)
        assert ids(first) == cases[:3]
        newer = add_case(session).id
        withdraw_case(session, cases[1])
        second = listed(session, actor, limit=3, after=first.next)
        assert ids(second) == cases[3:6]
        third = listed(session, actor, limit=3, after=second.next)
        assert ids(third) == [cases[6], newer]
        assert third.next is None


def test_cases_opened_at_the_same_moment_are_neither_lost_nor_repeated(database: Database) -> None:
    with database.write() as session:
        actor = officer(session)
        cases = {add_case(session).id for _ in range(6)}
        session.execute(update(Case).values(opened_at=now()))
        seen, after = [], None
        while True:
            page = listed(session, actor, limit=2, after=after)
            seen += ids(page)
            after = page.next
            if after is None:
                break
        assert len(seen) == 6
        assert set(seen) == cases


def test_open_cases_are_shown_unless_others_are_asked_for(database: Database) -> None:
    with database.write() as session:
        actor = officer(session)
        cases = [add_case(session).id for _ in range(4)]
        decide(session, cases[1], opinion=CLEARING, actor=actor, policy=POLICY)
        decide(session, cases[2], opinion=SUSPECTING, actor=actor, policy=POLICY)
        withdraw_case(session, cases[3])
        assert ids(listed(session, actor)) == [cases[0], cases[2]]
        assert ids(listed(session, actor, state=["cleared", "withdrawn"])) == [cases[1], cases[3]]
        assert listed(session, actor, state=["cleared"]).counts.states == {
            CaseState.UNDER_REVIEW: 1,
            CaseState.AWAITING_SECOND_OFFICER: 1,
            CaseState.CLEARED: 1,
            CaseState.DUPLICATE_CONFIRMED: 0,
            CaseState.UNDETERMINED: 0,
            CaseState.WITHDRAWN: 1,
        }


def test_mine_escalated_and_kind_narrow_the_queue(database: Database) -> None:
    with database.write() as session:
        actor, colleague = officer(session), officer(session)
        plain, mine, theirs, disputed = (add_case(session).id for _ in range(4))
        by_hand = add_case(session, [], kind=CaseKind.NOT_SEARCHABLE).id
        claim(session, mine, actor=actor)
        claim(session, theirs, actor=colleague)
        decide(session, disputed, opinion=SUSPECTING, actor=actor, policy=POLICY)
        confirm(session, disputed, opinion=DISAGREEING, actor=colleague, policy=POLICY)
        assert ids(listed(session, actor, mine=True)) == [mine]
        assert ids(listed(session, actor, escalated=True)) == [disputed]
        assert ids(listed(session, actor, escalated=False)) == [plain, mine, theirs, by_hand]
        assert ids(listed(session, actor, kind="not_searchable")) == [by_hand]
        counts = listed(session, actor).counts
        assert (counts.mine, counts.escalated) == (1, 1)


def test_a_line_tells_transaction_claim_and_best_candidate(database: Database) -> None:
    with database.write() as session:
        actor, colleague = officer(session), officer(session, "wang.wu")
        claimed = add_case(session)
        claim(session, claimed.id, actor=colleague)
        add_case(session, [], kind=CaseKind.NOT_SEARCHABLE)
        line, empty = listed(session, actor).items
        assert line.transaction is not None
        assert line.transaction.type == "household-transfer"
        assert line.candidates == 2
        assert line.best_score == pytest.approx(0.59)
        assert line.lowest_false_alarm_rate == 0.0005
        assert line.claim is not None
        assert (line.claim.officer.name, line.claim.mine) == ("wang.wu", False)
        assert (empty.candidates, empty.best_score, empty.claim) == (0, None, None)


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.AUDITOR])
def test_operators_and_auditors_have_no_queue(database: Database, role: Role) -> None:
    with database.write() as session, pytest.raises(ForbiddenError):
        listed(session, officer(session, role=role))


def test_a_place_in_the_queue_survives_being_sent(database: Database) -> None:
    with database.write() as session:
        case = add_case(session)
        assert read_cursor(cursor_of(case)) == Place(case.urgency, case.opened_at, case.id)


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "x",
        "====",
        "é",
        base64.urlsafe_b64encode(b"1 2026-01-01T00:00:00+00:00").decode(),
        base64.urlsafe_b64encode(b"1 2026-01-01T00:00:00 " + b"0" * 32).decode(),
        base64.urlsafe_b64encode(b"1 now " + b"0" * 32).decode(),
        base64.urlsafe_b64encode(b"\xff\xfe" + b"0" * 32).decode(),
        base64.urlsafe_b64encode(b"-1 2026-01-01T00:00:00+00:00 " + b"0" * 32).decode(),
        base64.urlsafe_b64encode(b"9" * 30 + b" 2026-01-01T00:00:00+00:00 " + b"0" * 32).decode(),
    ],
)
def test_a_made_up_place_in_the_queue_is_refused(cursor: str) -> None:
    with pytest.raises(InvalidRequestError):
        read_cursor(cursor)


def test_extreme_times_in_a_place_are_no_fault_of_ours(database: Database) -> None:
    with database.write() as session:
        actor = officer(session)
        case = add_case(session)
        for opened_at in (
            case.opened_at - timedelta(days=300_000),
            case.opened_at + timedelta(days=2_000_000),
        ):
            place = base64.urlsafe_b64encode(f"1 {opened_at.isoformat()} {case.id.hex}".encode()).decode()
            listed(session, actor, after=place)
        edge = base64.urlsafe_b64encode(f"1 0001-01-01T00:00:00+14:00 {case.id.hex}".encode()).decode()
        with pytest.raises(InvalidRequestError):
            read_cursor(edge)


def rated(session: Session, rate: float | None, *, kind: CaseKind = CaseKind.TRANSACTION) -> Case:
    """A case whose best candidate has this false-alarm rate; None for one that could not be searched."""
    check = add_check(session) if kind is not CaseKind.SWEEP else None
    found = [] if rate is None else [replace(new_candidate(1, "P-first"), false_alarm_rate=rate)]
    new = NewCase(
        division_code="530102",
        kind=kind,
        check_id=check.id if check is not None else None,
        subject_person_id="P-subject",
        candidates=found,
    )
    return open_case(session, new)


def test_the_waiting_come_first_then_the_rarest_then_the_oldest(database: Database) -> None:
    with database.write() as session:
        actor = officer(session)
        sweep = rated(session, 1e-6, kind=CaseKind.SWEEP)
        unsearched = rated(session, None, kind=CaseKind.NOT_SEARCHABLE)
        weak, fair, strong = (rated(session, rate) for rate in (0.005, 5e-4, 1e-5))
        later = rated(session, 2e-5)
        expected = [strong, later, fair, unsearched, weak, sweep]
        assert ids(listed(session, actor)) == [case.id for case in expected]
        assert ids(listed(session, actor, limit=3)) == [case.id for case in expected[:3]]
        assert [item.urgency for item in listed(session, actor).items] == [0, 0, 1, 2, 2, 4]


def test_a_more_urgent_case_leaves_the_later_pages_alone(database: Database) -> None:
    with database.write() as session:
        actor = officer(session)
        cases = [rated(session, rate).id for rate in (1e-5, 5e-4, 5e-4, 0.005)]
        first = listed(session, actor, limit=2)
        assert ids(first) == cases[:2]
        rated(session, 1e-6)
        assert ids(listed(session, actor, limit=2, after=first.next)) == cases[2:]


def test_transaction_kind_and_overdue_narrow_the_queue(database: Database) -> None:
    with database.write() as session:
        actor = officer(session)
        late, fresh = add_case(session), add_case(session)
        late.opened_at = now() - timedelta(days=3, minutes=1)
        closed = add_case(session)
        closed.opened_at = late.opened_at
        withdraw_case(session, closed.id)
        session.flush()
        page = listed(session, actor, overdue=True)
        assert (ids(page), page.items[0].overdue, page.counts.overdue) == ([late.id], True, 1)
        assert ids(listed(session, actor, transaction_type="household-transfer")) == [late.id, fresh.id]
        assert ids(listed(session, actor, transaction_type="id-card-issue")) == []
        assert listed(session, actor).counts.unclaimed == 2


def test_figures_are_left_out_of_the_queue_before_the_first_look(database: Database) -> None:
    with database.write() as session:
        actor = officer(session)
        add_case(session)
        blind = QueuePolicy(due_days=3, blind=True)
        (line,) = list_cases(session, QueueQuery(), actor=actor, policy=blind).items
        assert (line.candidates, line.best_score, line.lowest_false_alarm_rate) == (2, None, None)


def test_the_next_case_is_the_most_urgent_that_the_officer_may_do(database: Database) -> None:
    with database.write() as session:
        actor, colleague = officer(session), officer(session)
        chief = officer(session, role=Role.SUPERVISOR)
        own, disputed, taken, plain = (add_case(session) for _ in range(4))
        add_case(session, division_code="530302")
        decide(session, own.id, opinion=SUSPECTING, actor=actor, policy=POLICY)
        decide(session, disputed.id, opinion=SUSPECTING, actor=actor, policy=POLICY)
        confirm(session, disputed.id, opinion=DISAGREEING, actor=colleague, policy=POLICY)
        claim(session, taken.id, actor=colleague)
        found = claim_next(session, NextQuery(), actor=actor, policy=POLICY_OF_QUEUE)
        assert found is not None
        assert (found.id, found.claimed_by) == (plain.id, actor.id)
        assert claim_next(session, NextQuery(), actor=actor, policy=POLICY_OF_QUEUE) is None
        awaiting = NextQuery(state=[CaseState.AWAITING_SECOND_OFFICER])
        second = claim_next(session, awaiting, actor=colleague, policy=POLICY_OF_QUEUE)
        assert second is not None
        assert second.id == own.id
        escalated = claim_next(session, NextQuery(), actor=chief, policy=POLICY_OF_QUEUE)
        assert escalated is not None
        assert escalated.id == disputed.id


def test_the_next_case_is_chosen_among_those_that_the_filters_show(database: Database) -> None:
    with database.write() as session:
        actor, colleague = officer(session), officer(session)
        chief = officer(session, role=Role.SUPERVISOR)
        rated(session, 1e-6)
        late, disputed = add_case(session), add_case(session)
        late.opened_at = now() - timedelta(days=3, minutes=1)
        decide(session, disputed.id, opinion=SUSPECTING, actor=actor, policy=POLICY)
        confirm(session, disputed.id, opinion=DISAGREEING, actor=colleague, policy=POLICY)
        escalated, overdue = NextQuery(escalated=True), NextQuery(overdue=True)
        assert claim_next(session, escalated, actor=colleague, policy=POLICY_OF_QUEUE) is None
        found = claim_next(session, escalated, actor=chief, policy=POLICY_OF_QUEUE)
        assert found is not None
        assert found.id == disputed.id
        found = claim_next(session, overdue, actor=colleague, policy=POLICY_OF_QUEUE)
        assert found is not None
        assert found.id == late.id
        assert claim_next(session, overdue, actor=colleague, policy=POLICY_OF_QUEUE) is None


def test_officers_who_ask_for_the_next_case_at_once_get_different_ones(database: Database) -> None:
    with database.write() as session:
        officers = [officer(session) for _ in range(2)]
        cases = {add_case(session).id for _ in range(6)}
    claimed: list[UUID] = []
    barrier = threading.Barrier(len(officers))

    def work(actor: Actor) -> list[UUID]:
        found = []
        barrier.wait(timeout=10)
        for _ in range(3):
            with database.write() as session:
                case = claim_next(session, NextQuery(), actor=actor, policy=POLICY_OF_QUEUE)
                assert case is not None
                found.append(case.id)
        return found

    with ThreadPoolExecutor(len(officers)) as pool:
        for found in pool.map(work, officers):
            claimed += found
    assert len(claimed) == 6
    assert set(claimed) == cases
