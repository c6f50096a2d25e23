"""Delivery by webhook to real receiver processes: at least once, in order, whatever fails."""

import hashlib
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, update

from service.database import Database
from service.notices import queue
from service.notices.delivery import Delivery, DeliveryPolicy, backlogs, pause_s
from service.notices.queue import DeliveryState
from service.notices.targets import AllowList
from service.tables import AuditEvent, NoticeDelivery, now
from tests.service.notices.receiving import (
    BRIEF,
    LOOPBACK,
    OLD_SECRET,
    QUICK,
    SECRET,
    ReceiverProcess,
    allowing,
    delivery_to,
    issue_many,
    issue_one,
    receiver,
    target_at,
    until,
)

NOTICES = int(os.environ.get("WEBHOOK_NOTICES", "200"))
"""How many notices the bad receiver gets; 1,000 for the figures in docs/reliability.md."""

RESTARTS = 3


@pytest.fixture
def good(tmp_path: Path) -> Iterator[ReceiverProcess]:
    with receiver(tmp_path, "good") as made:
        yield made


def states(database: Database) -> Counter[str]:
    with database.read() as session:
        rows = session.execute(select(NoticeDelivery.state, func.count()).group_by(NoticeDelivery.state))
        return Counter({row[0]: row[1] for row in rows})


def outcomes(database: Database) -> list[str | None]:
    with database.read() as session:
        return list(session.scalars(select(NoticeDelivery.last_outcome).order_by(NoticeDelivery.sequence)))


def work(delivery: Delivery, stop: threading.Event) -> None:
    while not stop.is_set():
        delivery.turn()
        time.sleep(0.01)


def test_every_notice_arrives_in_order_at_a_receiver_that_fails_restarts_and_duplicates(
    database: Database, tmp_path: Path
) -> None:
    issue_many(database, NOTICES, transactions=max(1, NOTICES // 5))
    stop = threading.Event()
    with receiver(tmp_path, "flaky") as bad:
        senders = [
            threading.Thread(target=work, args=(delivery_to(bad.url, database), stop)) for _ in range(2)
        ]
        for sender in senders:
            sender.start()
        deadline, delivered = time.monotonic() + max(120, NOTICES / 2), 0
        while delivered < NOTICES and time.monotonic() < deadline:
            time.sleep(0.1)
            delivered = states(database)[DeliveryState.DELIVERED]
            if delivered >= NOTICES * bad.starts / (RESTARTS + 1) and bad.starts <= RESTARTS:
                bad.kill()
                bad.start()
        stop.set()
        for sender in senders:
            sender.join(10)
    assert states(database) == {DeliveryState.DELIVERED: NOTICES}
    received, taken = bad.received(), bad.taken()
    assert len({notice["id"] for notice in taken}) == NOTICES, "none is lost"
    assert len(taken) > NOTICES, "lost answers make duplicates"
    assert len(received) > 5 * NOTICES, "most requests failed"
    assert bad.starts == RESTARTS + 1
    assert all(one["alone"] for one in received), "two processes never send the same notice at once"
    for transaction in {notice["transaction_id"] for notice in taken}:
        order = [notice["sequence"] for notice in taken if notice["transaction_id"] == transaction]
        assert order == sorted(order), "a later notice never overtakes an earlier one"


def test_the_signature_is_verified_by_another_implementation(
    database: Database, good: ReceiverProcess
) -> None:
    notice = issue_one(database)
    assert delivery_to(good.url, database).turn()
    (request,) = good.received()
    headers, body = request["headers"], request["body"].encode()
    assert headers["OnePerson-Event-Id"] == str(notice.id)
    assert headers["Content-Type"] == "application/json"
    assert abs(int(headers["OnePerson-Timestamp"]) - time.time()) < 30
    message = headers["OnePerson-Timestamp"].encode() + b"." + body
    expected = {f"v1={hmac_by_rfc_2104(secret.encode(), message)}" for secret in (SECRET, OLD_SECRET)}
    assert set(headers["OnePerson-Signature"].split(",")) == expected
    assert '"note":"姓名·𠀀"' in request["body"]
    assert request["path"] == "/notices"
    with database.read() as session:
        event = session.scalars(select(AuditEvent).where(AuditEvent.kind == "notice-delivered")).one()
        assert (event.subject, event.result) == (f"notice:{notice.id}", "http-204")


def hmac_by_rfc_2104(key: bytes, message: bytes) -> str:
    """H(K xor opad, H(K xor ipad, text)), written out."""
    padded = key.ljust(64, b"\0")
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in padded) + message).digest()
    return hashlib.sha256(bytes(byte ^ 0x5C for byte in padded) + inner).hexdigest()


def test_a_target_that_hangs_or_drips_holds_up_nobody(
    database: Database, good: ReceiverProcess, tmp_path: Path
) -> None:
    policy = DeliveryPolicy(timeout_s=3.0, lease_margin_s=1.0)
    with receiver(tmp_path, "hang") as silent, receiver(tmp_path, "drip") as slow:
        issue_many(database, 1, transactions=1)
        for name, bad in (("silent", silent), ("slow", slow)):
            waiting = threading.Thread(target=delivery_to(bad.url, database, name=name, policy=policy).turn)
            began = time.monotonic()
            waiting.start()
            until(lambda bad=bad: bool(bad.received()), within_s=15, step=lambda: False)  # type: ignore[misc]
            issue_one(database)  # The database is free meanwhile.
            assert delivery_to(good.url, database, name=f"good-{name}", policy=policy).turn()
            assert waiting.is_alive()
            waiting.join(15)
            assert time.monotonic() - began < 5 * policy.timeout_s  # What drips could go on for ever.
    with database.read() as session:
        tried = session.scalars(
            select(NoticeDelivery.last_outcome).where(NoticeDelivery.target.in_(("silent", "slow")))
        ).all()
        assert set(tried) == {"timeout"}


@pytest.mark.parametrize("database_address", ["sqlite"], indirect=True)
class TestWhoIsCalled:
    def test_nobody_off_the_allow_list(self, database: Database, good: ReceiverProcess) -> None:
        issue_one(database)
        elsewhere = AllowList(frozenset({"https://population.example:443"}), (LOOPBACK,))
        Delivery(target_at(good.url), database=database, allowed=elsewhere, policy=QUICK).turn()
        assert outcomes(database) == ["not-allowed"]
        assert good.received() == []

    def test_no_private_address_that_was_not_listed(self, database: Database, good: ReceiverProcess) -> None:
        issue_one(database)
        for url in (good.url, good.url.replace("127.0.0.1", "localhost")):
            origin_only = AllowList(allowing(url).origins)
            Delivery(target_at(url, "inside"), database=database, allowed=origin_only, policy=QUICK).turn()
            assert outcomes(database) == ["address"]
            time.sleep(0.05)
        assert good.received() == []

    def test_the_address_that_was_checked_and_no_other(
        self, database: Database, good: ReceiverProcess, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A name that answers first with an allowed address and then with another one is looked up once."""
        import asyncio

        asked: list[str] = []

        async def answer(_loop: object, host: str, port: int, **_: object) -> list[Any]:
            asked.append(host)
            address = "127.0.0.1" if len(asked) == 1 else "127.0.0.2"
            return [(2, 1, 6, "", (address, port))]

        monkeypatch.setattr(asyncio.base_events.BaseEventLoop, "getaddrinfo", answer)
        issue_one(database)
        url = good.url.replace("127.0.0.1", "rebinding.example")
        Delivery(target_at(url), database=database, allowed=allowing(url), policy=QUICK).turn()
        assert outcomes(database) == ["http-204"]
        assert [name for name in asked if name == "rebinding.example"] == ["rebinding.example"]
        assert good.received()[0]["headers"]["Host"] == f"rebinding.example:{good.port}"

    def test_not_where_a_redirect_leads(self, database: Database, tmp_path: Path) -> None:
        issue_one(database)
        with receiver(tmp_path, "redirect") as moved:
            delivery_to(moved.url, database).turn()
            assert [one["path"] for one in moved.received()] == ["/notices"]
        assert outcomes(database) == ["redirect"]

    def test_an_answer_without_end_is_cut_off(self, database: Database, tmp_path: Path) -> None:
        issue_one(database)
        with receiver(tmp_path, "long") as endless:
            began = time.monotonic()
            delivery_to(endless.url, database).turn()
            assert time.monotonic() - began < QUICK.timeout_s
        assert outcomes(database) == ["http-200"]


def test_what_a_killed_process_was_sending_is_sent_by_another(database: Database, tmp_path: Path) -> None:
    issue_one(database)
    with receiver(tmp_path, "hang") as silent:
        program = (
            "import sys\n"
            "from service.database import Database\n"
            "from tests.service.notices.receiving import BRIEF, delivery_to\n"
            "delivery_to(sys.argv[1], Database(sys.argv[2]), policy=BRIEF).turn()\n"
        )
        address = database.engine.url.render_as_string(hide_password=False)
        sender = subprocess.Popen([sys.executable, "-c", program, silent.url, address])
        until(lambda: bool(silent.received()), within_s=20, step=lambda: False)
        sender.kill()
        sender.wait()
        other = delivery_to(silent.url, database, policy=BRIEF)
        assert not other.turn(), "the lease still holds"
        silent.kill()
        silent.behaviour = "good"
        silent.start()
        until(lambda: states(database)[DeliveryState.DELIVERED] == 1, within_s=10, step=other.turn)
        assert [one["event"] for one in silent.received()] == [silent.received()[0]["event"]] * 2


def test_a_dead_letter_holds_its_transaction_until_it_is_released(
    database: Database, good: ReceiverProcess
) -> None:
    first = issue_one(database, "T-1")
    issue_one(database, "T-1")
    issue_one(database, "T-2")
    hopeless = DeliveryPolicy(timeout_s=1.0, give_up_after=timedelta(0))
    closed = "http://127.0.0.1:9/"
    while delivery_to(closed, database, policy=hopeless).turn():
        pass
    assert states(database) == {DeliveryState.DEAD: 2, DeliveryState.WAITING: 1}
    assert set(outcomes(database)) == {"connection", None}
    (backlog,) = backlogs(database, [target_at(closed)])
    assert (backlog.waiting, backlog.dead) == (1, 2)
    assert backlog.oldest_s > 0
    alive = delivery_to(good.url, database)
    assert not alive.turn()
    with database.write() as session:
        dead, _later, other = queue.deliveries_of(session, range(first.sequence, first.sequence + 3))
        assert queue.release(session, dead.id, at=now())
        assert not queue.release(session, dead.id, at=now())
        later = now() + timedelta(days=1)
        assert queue.queue_again(session, other.id, give_up_at=later, at=now())
        assert not queue.queue_again(session, other.id, give_up_at=later, at=now()), "it is on its way"
        session.execute(update(NoticeDelivery).values(give_up_at=later))
    assert alive.turn()
    assert {notice["transaction_id"] for notice in good.taken()} == {"T-1", "T-2"}
    with database.write() as session:
        assert not queue.queue_again(session, dead.id, give_up_at=later, at=now()), "it would come behind"
        kinds = list(session.scalars(select(AuditEvent.kind)))
        assert (kinds.count("notice-delivery-failed"), kinds.count("notice-delivered")) == (2, 2)


def test_nothing_is_sent_again_behind_a_later_one_that_may_have_been_taken(
    database: Database, tmp_path: Path
) -> None:
    first, _second = issue_one(database, "T-1"), issue_one(database, "T-1")
    hopeless, later = DeliveryPolicy(timeout_s=1.0, give_up_after=timedelta(0)), timedelta(days=1)
    delivery_to("http://127.0.0.1:9/", database, policy=hopeless).turn()
    with database.write() as session:
        (dead,) = queue.deliveries_of(session, [first.sequence])
        assert queue.release(session, dead.id, at=now())
        session.execute(update(NoticeDelivery).values(give_up_at=now() + later))
    with receiver(tmp_path, "hang") as silent:  # It may do what the second notice says before it answers.
        sending = threading.Thread(target=delivery_to(silent.url, database, policy=BRIEF).turn)
        sending.start()
        until(lambda: bool(silent.received()), within_s=15, step=lambda: False)
        with database.write() as session:
            assert not queue.queue_again(session, dead.id, give_up_at=now() + later, at=now())
        sending.join(15)
    with database.write() as session:
        assert not queue.queue_again(session, dead.id, give_up_at=now() + later, at=now())


@pytest.mark.parametrize("database_address", ["sqlite"], indirect=True)
def test_a_target_gets_only_what_is_meant_for_it_and_nothing_that_is_long_done(
    database: Database, good: ReceiverProcess
) -> None:
    from service.notices.repository import Acknowledgement, acknowledge_if_open

    done = issue_one(database, "T-0")
    with database.write() as session:
        assert acknowledge_if_open(session, done.id, Acknowledgement("somebody", "client"), at=now())
    issue_one(database, "T-1")
    wanted = issue_one(database, "T-1", recipient="530302")
    target = target_at(good.url, recipients=("5303",))
    Delivery(target, database=database, allowed=allowing(good.url), policy=QUICK).turn()
    assert [notice["id"] for notice in good.taken()] == [str(wanted.id)]


def test_pauses_double_are_drawn_and_stay_within_bounds() -> None:
    policy = DeliveryPolicy()
    for attempts, longest in ((1, 10), (2, 20), (5, 160), (13, 6 * 3600), (4000, 6 * 3600)):
        drawn = [pause_s(attempts, policy) for _ in range(50)]
        assert longest / 2 <= min(drawn) < max(drawn) <= longest
    assert pause_s(1, policy, wait_s=300) == 300
    assert pause_s(1, policy, wait_s=1e9) == policy.longest_retry_s
