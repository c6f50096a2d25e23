"""The gate: what is decided by the head of a request alone, on real connections where it matters."""

import http.client
import json
import socket
import time
from urllib.parse import urlsplit

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import select

from service.auth.policy import rule_for
from service.auth.service import Scope, add_client
from service.database import Database
from service.tables import AuditEvent, Client, Credential, now
from tests.service.accounts import choose
from tests.service.calls import Headers
from tests.service.conftest import SQLITE_ONLY, ClientKeys

pytestmark = SQLITE_ONLY

SUBJECT = "CN=population,O=GA"


def test_stranger_is_answered_before_the_body_has_come(live: str) -> None:
    place = urlsplit(live)
    with socket.create_connection((place.hostname, place.port), timeout=10) as connection:
        head = "POST /v1/checks HTTP/1.1\r\nHost: x\r\nContent-Length: 30000000\r\n\r\n"
        connection.sendall(head.encode())  # And not one byte of the body.
        began, answer = time.monotonic(), http.client.HTTPResponse(connection)
        answer.begin()
        assert time.monotonic() - began < 1.0
        assert answer.status == 401
        assert answer.getheader("connection") == "close"
        assert json.loads(answer.read())["type"] == "/problems/unauthenticated"
        assert time.monotonic() - began < 4.0, "the connection does not wait for the rest"


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b"x" * 100_000], ids=len)
def test_key_and_scope_come_before_everything_in_the_body(
    client: TestClient, client_key: ClientKeys, content: bytes
) -> None:
    sent = {"content-type": "application/json"}
    assert client.post("/v1/checks", content=content, headers=sent).status_code == 401
    other = sent | {"Authorization": f"Bearer {client_key('persons')}"}
    assert client.post("/v1/checks", content=content, headers=other).status_code == 403
    right = sent | {"Authorization": f"Bearer {client_key('checks')}"}
    assert client.post("/v1/checks", content=content, headers=right).status_code in (400, 422)


def test_address_without_a_row_is_reached_by_nobody(
    app: FastAPI, client: TestClient, headers: Headers
) -> None:
    @app.get("/v1/forgotten")
    def forgotten() -> str:
        return "secret"

    assert rule_for("GET", "/v1/forgotten") is None
    answer = client.get("/v1/forgotten", headers=headers)
    assert answer.status_code == 403
    assert "policy.py" in answer.json()["detail"]
    assert client.get("/v1/nothing", headers=headers).status_code == 404
    assert client.patch("/v1/checks", headers=headers).status_code == 405


def test_whoever_keeps_trying_keys_does_not_fill_the_audit_trail(
    client: TestClient, database: Database
) -> None:
    for _ in range(30):
        client.get("/v1/cases", headers={"Authorization": "Bearer op_0123456789abcdef_wrong"})
    client.get("/v1/cases")
    with database.read() as session:
        events = session.scalars(select(AuditEvent).where(AuditEvent.kind == "access-refused")).all()
    assert [event.result for event in events] == ["unauthenticated"] * 21
    assert events[0].details["route"] == "/v1/cases"


def test_use_of_a_key_is_noted_together_later(app: FastAPI, client: TestClient, headers: Headers) -> None:
    database: Database = app.state.database

    def last_used() -> object:
        with database.read() as session:
            return session.scalars(select(Credential.last_used_at)).one()

    for _ in range(3):
        assert client.get("/v1/notices", headers=headers).status_code == 200
    assert last_used() is None
    assert app.state.key_usage.write() is False
    assert last_used() is not None


def test_certificate_counts_only_from_a_trusted_proxy_and_only_when_configured(
    app: FastAPI, database: Database
) -> None:
    with TestClient(app, client=("10.0.0.5", 50000), raise_server_exceptions=False) as proxy:
        with database.write() as session:
            add_client(session, "population", scopes=frozenset({Scope.NOTICES}), certificate=SUBJECT)
        sent = {"X-Client-Subject": SUBJECT}

        def status() -> int:
            return proxy.get("/v1/notices", headers=sent).status_code

        assert status() == 401, "not configured"
        choose(app, client_certificate_header="X-Client-Subject")
        assert status() == 401, "no proxy is trusted"
        choose(app, trusted_proxies=frozenset({"10.0.0.4/32"}))
        assert status() == 401, "another one is"
        choose(app, trusted_proxies=frozenset({"10.0.0.0/29"}))
        assert status() == 200
        assert proxy.get("/v1/notices", headers={"X-Client-Subject": SUBJECT + "x"}).status_code == 401
        assert proxy.get("/v1/checks?transaction_id=T", headers=sent).status_code == 403, "its scopes hold"
        with database.write() as session:
            held = session.scalars(select(Client)).one()
            session.scalars(
                select(Credential).where(Credential.client_id == held.id)
            ).one().revoked_at = now()
        assert status() == 401, "revoked"
