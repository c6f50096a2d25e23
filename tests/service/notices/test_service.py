"""Issuing, ordering, listing and acknowledging notices, on both databases."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from service.auth.service import SYSTEM, Actor, Scope
from service.database import Database
from service.errors import ForbiddenError, NotFoundError
from service.notices.service import (
    POPULATION_SYSTEM,
    NewNotice,
    NoticeKind,
    NoticeQuery,
    NoticeState,
    acknowledge,
    issue,
    list_notices,
    notices_of_case,
    read_notice,
    reverse_notices,
    state_of,
)
from service.tables import AuditEvent, Notice, now

READER = Actor(kind="client", id=uuid4(), name="population", scopes=frozenset({Scope.NOTICES}))


def issued(
    session: Session,
    kind: NoticeKind = NoticeKind.RELEASE,
    *,
    recipient: str = POPULATION_SYSTEM,
    case_id: UUID | None = None,
    due_days: int = 15,
) -> Notice:
    new = NewNotice(
        kind=kind,
        recipient=recipient,
        case_id=case_id or uuid4(),
        transaction_id="T-1",
        person_id="P-1",
        payload={"action": "release_transaction"},
    )
    return issue(session, new, due_days=due_days, actor=SYSTEM)


def sequences(session: Session, query: NoticeQuery) -> list[int]:
    return [notice.sequence for notice in list_notices(session, query, actor=READER)[0]]


def test_an_issued_notice_is_pending_until_its_day_and_on_record(database: Database) -> None:
    with database.write() as session:
        notice = issued(session, due_days=15)
        assert notice.due_at - notice.created_at == timedelta(days=15)
        assert state_of(notice, at=notice.created_at) is NoticeState.PENDING
        assert state_of(notice, at=notice.due_at - timedelta(microseconds=1)) is NoticeState.PENDING
        assert state_of(notice, at=notice.due_at) is NoticeState.OVERDUE
    with database.read() as session:  # What was done is on record once it is committed.
        event = session.scalars(select(AuditEvent).where(AuditEvent.kind == "notice-issued")).one()
    assert (event.subject, event.purpose) == (f"notice:{notice.id}", f"case:{notice.case_id}")
    assert event.details["sequence"] == notice.sequence


def test_notices_are_listed_in_order_and_page_by_page(database: Database) -> None:
    with database.write() as session:
        made = [issued(session).sequence for _ in range(5)]
        assert made == sorted(made)
        page, more = list_notices(session, NoticeQuery(limit=2), actor=READER)
        assert ([n.sequence for n in page], more) == (made[:2], True)
        page, more = list_notices(session, NoticeQuery(after=made[2], limit=2), actor=READER)
        assert ([n.sequence for n in page], more) == (made[3:], False)
        assert sequences(session, NoticeQuery(after=made[-1])) == []


def test_notices_are_filtered_by_state_kind_and_recipient(database: Database) -> None:
    with database.write() as session:
        pending = issued(session).sequence
        overdue = issued(session, NoticeKind.CANCEL_REQUEST, recipient="530302", due_days=0).sequence
        done = issued(session, NoticeKind.TERMINATE)
        acknowledge(session, done.id, actor=READER, note=None, acknowledged_by=None)
        late = issued(session, due_days=0)
        acknowledge(session, late.id, actor=READER, note=None, acknowledged_by=None)

        def found(*states: NoticeState, **filters: object) -> list[int]:
            return sequences(session, NoticeQuery(states=frozenset(states), **filters))  # type: ignore[arg-type]

        assert found(NoticeState.PENDING) == [pending]
        assert found(NoticeState.OVERDUE) == [overdue]
        assert found(NoticeState.ACKNOWLEDGED) == [done.sequence, late.sequence]
        assert found(NoticeState.PENDING, NoticeState.OVERDUE) == [pending, overdue]
        assert found(kind=NoticeKind.CANCEL_REQUEST) == [overdue]
        assert found(recipient="530302") == [overdue]
        assert found(NoticeState.PENDING, recipient="530302") == []
        assert len(found()) == 4


def test_the_first_acknowledgement_stands(database: Database) -> None:
    with database.write() as session:
        notice = issued(session)
        first = acknowledge(
            session, notice.id, actor=READER, note="Cancelled.", acknowledged_by="530302 household"
        )
        at = first.acknowledged_at
        again = acknowledge(session, notice.id, actor=READER, note="Other.", acknowledged_by="Somebody")
        assert at is not None
        assert (again.acknowledged_at, again.acknowledged_by, again.acknowledgement) == (
            at,
            "530302 household",
            "Cancelled.",
        )
    with database.read() as session:
        kinds = list(session.scalars(select(AuditEvent.kind)))
    assert kinds.count("notice-acknowledged") == 1


def test_who_acknowledges_is_the_client_unless_named(database: Database) -> None:
    with database.write() as session:
        notice = issued(session)
        done = acknowledge(session, notice.id, actor=READER, note=None, acknowledged_by=None)
        assert (done.acknowledged_by, done.acknowledgement) == ("population", None)


def test_two_acknowledgements_at_once_are_settled(database: Database) -> None:
    for _ in range(5):
        with database.write() as session:
            notice_id = issued(session).id

        def report(name: str, notice_id: UUID = notice_id) -> str | None:
            with database.write() as session:
                return acknowledge(
                    session, notice_id, actor=READER, note=None, acknowledged_by=name
                ).acknowledged_by

        with ThreadPoolExecutor(2) as pool:
            told = set(pool.map(report, ["one", "other"]))
        assert len(told) == 1
        with database.read() as session:
            acknowledged = select(func.count()).where(
                AuditEvent.kind == "notice-acknowledged", AuditEvent.subject == f"notice:{notice_id}"
            )
            assert session.scalar(acknowledged) == 1


def test_no_reader_passes_over_a_notice_that_is_committed_later(database: Database) -> None:
    """The number of an uncommitted notice is smaller than any that becomes visible after it."""

    def issue_second() -> int:
        with database.write() as session:
            return issued(session).sequence

    with ThreadPoolExecutor(1) as pool:
        with database.write() as session:
            first = issued(session).sequence
            waiting = pool.submit(issue_second)
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.3)
            with database.read() as view:
                assert sequences(view, NoticeQuery()) == []
        second = waiting.result(timeout=10)
    assert first < second
    with database.read() as view:
        assert sequences(view, NoticeQuery()) == [first, second]


def test_reversals_follow_what_stands_and_nothing_twice(database: Database) -> None:
    case_id = uuid4()
    with database.write() as session:
        one = issued(session, NoticeKind.TERMINATE, case_id=case_id)
        other = issued(session, NoticeKind.CANCEL_REQUEST, recipient="530302", case_id=case_id)
        issued(session)  # Another case's.
        made = reverse_notices(session, case_id, due_days=3, actor=SYSTEM)
        assert [(n.kind, n.recipient, n.reverses_id) for n in made] == [
            ("reversal", POPULATION_SYSTEM, one.id),
            ("reversal", "530302", other.id),
        ]
        assert made[0].payload == {
            "action": "undo",
            "reverses": {"id": str(one.id), "sequence": one.sequence, "kind": "terminate"},
        }
        assert reverse_notices(session, case_id, due_days=3, actor=SYSTEM) == []
        assert len(notices_of_case(session, case_id)) == 4


def test_the_database_refuses_a_second_reversal(database: Database) -> None:
    with database.write() as session:
        notice = issued(session)
        issue(
            session,
            NewNotice(NoticeKind.REVERSAL, POPULATION_SYSTEM, notice.case_id, reverses=notice.id),
            due_days=1,
            actor=SYSTEM,
        )
        with pytest.raises(IntegrityError), session.begin_nested():
            session.execute(
                update(Notice)
                .where(Notice.sequence == issued(session).sequence)
                .values(reverses_id=notice.id)
            )


def test_notices_need_the_scope(database: Database) -> None:
    other = Actor(kind="client", id=uuid4(), name="kiosk", scopes=frozenset({Scope.CHECKS}))
    with database.write() as session:
        notice_id = issued(session).id
        with pytest.raises(ForbiddenError):
            list_notices(session, NoticeQuery(), actor=other)
        with pytest.raises(ForbiddenError):
            read_notice(session, notice_id, actor=other)
        with pytest.raises(ForbiddenError):
            acknowledge(session, notice_id, actor=other, note=None, acknowledged_by=None)
        assert session.scalars(select(Notice.acknowledged_at)).all() == [None]


def test_an_unknown_notice_is_not_found(database: Database) -> None:
    with database.write() as session:
        with pytest.raises(NotFoundError):
            read_notice(session, uuid4(), actor=READER)
        with pytest.raises(NotFoundError):
            acknowledge(session, uuid4(), actor=READER, note=None, acknowledged_by=None)


def test_overdue_is_told_by_the_clock_alone(database: Database) -> None:
    with database.write() as session:
        sequence = issued(session, due_days=1).sequence
        assert sequences(session, NoticeQuery(states=frozenset({NoticeState.OVERDUE}))) == []
        session.execute(update(Notice).values(due_at=now() - timedelta(seconds=1)))
        assert sequences(session, NoticeQuery(states=frozenset({NoticeState.OVERDUE}))) == [sequence]
