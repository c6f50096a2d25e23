"""What surrounds every request, on the real server where the connection matters."""

import json
import re
import socket
import time
from urllib.parse import urlsplit
from uuid import UUID

import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient
from starlette.responses import StreamingResponse
from structlog.testing import capture_logs

from service import middleware
from service.request_context import current_request_id
from service.settings import Settings
from tests.service.conftest import SQLITE_ONLY, ClientKeys

LIMIT = 2**16
"""The smallest limit that the settings allow, so that too much is quickly sent."""

ADDRESSED_TO_PERSON = "/v1/persons/SECRET-530102199003071234?name=SECRET-530102199003071234"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"max_body_bytes": LIMIT})


@pytest.fixture
def key(client_key: ClientKeys) -> str:
    """The header line of somebody whose bodies are read; of others nothing is, see `test_gate.py`."""
    return f"Authorization: Bearer {client_key('checks')}"


@pytest.fixture
def brief_drain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(middleware, "DRAIN_S", 0.3)


def dialogue(address: str, *pieces: bytes, pause_s: float = 0.0) -> bytes:
    """Send bytes as they are and return all that comes until the server closes."""
    host = urlsplit(address)
    with socket.create_connection((host.hostname or "", host.port or 0), timeout=30) as connection:
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(pause_s)
        received = b""
        while data := connection.recv(65536):
            received += data
    return received


def head(*lines: str, method: str = "POST", path: str = "/v1/checks") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", *lines, "", ""]).encode()


def split(answer: bytes) -> tuple[int, dict[str, str], dict[str, object]]:
    first, _, rest = answer.partition(b"\r\n")
    fields, _, body = rest.partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in fields.decode().split("\r\n"))
    return int(first.split()[1]), {name.lower(): value for name, value in headers.items()}, json.loads(body)


@SQLITE_ONLY
@pytest.mark.enable_socket
@pytest.mark.usefixtures("brief_drain")
def test_a_declared_body_that_is_too_large_is_refused_before_it_is_read(live: str, key: str) -> None:
    started = time.monotonic()
    answer = dialogue(
        live, head(f"Content-Length: {50 * 2**20}", "Content-Type: application/json", key), b"{" * 99
    )
    status, headers, problem = split(answer)
    assert status == 413
    assert headers["connection"] == "close"
    assert problem["type"] == "/problems/body-too-large"
    assert time.monotonic() - started < middleware.DRAIN_S + 5


@SQLITE_ONLY
@pytest.mark.enable_socket
def test_a_sender_that_reads_only_at_the_end_still_gets_the_reason(live: str, key: str) -> None:
    body = b"x" * (2 * LIMIT)
    status, _, problem = split(dialogue(live, head(f"Content-Length: {len(body)}", key), body))
    assert (status, problem["type"]) == (413, "/problems/body-too-large")


@SQLITE_ONLY
@pytest.mark.enable_socket
@pytest.mark.usefixtures("brief_drain")
def test_a_chunked_body_without_end_is_refused_at_the_limit(live: str, key: str) -> None:
    chunk = b"1000\r\n" + b"x" * 0x1000 + b"\r\n"
    pieces = [chunk] * (LIMIT // 0x1000 + 2)
    answer = dialogue(
        live, head("Transfer-Encoding: chunked", "Content-Type: application/json", key), *pieces
    )
    status, headers, problem = split(answer)
    assert (status, problem["type"]) == (413, "/problems/body-too-large")
    assert headers["connection"] == "close"


@SQLITE_ONLY
@pytest.mark.enable_socket
def test_a_body_within_the_limit_passes_chunked_or_not(live: str, key: str) -> None:
    closing = "Connection: close"
    declared = dialogue(
        live, head("Content-Length: 2", "Content-Type: application/json", key, closing), b"{}"
    )
    chunked = dialogue(
        live,
        head("Transfer-Encoding: chunked", "Content-Type: application/json", key, closing),
        b"2\r\n{}\r\n0\r\n\r\n",
    )
    # Both get as far as being told that an empty object is no check.
    assert split(declared)[0] == split(chunked)[0] == 422


@SQLITE_ONLY
@pytest.mark.enable_socket
def test_a_body_that_never_comes_is_given_up(live: str, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(middleware, "BODY_TIMEOUT_S", 0.3)
    answer = dialogue(live, head("Content-Length: 100", "Content-Type: application/json", key), b"{")
    status, headers, problem = split(answer)
    assert (status, problem["type"]) == (408, "/problems/request-timeout")
    assert headers["connection"] == "close"


@SQLITE_ONLY
@pytest.mark.enable_socket
@pytest.mark.parametrize("declared", ["-1", "1e9", "99999999999999999999999", "0x10", "1, 2", "٣"])
def test_odd_declared_lengths_do_no_harm(live: str, key: str, declared: str) -> None:
    answer = dialogue(live, head(f"Content-Length: {declared}", key, "Connection: close"))
    assert int(answer.split()[1]) in {400, 413}


@SQLITE_ONLY
@pytest.mark.enable_socket
def test_the_server_does_not_say_what_it_runs_on(live: str) -> None:
    _, headers, _ = split(dialogue(live, head("Connection: close", method="GET", path="/healthz")))
    assert "server" not in headers


@SQLITE_ONLY
def test_every_answer_has_its_own_id_and_the_security_headers(client: TestClient) -> None:
    seen = set()
    for path in ("/healthz", "/nowhere", "/docs", "/openapi.json", "/v1/persons/P1", "/static/api-docs.js"):
        answer = client.get(path, headers={"X-Request-ID": "chosen-by-the-caller"})
        assert UUID(answer.headers["x-request-id"]).version == 4
        seen.add(answer.headers["x-request-id"])
        policy = answer.headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "script-src" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"
    assert len(seen) == 6


@SQLITE_ONLY
def test_the_log_names_the_route_and_never_the_path(client: TestClient) -> None:
    with capture_logs() as events:
        answer = client.get(ADDRESSED_TO_PERSON)
        client.get("/SECRET-530102199003071234")
        client.get("/static/SECRET-530102199003071234.js")
    requests = [event for event in events if event["event"] == "request"]
    assert [event["route"] for event in requests] == ["/v1/persons/{person_id}", "(none)", "/static/…"]
    assert requests[0]["method"] == "GET"
    assert requests[0]["status"] == answer.status_code == 401, "also of what the gate refused"
    assert requests[0]["duration_ms"] >= 0
    assert "SECRET" not in str(events)


@SQLITE_ONLY
def test_a_fault_of_ours_is_logged_with_its_place_and_answered_with_its_id_only(app: FastAPI) -> None:
    @app.get("/raise")
    def fail() -> None:
        raise ValueError("SECRET-530102199003071234")

    with TestClient(app, raise_server_exceptions=False) as client, capture_logs() as events:
        answer = client.get("/raise")
    assert answer.status_code == 500
    assert answer.json()["type"] == "/problems/internal"
    assert re.fullmatch(r"urn:uuid:[0-9a-f-]{36}", answer.json()["instance"])
    assert "SECRET" not in answer.text
    assert any(event["event"] == "request-failed" and event["route"] == "/raise" for event in events)
    assert [event["status"] for event in events if event["event"] == "request"] == [500]


@SQLITE_ONLY
@pytest.mark.enable_socket
def test_half_an_answer_is_broken_off_and_not_completed(app: FastAPI, live: str) -> None:
    @app.get("/half")
    def half() -> StreamingResponse:
        def pieces() -> object:
            yield b"the first half, "
            raise RuntimeError("the disk went away")

        return StreamingResponse(pieces())  # type: ignore[arg-type]  # it never gets to a second piece

    answer = dialogue(live, head("Connection: close", method="GET", path="/half"))
    assert b"the first half" in answer
    assert b"problem" not in answer
    assert not answer.endswith(b"0\r\n\r\n")


@SQLITE_ONLY
def test_the_id_of_a_request_reaches_what_it_calls(app: FastAPI) -> None:
    @app.get("/id")
    def id_in_thread(request: Request) -> dict[str, str | None]:
        return {"context": current_request_id(), "state": request.state.request_id}

    with TestClient(app) as client:
        first, second = client.get("/id"), client.get("/id")
    assert first.json() == {
        "context": first.headers["x-request-id"],
        "state": first.headers["x-request-id"],
    }
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    assert current_request_id() is None
