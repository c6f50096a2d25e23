"""Connections that hold back or flood a request's head."""

import contextlib
import socket
import time
from urllib.parse import urlsplit

import httpx
import pytest

from service import connections
from tests.service.conftest import SQLITE_ONLY

pytestmark = [SQLITE_ONLY, pytest.mark.enable_socket]


def connect(address: str) -> socket.socket:
    host = urlsplit(address)
    return socket.create_connection((host.hostname or "", host.port or 0), timeout=20)


def closed_within(connection: socket.socket, seconds: float) -> bool:
    connection.settimeout(seconds)
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch, live: str) -> str:
    monkeypatch.setattr(connections, "HEAD_TIMEOUT_S", 0.4)
    return live


@pytest.mark.parametrize("begun", [b"", b"GET /healthz HT", b"GET /healthz HTTP/1.1\r\nHost: x\r\n"])
def test_a_head_that_is_held_back_is_given_up(impatient: str, begun: bytes) -> None:
    with connect(impatient) as connection:
        connection.sendall(begun)
        assert closed_within(connection, 10)


def flood(address: str, piece: bytes, *, pieces: int, pause_s: float = 0.0) -> int:
    """Send a head that never ends, and count the pieces that went before the server closed."""
    sent = 0
    with connect(address) as connection, contextlib.suppress(BrokenPipeError, ConnectionResetError):
        connection.sendall(b"GET /healthz HTTP/1.1\r\n")
        while sent < pieces:
            connection.sendall(piece)
            sent += 1
            time.sleep(pause_s)
    return sent


def test_a_head_that_trickles_in_is_given_up(impatient: str) -> None:
    assert flood(impatient, b"X: y\r\n", pieces=200, pause_s=0.05) < 100


@pytest.mark.parametrize("piece", [b"x" * 8192, b"X: " + b"y" * 8187 + b"\r\n"])
def test_a_head_without_end_is_given_up(live: str, piece: bytes) -> None:
    assert flood(live, piece, pieces=10_000) < 2_000


def test_the_next_request_of_a_connection_has_its_own_time(impatient: str) -> None:
    request = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    with connect(impatient) as connection:
        for _ in range(3):
            connection.sendall(request)
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")
            time.sleep(0.3)
        connection.sendall(request[:20])
        assert closed_within(connection, 10)


def test_a_connection_too_many_is_told_when_to_try_again(live: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 2)
    with connect(live) as first, connect(live) as second:
        for connection in (first, second):
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert connection.recv(4096).startswith(b"HTTP/1.1 200")
        refused = httpx.get(f"{live}/healthz", timeout=20, trust_env=False)
        assert refused.status_code == 503
        assert refused.json()["type"] == "/problems/overloaded"
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.headers["connection"] == "close"
