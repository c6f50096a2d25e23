"""Load on a service process, cheap to make, and what the process holds meanwhile."""

import base64
import http.client
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.functional.callers import AUTHORITY

TIMEOUT_S = 60.0

MARK = b"@transaction@"
"""Stands in a body where the transaction's id goes; as long as every id."""


def check_body(picture: bytes | None = None, *, person_id: str | None = None) -> bytes:
    """The body of a check whose transaction is named by `MARK`."""
    transaction = {"id": MARK.decode(), "type": "household-transfer-in", "authority": AUTHORITY}
    body: dict[str, Any] = {"transaction": transaction, "person_id": person_id}
    if picture is not None:
        body["portrait"] = base64.b64encode(picture).decode()
    return json.dumps(body).encode()


@dataclass
class Answers:
    """What callers were answered; safe to fill from several threads.

    Attributes:
        statuses: How often each status came; 0 where the connection broke.
        seconds: Times of the answered checks (201).
        unannounced: Refusals (429, 503) without `Retry-After`.
        strange: The first bodies of answers that should not have come.
    """

    statuses: dict[int, int] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list, repr=False)
    unannounced: int = 0
    strange: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def note(self, status: int, *, seconds: float, retry_after: str | None, body: bytes) -> None:
        """Count one answer."""
        with self._lock:
            self.statuses[status] = self.statuses.get(status, 0) + 1
            if status == 201:
                self.seconds.append(seconds)
            elif status in {429, 503}:
                self.unannounced += not (retry_after or "").isdigit()
            elif len(self.strange) < 20:
                self.strange.append(f"{status}: {body[:300]!r}")

    @property
    def total(self) -> int:
        """All answers."""
        return sum(self.statuses.values())

    def percentile(self, share: float) -> float:
        """Seconds within which this share of the answered checks came."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


class Client:
    """One connection that is kept, and opened again where it broke."""

    def __init__(self, address: str, key: str) -> None:
        place = urlsplit(address)
        self._connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=TIMEOUT_S)
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    def check(self, body: bytes, transaction_id: str, answers: Answers) -> int:
        """Ask about a transaction and note the answer; return its status."""
        began = time.perf_counter()
        try:
            self._connection.request(
                "POST", "/v1/checks", body.replace(MARK, transaction_id.encode(), 1), self._headers
            )
            answer = self._connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            answers.note(0, seconds=0.0, retry_after=None, body=repr(error).encode())
            return 0
        answers.note(
            answer.status,
            seconds=time.perf_counter() - began,
            retry_after=answer.headers.get("Retry-After"),
            body=content,
        )
        return answer.status

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


@contextmanager
def callers(
    address: str, keys: Sequence[str], count: int, work: Callable[[int, Client], None]
) -> Iterator[list[threading.Thread]]:
    """Run callers, each with a connection of its own, in threads; wait for them at the end of the block."""

    def call(number: int) -> None:
        client = Client(address, keys[number % len(keys)])
        try:
            work(number, client)
        finally:
            client.close()

    threads = [threading.Thread(target=call, args=(number,), daemon=True) for number in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield threads
    finally:
        for thread in threads:
            thread.join()


@dataclass(frozen=True, slots=True)
class Held:
    """What a process holds.

    Attributes:
        resident_mb: Memory in RAM that is the process's own: no files mapped into it.
        files: Open file handles.
        threads: Threads.
        connections: Connections to the database: handles of SQLite's file, or sessions of PostgreSQL.
        cpu_s: Seconds of processor time used so far.
    """

    resident_mb: float
    files: int
    threads: int
    connections: int
    cpu_s: float


def held_by(pid: int, count_connections: Callable[[int], int]) -> Held:
    """Measure a process now."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text("ascii").splitlines())
    times = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return Held(
        resident_mb=int(status["RssAnon"].split()[0]) / 1024,
        files=sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir()),
        threads=int(status["Threads"]),
        connections=count_connections(pid),
        cpu_s=(int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK"),
    )


def sqlite_connections(pid: int) -> int:
    """Count a process's open handles of a SQLite database file."""
    found = 0
    for handle in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            found += handle.readlink().name == "oneperson.db"
    return found
