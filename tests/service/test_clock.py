"""A clock that jumps: nothing is erased or closed by it, nobody is locked out, and checks go on."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pyotp
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from service.auth import backoff, second_factor
from service.auth.backoff import Visit
from service.auth.service import Role, add_officer, hash_secret
from service.auth.sessions import SignInMethod, SignInStage, find_session
from service.clock import BELIEVED_AFTER_S, SILENCE, ClockWatch
from service.database import Database
from service.errors import UnauthenticatedError
from service.notices import queue
from service.retention import service as retention
from service.retention.service import Retention
from service.settings import Settings
from service.statistics.closing import closing_worker
from service.tables import LocalAccount, NoticeDelivery, PageSession, base
from tests.service.calls import Headers, portrait, post_check, put_person
from tests.service.conftest import SQLITE_ONLY
from tests.service.notices.receiving import issue_one

YEAR = timedelta(days=365)

SetClock = Callable[[timedelta], None]
"""Sets the system's clock, as far as the service can tell, so far off the true time."""


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> SetClock:
    """Set the clock that `service.tables.now` and the second factor read; the steady one goes on."""
    off = [timedelta(0)]

    class Shifted(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]  # gives its base
            return datetime.now(tz) + off[0]

    real = time.time
    monkeypatch.setattr(base, "datetime", Shifted)
    monkeypatch.setattr(second_factor, "time", _Time(lambda: real() + off[0].total_seconds()))

    def jump(by: timedelta) -> None:
        off[0] = by

    return jump


class _Time:
    """The module `time` as the second factor uses it."""

    def __init__(self, time: Callable[[], float]) -> None:
        self.time = time


class Clocks:
    """Two clocks that a test sets: the one on the wall, and the steady one."""

    def __init__(self) -> None:
        self.wall_at, self.steady_at = datetime(2026, 11, 26, tzinfo=UTC), 1000.0

    def wall(self) -> datetime:
        return self.wall_at

    def steady(self) -> float:
        return self.steady_at

    def go(self, seconds: float, *, jump: timedelta = timedelta(0)) -> None:
        self.steady_at += seconds
        self.wall_at += timedelta(seconds=seconds) + jump

    def watch(self, last_known: datetime | None = None) -> ClockWatch:
        return ClockWatch(last_known, wall=self.wall, steady=self.steady)


def test_a_steady_clock_is_believed_and_one_that_is_slewed_too() -> None:
    clocks = Clocks()
    watch = clocks.watch()
    for _ in range(2000):
        clocks.go(60, jump=timedelta(seconds=0.03))
        assert watch.is_believed()
    assert watch.detail() == "steady"


@pytest.mark.parametrize("jump", [YEAR, -YEAR, timedelta(hours=1)])
def test_a_jump_is_not_believed_until_it_is_taken_back_or_a_day_has_passed(jump: timedelta) -> None:
    clocks = Clocks()
    watch = clocks.watch()
    clocks.go(60, jump=jump)
    assert not watch.is_believed()
    assert f"{jump.total_seconds():+.0f} s" in watch.detail()
    clocks.go(60, jump=-jump)
    assert watch.is_believed()
    clocks.go(60, jump=jump)
    assert not watch.is_believed()
    clocks.go(BELIEVED_AFTER_S - 1)
    assert not watch.is_believed()
    clocks.go(2)
    assert watch.is_believed()


def test_a_start_long_after_or_before_the_last_record_is_not_believed() -> None:
    clocks = Clocks()
    at = clocks.wall()
    assert clocks.watch(None).is_believed()
    assert clocks.watch(at - SILENCE).is_believed()
    assert not clocks.watch(at - SILENCE - timedelta(days=1)).is_believed()
    assert not clocks.watch(at + timedelta(days=1)).is_believed()


def test_nothing_is_erased_or_closed_by_a_clock_that_jumped(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "FIRST_S", 0.0)
    clocks, done = Clocks(), []
    watch = clocks.watch()
    worker, closing = Retention(database, settings, clock=watch), closing_worker(database, settings, watch)

    def noted(what: str, answer: Any) -> Callable[..., Any]:
        def note(*_given: Any, **_named: Any) -> Any:
            done.append(what)
            return answer

        return note

    monkeypatch.setattr(worker, "_batches", noted("erased", {}))
    monkeypatch.setattr("service.statistics.closing.due_month", noted("closed", None))
    clocks.go(60, jump=YEAR)
    worker.turn()
    closing.turn()
    assert done == []
    clocks.go(60, jump=-YEAR)
    worker.turn()
    closing.turn()
    assert done == ["erased", "closed"]


@SQLITE_ONLY
@pytest.mark.parametrize("jump", [YEAR, -YEAR], ids=["forward", "back"])
def test_checks_are_answered_and_operators_told(
    client: TestClient, headers: Headers, set_clock: SetClock, jump: timedelta
) -> None:
    put_person(client, headers, "P1", portrait(1))
    assert post_check(client, headers, "T1", portrait(8)).json()["instruction"] == "proceed"
    set_clock(jump)
    assert post_check(client, headers, "T2", portrait(8)).json()["instruction"] == "proceed"
    assert post_check(client, headers, "T3", portrait(1, 1)).json()["instruction"] == "hold"
    clock = client.app.state.readiness.examine().parts["clock"]  # type: ignore[attr-defined]  # any ASGI application
    assert clock.ready
    assert clock.detail.startswith("jumped by")
    set_clock(timedelta(0))
    assert post_check(client, headers, "T2", portrait(8)).headers["Idempotent-Replayed"] == "true"
    assert post_check(client, headers, "T4", portrait(1, 1)).json()["instruction"] == "hold"
    assert client.app.state.clock.is_believed()  # type: ignore[attr-defined]  # as above


def test_who_signed_in_or_failed_before_the_clock_was_set_back_is_not_locked_out(
    database: Database, set_clock: SetClock
) -> None:
    visit = Visit("192.0.2.1")
    with database.write() as session:
        officer_id = add_officer(session, "zhang", name="张", role=Role.OFFICER, division_code="530102")[0].id
        secret = second_factor.begin(session, officer_id)
    totp = pyotp.TOTP(secret)
    set_clock(YEAR)
    with database.write() as session:
        assert second_factor.take_code(session, officer_id, totp.at(base.now()))
        while backoff.count_attempt(session, officer_id, visit) is not None:
            pass
        assert backoff.blocked_until(session, officer_id) is not None
    set_clock(timedelta(0))
    with database.write() as session:
        assert backoff.blocked_until(session, officer_id) is None
        assert backoff.count_attempt(session, officer_id, visit) is not None
        code = totp.at(base.now())
        assert second_factor.take_code(session, officer_id, code)
        assert not second_factor.take_code(session, officer_id, code)
        assert session.get_one(LocalAccount, officer_id).totp_step > 0


def test_a_session_that_began_while_the_clock_was_ahead_has_ended(
    database: Database, set_clock: SetClock
) -> None:
    set_clock(YEAR)
    with database.write() as session:
        officer = add_officer(session, "zhang", name="张", role=Role.OFFICER, division_code="530102")[0]
        session.add(
            PageSession(
                token_hash=hash_secret("token"),
                officer_id=officer.id,
                stage=SignInStage.FULL,
                method=SignInMethod.PASSWORD,
                address="192.0.2.1",
                csrf_token="x",
                expires_at=base.now() + timedelta(hours=8),
            )
        )
    with database.read() as session:
        assert find_session(session, "token").actor.name == "zhang"
    set_clock(timedelta(0))
    with database.read() as session, pytest.raises(UnauthenticatedError, match="set back"):
        find_session(session, "token")


def test_a_delivery_that_failed_while_the_clock_was_ahead_is_tried_again(
    database: Database, set_clock: SetClock
) -> None:
    issue_one(database)
    ahead = base.now() + YEAR
    with database.write() as session:
        queue.ensure_target(session, "population", at=ahead)
        queue.take_in(session, "population", recipients=(), give_up_after=YEAR, at=ahead)
        (claimed,) = queue.claim(
            session, "population", limit=9, by="a", until=ahead + timedelta(minutes=2), at=ahead
        )
        queue.settle_failed(
            session, claimed.id, by="a", outcome="timeout", next_at=ahead + timedelta(hours=6), at=ahead
        )
        assert queue.claim(session, "population", limit=9, by="a", until=ahead, at=ahead) == []
    at = base.now()
    with database.write() as session:
        assert queue.has_work(session, "population", at=at)
        found = queue.claim(session, "population", limit=9, by="b", until=at + timedelta(minutes=2), at=at)
        assert [one.id for one in found] == list(session.scalars(select(NoticeDelivery.id)))
