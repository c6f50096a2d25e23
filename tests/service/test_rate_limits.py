"""Nobody may ask more often than the operator allows, and nobody else suffers for it."""

import socket
import time
from urllib.parse import urlsplit

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from service.rate_limits import BURST_S, CALLERS, Buckets, RateLimits
from service.settings import Settings
from tests.service.conftest import SQLITE_ONLY, ClientKeys


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_full_bucket_lets_a_burst_through_and_then_the_steady_rate() -> None:
    clock = Clock()
    buckets = Buckets(2.0, clock=clock)
    burst = int(2 * BURST_S)
    assert [buckets.take("a") for _ in range(burst)] == [0.0] * burst
    assert buckets.take("a") == pytest.approx(0.5)
    clock.now += 0.5
    assert buckets.take("a") == 0.0
    assert buckets.take("a") > 0.0


def test_who_is_refused_does_not_wait_longer_for_asking() -> None:
    clock = Clock()
    buckets = Buckets(1.0, clock=clock)
    while buckets.take("a") == 0.0:
        pass
    assert [buckets.take("a") for _ in range(3)] == [pytest.approx(1.0)] * 3


def test_one_bucket_is_not_anothers() -> None:
    buckets = Buckets(0.1, clock=Clock())
    assert (buckets.take("a"), buckets.take("b")) == (0.0, 0.0)
    assert buckets.take("a") > 0.0


def test_buckets_of_many_callers_do_not_grow_without_end() -> None:
    buckets = Buckets(1.0, clock=Clock())
    for number in range(CALLERS + 50):
        buckets.take(str(number))
    assert len(buckets._levels) == CALLERS


@pytest.fixture
def settings(settings: Settings) -> Settings:
    slow = {
        "client_requests_per_s": 0.3,
        "address_requests_per_s": 0.3,
        "max_bodies_bytes": 2**16,
        "max_body_bytes": 2**16,
    }
    return settings.model_copy(update=slow)


@SQLITE_ONLY
def test_a_client_that_asks_too_often_is_told_when_to_come_back(
    client: TestClient, client_key: ClientKeys
) -> None:
    eager, calm = ({"Authorization": f"Bearer {client_key()}"} for _ in range(2))
    answers = [client.get("/v1/notices", headers=eager) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[-1].json()["type"] == "/problems/too-many-requests"
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 4
    assert client.get("/v1/notices", headers=calm).status_code == 200
    assert client.get("/healthz").status_code == 200


@SQLITE_ONLY
def test_an_address_that_keeps_trying_to_sign_in_is_slowed_down(client: TestClient) -> None:
    browser = {"Accept": "text/html"}
    answers = [client.get("/sign-in", headers=browser) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert "<h1>" in answers[-1].text


@SQLITE_ONLY
def test_who_reads_the_documents_too_often_is_slowed_down_and_can_still_sign_in(client: TestClient) -> None:
    answers = [client.get("/openapi.json").status_code for _ in range(4)]
    assert answers == [200, 200, 200, 429]
    assert client.get("/sign-in", headers={"Accept": "text/html"}).status_code == 200


@SQLITE_ONLY
@pytest.mark.enable_socket
def test_bodies_that_together_are_too_large_are_refused_and_lone_ones_are_not(
    live: str, app: FastAPI, client_key: ClientKeys
) -> None:
    app.state.rate_limits = RateLimits(Settings())
    place = (urlsplit(live).hostname or "", urlsplit(live).port or 0)
    lines = ["PUT /v1/persons/p1 HTTP/1.1", "Host: x", f"Authorization: Bearer {client_key()}"]
    lines += ["Content-Type: application/json", "Content-Length: 40000", "Connection: close", "", ""]
    head = "\r\n".join(lines).encode()
    with socket.create_connection(place, timeout=30) as first:
        first.sendall(head + b"x")
        assert _answered(place, head, until="503")  # While the first is held, a second has no room.
        first.sendall(b"x" * 39_999)
        assert b" 422 " in first.recv(65536).split(b"\r\n")[0]
    assert _answered(place, head, until="422")


def _answered(place: tuple[str, int], head: bytes, *, until: str) -> bool:
    """Send a whole request, again while the server has not yet noticed what went before."""
    for _ in range(50):
        with socket.create_connection(place, timeout=30) as connection:
            connection.sendall(head + b"x" * 40_000)
            if connection.recv(65536).split()[1].decode() == until:
                return True
        time.sleep(0.02)
    return False
