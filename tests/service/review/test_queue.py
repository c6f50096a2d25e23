"""The queue: own division, filters, counts, and pages that stay where they are."""

import base64
from datetime import timedelta

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
from service.review.schemas import QueueQuery
from service.review.service import claim, withdraw_case
from service.tables import Case, now
from tests.service.review.desk import (
    CLEARING,
    DISAGREEING,
    POLICY,
    SUSPECTING,
    add_case,
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
