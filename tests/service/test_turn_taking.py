"""More checks than can be answered, on the real server: refused before any work, or answered whole."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import select

from service.database import Database
from service.engine import Engine
from service.settings import Settings
from service.tables import Check
from service.turnstile import Turnstile
from tests.service.calls import Headers, in_base64, portrait
from tests.service.conftest import SQLITE_ONLY

pytestmark = [SQLITE_ONLY, pytest.mark.enable_socket]

LONG_S = 60.0
"""Longer than anything here takes, on any machine."""


@pytest.fixture
def queue_wait_s() -> float:
    return LONG_S


@pytest.fixture
def settings(settings: Settings, queue_wait_s: float) -> Settings:
    return settings.model_copy(update={"queue_wait_s": queue_wait_s, "queue_limit": 8})


@pytest.fixture
def turnstile(app: FastAPI) -> Turnstile:
    found: Turnstile = app.state.turnstile
    return found


def wait_until(true: Callable[[], bool]) -> None:
    until = time.monotonic() + LONG_S
    while not true():
        assert time.monotonic() < until
        time.sleep(0.005)


@pytest.fixture
def standstill(app: FastAPI, live: str, settings: Settings) -> Iterator[threading.Event]:
    """All threads of the engine are held until the event is set."""
    engine: Engine = app.state.engine
    go = threading.Event()
    with ThreadPoolExecutor(settings.threads) as pool:
        for _thread in range(settings.threads):
            pool.submit(engine.run, lambda: go.wait(LONG_S), timeout_s=LONG_S)
        wait_until(lambda: engine.pending == settings.threads)
        try:
            yield go
        finally:
            go.set()


class Callers:
    """Callers who ask at the same time, each on a connection of its own."""

    def __init__(self, address: str, headers: Headers, pool: ThreadPoolExecutor) -> None:
        self._address = address
        self._headers = headers
        self._pool = pool
        self._image = in_base64(portrait(8))

    def ask(self, number: int) -> "Future[httpx.Response]":
        return self._pool.submit(self.check, number)

    def check(self, number: int) -> httpx.Response:
        transaction = {"id": f"T{number}", "type": "household-transfer-in", "authority": "530102"}
        body = {"transaction": transaction, "portrait": self._image}
        address = f"{self._address}/v1/checks"
        return httpx.post(address, json=body, headers=self._headers, timeout=LONG_S, trust_env=False)

    def read(self, number: int) -> httpx.Response:
        address = f"{self._address}/v1/checks?transaction_id=T{number}"
        return httpx.get(address, headers=self._headers, timeout=LONG_S, trust_env=False)


@pytest.fixture
def callers(live: str, headers: Headers) -> Iterator[Callers]:
    with ThreadPoolExecutor(32) as pool:
        yield Callers(live, headers, pool)


def stored(database: Database) -> set[str]:
    """The transactions of all checks that were made."""
    with database.read() as session:
        return set(session.scalars(select(Check.transaction_id)))


@pytest.mark.parametrize("queue_wait_s", [0.05])
def test_whoever_would_wait_too_long_is_refused_before_any_work_and_the_others_are_answered(
    app: FastAPI,
    database: Database,
    turnstile: Turnstile,
    standstill: threading.Event,
    callers: Callers,
    settings: Settings,
) -> None:
    accepted = [callers.ask(number) for number in range(turnstile.at_once)]
    wait_until(lambda: app.state.engine.pending == settings.threads + turnstile.at_once)
    refused = [callers.ask(number).result() for number in range(100, 104)]
    for answer in refused:
        assert answer.status_code == 503
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["type"] == "/problems/overloaded"
        assert int(answer.headers["retry-after"]) >= 1
    assert app.state.engine.pending == settings.threads + turnstile.at_once
    standstill.set()
    for answered in accepted:
        assert answered.result().status_code == 201
        assert answered.result().json()["instruction"] == "proceed"
    assert stored(database) == {f"T{number}" for number in range(turnstile.at_once)}
    for number in range(100, 104):
        assert callers.check(number).status_code == 201


def test_the_line_is_short_holds_nobody_else_up_and_is_answered_to_the_last(
    turnstile: Turnstile, standstill: threading.Event, callers: Callers, settings: Settings
) -> None:
    room = settings.threads + settings.queue_limit
    accepted = [callers.ask(number) for number in range(room)]
    wait_until(lambda: turnstile.waiting == room - turnstile.at_once)
    assert callers.ask(100).result().status_code == 503
    assert callers.read(0).status_code == 404
    standstill.set()
    assert {answered.result().status_code for answered in accepted} == {201}
    assert turnstile.waiting == 0


def test_whoever_goes_away_while_waiting_is_not_worked_for(
    database: Database,
    live: str,
    headers: Headers,
    turnstile: Turnstile,
    standstill: threading.Event,
    callers: Callers,
) -> None:
    accepted = [callers.ask(number) for number in range(turnstile.at_once)]
    wait_until(lambda: not turnstile._free)
    place = urlsplit(live)
    body = (
        b'{"transaction":{"id":"GONE","type":"household-transfer-in","authority":"530102"},"person_id":"P1"}'
    )
    lines = ["POST /v1/checks HTTP/1.1", "Host: x", f"Authorization: {headers['Authorization']}"]
    lines += ["Content-Type: application/json", f"Content-Length: {len(body)}", "", ""]
    with socket.create_connection((place.hostname, place.port), timeout=LONG_S) as leaving:
        leaving.sendall("\r\n".join(lines).encode() + body)
        wait_until(lambda: turnstile.waiting == 1)
    wait_until(lambda: turnstile.waiting == 0)
    standstill.set()
    assert {answered.result().status_code for answered in accepted} == {201}
    assert callers.check(100).status_code == 201
    assert "GONE" not in stored(database)
