"""Runs receivers as processes, and makes notices, targets and deliveries for them."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from uuid import uuid4

from pydantic import SecretStr

from service.auth.service import SYSTEM
from service.database import Database
from service.notices.delivery import Delivery, DeliveryPolicy
from service.notices.service import POPULATION_SYSTEM, NewNotice, NoticeKind, issue
from service.notices.targets import AllowList, Target
from service.tables import Notice

LOOPBACK = ip_network("127.0.0.0/8")
SECRET = "0123456789abcdef0123456789abcdef"
OLD_SECRET = "fedcba9876543210fedcba9876543210"

QUICK = DeliveryPolicy(
    timeout_s=8.0,
    first_retry_s=0.02,
    longest_retry_s=0.1,
    give_up_after=timedelta(minutes=10),
    lease_margin_s=1.0,
)
"""The delivered policy with days made into fractions of a second."""

BRIEF = replace(QUICK, timeout_s=1.0)
"""For targets that are known to hang."""


@dataclass
class ReceiverProcess:
    """A receiver that can be killed and started again on the same port."""

    log: Path
    behaviour: str
    port: int = 0
    starts: int = 0
    process: "subprocess.Popen[str] | None" = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/notices"

    def start(self) -> None:
        script = Path(__file__).with_name("receiver.py")
        self.starts += 1
        command = [
            sys.executable,
            str(script),
            str(self.port),
            str(self.log),
            self.behaviour,
            str(self.starts),
        ]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()

    def received(self) -> list[dict[str, Any]]:
        """Every request, in the order in which they came; a line that a kill cut short is none."""
        if not self.log.exists():
            return []
        found = []
        for line in self.log.read_text(encoding="utf-8").splitlines():
            try:
                found.append(json.loads(line))
            except json.JSONDecodeError:
                continue
        return [one for one in found if "event" in one]

    def taken(self) -> list[dict[str, Any]]:
        return [json.loads(one["body"]) for one in self.received() if one["taken"]]


@contextmanager
def receiver(folder: Path, behaviour: str) -> Iterator[ReceiverProcess]:
    """Run a receiver until the end."""
    made = ReceiverProcess(folder / f"{behaviour}-{uuid4().hex[:6]}.log", behaviour)
    made.start()
    try:
        yield made
    finally:
        made.kill()


def target_at(url: str, name: str = "population", *, recipients: tuple[str, ...] = ()) -> Target:
    return Target(name, url, (SecretStr(SECRET), SecretStr(OLD_SECRET)), recipients)


def allowing(*urls: str) -> AllowList:
    from service.notices.targets import origin_of

    return AllowList(frozenset(map(origin_of, urls)), (LOOPBACK,))


def delivery_to(
    url: str, database: Database, *, name: str = "population", policy: DeliveryPolicy = QUICK
) -> Delivery:
    return Delivery(target_at(url, name), database=database, allowed=allowing(url), policy=policy)


def issue_one(database: Database, transaction_id: str | None = "T-1", **values: Any) -> Notice:
    with database.write() as session:
        new = NewNotice(
            values.pop("kind", NoticeKind.RELEASE),
            values.pop("recipient", POPULATION_SYSTEM),
            values.pop("case_id", None) or uuid4(),
            transaction_id=transaction_id,
            payload=values.pop("payload", {"action": "release_transaction", "note": "姓名·𠀀"}),
            **values,
        )
        return issue(session, new, due_days=15, actor=SYSTEM)


def issue_many(database: Database, number: int, *, transactions: int) -> None:
    """Issue notices of several transactions in turn, as decisions and reversals would."""
    with database.write() as session:
        for index in range(number):
            new = NewNotice(
                NoticeKind.RELEASE,
                POPULATION_SYSTEM,
                uuid4(),
                transaction_id=f"T-{index % transactions}",
                payload={"action": "release_transaction"},
            )
            issue(session, new, due_days=15, actor=SYSTEM)


def until(condition: Callable[[], bool], *, within_s: float, step: Callable[[], object]) -> None:
    """Go on stepping until something holds."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass in time"
        if not step():
            time.sleep(0.01)
