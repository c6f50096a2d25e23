"""`/v1/notices` over HTTP."""

from typing import Any
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient

from service.auth.service import SYSTEM
from service.database import Database
from service.notices.service import POPULATION_SYSTEM, NewNotice, NoticeKind, issue
from service.tables import Notice
from tests.service.calls import Headers, contents
from tests.service.conftest import ClientKeys, OfficerKeys


@pytest.fixture
def notices(database: Database) -> list[Notice]:
    """A release to the population system, and an overdue request to cancel to an authority."""
    with database.write() as session:
        case_id = uuid4()
        release = NewNotice(
            NoticeKind.RELEASE,
            POPULATION_SYSTEM,
            case_id,
            transaction_id="T-1",
            payload={"action": "release_transaction", "instruction": "proceed"},
        )
        cancel = NewNotice(NoticeKind.CANCEL_REQUEST, "530302", case_id, person_id="P-1")
        return [
            issue(session, release, due_days=15, actor=SYSTEM),
            issue(session, cancel, due_days=0, actor=SYSTEM),
        ]


def test_a_client_polls_reads_and_acknowledges(
    client: TestClient, headers: Headers, notices: list[Notice]
) -> None:
    page = client.get("/v1/notices?limit=1", headers=headers).json()
    (first,) = page["items"]
    assert page["next"] == first["sequence"] == notices[0].sequence
    assert (first["kind"], first["state"], first["recipient"]) == ("release", "pending", "population-system")
    assert first["payload"]["instruction"] == "proceed"
    page = client.get("/v1/notices", params={"after": page["next"]}, headers=headers).json()
    assert page["next"] is None
    assert [(n["kind"], n["state"]) for n in page["items"]] == [("cancel_request", "overdue")]

    url = f"/v1/notices/{notices[1].id}"
    assert client.get(url, headers=headers).json() == page["items"][0]
    done = client.post(
        f"{url}/acknowledgement",
        json={"note": " 已注销\n2026-03-04 ", "acknowledged_by": "曲靖市局"},
        headers=headers,
    )
    assert done.status_code == 200
    assert (done.json()["state"], done.json()["acknowledged_by"], done.json()["acknowledgement"]) == (
        "acknowledged",
        "曲靖市局",
        "已注销\n2026-03-04",
    )
    again = client.post(f"{url}/acknowledgement", json={"note": "other"}, headers=headers)
    assert again.json() == done.json()


def test_an_acknowledgement_needs_no_body(
    client: TestClient, client_key: ClientKeys, notices: list[Notice]
) -> None:
    headers = {"Authorization": f"Bearer {client_key('notices', name='population')}"}
    answer = client.post(f"/v1/notices/{notices[0].id}/acknowledgement", headers=headers)
    assert (answer.status_code, answer.json()["acknowledged_by"]) == (200, "population")


def test_filters_narrow_the_list(client: TestClient, headers: Headers, notices: list[Notice]) -> None:
    def kinds(query: str) -> list[str]:
        answer = client.get(f"/v1/notices?{query}", headers=headers)
        return [notice["kind"] for notice in answer.json()["items"]]

    assert kinds("state=pending") == ["release"]
    assert kinds("state=pending&state=overdue") == ["release", "cancel_request"]
    assert kinds("state=acknowledged") == []
    assert kinds("recipient=530302") == ["cancel_request"]
    assert kinds("kind=release") == ["release"]


HOSTILE_FILTERS = [
    "state=done",
    "kind=letter",
    "recipient=%00",
    "recipient=a%20b",
    "after=-1",
    "after=9223372036854775808",
    "after=x",
    "limit=0",
    "limit=1001",
    "since=1",
]


def test_malformed_filters_are_refused(client: TestClient, headers: Headers) -> None:
    for query in HOSTILE_FILTERS:
        answer = client.get(f"/v1/notices?{query}", headers=headers)
        assert (answer.status_code, answer.json()["type"]) == (422, "/problems/invalid-request"), query
        assert answer.json()["errors"], query


HOSTILE_BODIES: list[Any] = [
    {"note": ""},
    {"note": " "},
    {"note": "a\u0000b"},
    {"note": "x" * 2001},
    {"note": 1},
    {"acknowledged_by": "x" * 65},
    {"acknowledged_by": "a\nb"},
    {"acknowledged_at": "2026-01-01"},
    [],
    "text",
]


def test_malformed_acknowledgements_change_nothing(
    client: TestClient, headers: Headers, database: Database, notices: list[Notice]
) -> None:
    before = contents(database)
    for body in HOSTILE_BODIES:
        answer = client.post(f"/v1/notices/{notices[0].id}/acknowledgement", json=body, headers=headers)
        assert answer.status_code == 422, body
    assert contents(database) == before


def test_unknown_notices_are_not_found(client: TestClient, headers: Headers) -> None:
    assert client.get(f"/v1/notices/{uuid4()}", headers=headers).status_code == 404
    assert client.post(f"/v1/notices/{uuid4()}/acknowledgement", headers=headers).status_code == 404
    assert client.get("/v1/notices/17", headers=headers).status_code == 422


def test_only_clients_with_the_scope_see_notices(
    client: TestClient, client_key: ClientKeys, officer_key: OfficerKeys, notices: list[Notice]
) -> None:
    keys = [client_key("checks", "persons"), officer_key(), officer_key(role="auditor")]
    url = f"/v1/notices/{notices[0].id}"
    for key in keys:
        headers = {"Authorization": f"Bearer {key}"}
        assert client.get("/v1/notices", headers=headers).status_code == 403
        assert client.get(url, headers=headers).status_code == 403
        assert client.post(f"{url}/acknowledgement", json={"bad": 1}, headers=headers).status_code == 403
    assert client.get("/v1/notices").status_code == 401
