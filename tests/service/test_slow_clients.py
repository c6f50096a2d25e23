"""Callers who stop in the middle, go away or do not listen, on the real server."""

import base64
import contextlib
import http.client
import json
import socket
import struct
import time
from urllib.parse import urlsplit

import httpx
import pytest
from fastapi import FastAPI

from service import connections, middleware
from tests.service.calls import portrait
from tests.service.conftest import SQLITE_ONLY, ClientKeys

pytestmark = [SQLITE_ONLY, pytest.mark.enable_socket]

STALLED = 150
"""Connections that stop at one time: more than the service has threads for requests."""


def connect(address: str) -> socket.socket:
    host = urlsplit(address)
    return socket.create_connection((host.hostname or "", host.port or 0), timeout=30)


def reset(connection: socket.socket) -> None:
    """Go away as a machine does that is switched off: no farewell."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def request(key: str, body: bytes, *, declared: int | None = None) -> bytes:
    length = len(body) if declared is None else declared
    lines = ["POST /v1/checks HTTP/1.1", "Host: x", f"Authorization: Bearer {key}"]
    lines += ["Content-Type: application/json", f"Content-Length: {length}", "", ""]
    return "\r\n".join(lines).encode() + body


def check_body(transaction_id: str) -> bytes:
    transaction = {"id": transaction_id, "type": "household-transfer-in", "authority": "530102"}
    image = base64.b64encode(portrait(1)).decode()
    return json.dumps({"transaction": transaction, "portrait": image}).encode()


def is_alive(address: str) -> bool:
    """Tell whether somebody else is answered, before the service closes whoever stalls (HEAD_TIMEOUT_S)."""
    return httpx.get(f"{address}/healthz", timeout=12, trust_env=False).status_code == 200


def test_stalled_requests_leave_room_for_others(live: str, client_key: ClientKeys) -> None:
    key = client_key("checks")
    with contextlib.ExitStack() as stack:
        for number in range(STALLED):
            connection = stack.enter_context(connect(live))
            half = b"POST /v1/che" if number % 2 else request(key, b"{", declared=1000)
            connection.sendall(half)
        assert is_alive(live)
        answer = httpx.post(
            f"{live}/v1/checks",
            content=check_body("T-1"),
            headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
            timeout=30,
            trust_env=False,
        )
        assert answer.status_code == 201


def test_half_open_connections_are_closed(
    live: str, client_key: ClientKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HEAD_TIMEOUT_S", 0.5)
    monkeypatch.setattr(middleware, "BODY_TIMEOUT_S", 0.5)
    for half in (b"", b"GET /heal", request(client_key("checks"), b"{", declared=1000)):
        with connect(live) as connection:
            connection.sendall(half)
            connection.shutdown(socket.SHUT_WR)  # Nothing more comes, but somebody still listens.
            connection.settimeout(20)
            with contextlib.suppress(ConnectionResetError):
                while connection.recv(65536):
                    pass
    assert is_alive(live)


def test_callers_who_go_away_in_the_middle_leave_nothing_behind(
    app: FastAPI, live: str, client_key: ClientKeys, capfd: pytest.CaptureFixture[str]
) -> None:
    key = client_key("checks")
    for _ in range(20):
        connection = connect(live)
        connection.sendall(request(key, b"{" * 5000, declared=2**20))
        reset(connection)
    for number in range(5):
        connection = connect(live)
        connection.sendall(request(key, check_body(f"T-{number}")))
        reset(connection)  # While it is being searched.
    until = time.monotonic() + 20
    while app.state.engine.pending and time.monotonic() < until:
        time.sleep(0.05)
    assert app.state.engine.pending == 0
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    for number in range(5):  # Whoever lost the answer asks again and gets the same check.
        answer = httpx.post(
            f"{live}/v1/checks",
            content=check_body(f"T-{number}"),
            headers=headers,
            timeout=30,
            trust_env=False,
        )
        assert answer.status_code == 201, answer.text
    log = capfd.readouterr().err
    assert "request-failed" not in log
    assert "Traceback" not in log


def test_somebody_who_does_not_read_the_answer_holds_up_nobody(live: str) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            connection = stack.enter_context(connect(live))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            for _ in range(10):
                connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n")
        assert is_alive(live)


@pytest.mark.parametrize(
    "line",
    [
        b"GET  HTTP/1.1",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9",
        b"BREW /pot HTTP/1.1",
        b"GET /\xff\xfe HTTP/1.1",
        b"GET http://[::1 HTTP/1.1",
        b"PRI * HTTP/2.0",
    ],
    ids=repr,
)
def test_what_is_no_request_is_refused_without_telling_anything(live: str, line: bytes) -> None:
    with connect(live) as connection:
        connection.sendall(line + b"\r\nHost: x\r\nConnection: close\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        answer = http.client.HTTPResponse(connection)
        with contextlib.suppress(http.client.HTTPException, ConnectionResetError):
            answer.begin()
            assert answer.status in {400, 404, 405}
            told = answer.read() + str(answer.headers).encode()
            assert not any(word in told.lower() for word in (b"uvicorn", b"python", b"traceback", b".py"))
    assert is_alive(live)
