"""Error responses: complete, in the caller's language, and silent about what was sent."""

from uuid import UUID

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from httpx2 import Response
from sqlalchemy import text

from index.errors import GenerationError, NotReadyError, PortraitError
from service.database import Database
from service.dependencies import Transaction
from service.errors import (
    CaseStateError,
    GalleryNotReadyError,
    InvalidRequestError,
    NotFoundError,
    ServiceError,
    TransactionConflictError,
)
from service.problems import MEDIA_TYPE, problem_classes, responses_for
from tests.service.conftest import SQLITE_ONLY

SECRET = "王小明 530102199003071234"


def assert_problem(answer: Response, status: int, code: str) -> None:
    document = answer.json()
    assert answer.status_code == status, document
    assert answer.headers["content-type"] == MEDIA_TYPE
    assert document["type"] == f"/problems/{code}"
    assert document["status"] == status
    assert document["title"]
    assert document["detail"]
    assert document["instance"] == f"urn:uuid:{answer.headers['x-request-id']}"
    assert UUID(answer.headers["x-request-id"]).version == 4
    assert SECRET not in answer.text


def test_an_unknown_address_is_a_problem_in_the_language_asked_for(lasting_client: TestClient) -> None:
    english = lasting_client.get("/nowhere", headers={"Accept-Language": "en"})
    chinese = lasting_client.get("/nowhere", headers={"Accept-Language": "zh-CN"})
    assert_problem(english, 404, "not-found")
    assert_problem(chinese, 404, "not-found")
    assert english.json()["title"] == "There is no such thing here"
    assert english.headers["content-language"] == "en"
    assert chinese.json()["title"] == "此处没有该内容"
    assert chinese.headers["content-language"] == "zh-CN"


def test_a_wrong_method_names_the_right_ones(lasting_client: TestClient) -> None:
    answer = lasting_client.patch("/v1/persons/P1")
    assert_problem(answer, 405, "method-not-allowed")
    assert answer.headers["allow"] == "DELETE, GET, PUT"


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer ", "Basic b3A6b3A=", "Bearer op_1_2", "Bearer 王", "Bearer op__", "op_1_2"],
)
def test_a_caller_without_a_valid_key_learns_how_to_send_one(
    lasting_client: TestClient, authorization: str | None
) -> None:
    sent = {"Authorization": (authorization or "").encode()}
    request = lasting_client.build_request("GET", "/v1/persons/P1", headers=sent)  # type: ignore[arg-type]  # raw bytes
    if authorization is None:
        del request.headers["Authorization"]
    answer = lasting_client.send(request)
    assert_problem(answer, 401, "unauthenticated")
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_faulty_fields_are_named_with_a_remedy_and_without_their_values(lasting_client: TestClient) -> None:
    body = {
        "transaction": {"id": SECRET * 20, "type": 7, "authority": SECRET},
        "portrait": [SECRET],
        "person_id": {"a": SECRET},
        "unforeseen": SECRET,
    }
    answer = lasting_client.post("/v1/checks", json=body)
    assert_problem(answer, 422, "invalid-request")
    faults = {fault["field"]: fault for fault in answer.json()["errors"]}
    assert {
        "transaction.id",
        "transaction.type",
        "transaction.authority",
        "portrait",
        "person_id",
        "unforeseen",
    } <= faults.keys()
    assert all(fault.keys() == {"field", "message", "remedy"} for fault in faults.values())
    assert "530102" not in answer.text


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b"12",
        b"{}{}",
        b"\xff\xfe{}",
        b"\x00",
        b'{"transaction": NaN}',
        b'{"transaction": {"id": "\\ud800", "type": "x", "authority": "530000"}}',
        b'{"transaction": {"id": "a\\u0000b", "type": "death", "authority": "530000"}, "person_id": "P"}',
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b"9" * 10_000,
        b'{"transaction": ' + b"9" * 10_000 + b"}",
        b"\xef\xbb\xbf{}",
    ],
)
def test_bodies_that_are_no_request_are_refused_with_a_reason(
    lasting_client: TestClient, body: bytes
) -> None:
    answer = lasting_client.post("/v1/checks", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in {400, 422}, answer.text
    assert answer.headers["content-type"] == MEDIA_TYPE
    assert answer.json()["type"] in {"/problems/invalid-request", "/problems/malformed-request"}


@pytest.mark.parametrize("content_type", ["text/plain", "application/xml", "multipart/form-data", "", "x"])
def test_other_content_types_are_refused(lasting_client: TestClient, content_type: str) -> None:
    answer = lasting_client.post("/v1/checks", content=b"{}", headers={"Content-Type": content_type})
    assert_problem(answer, 422, "invalid-request")


def test_values_that_a_database_cannot_store_are_refused(
    app: FastAPI, database: Database, headers: dict[str, str]
) -> None:
    @app.get("/raise/data")
    def raise_data(session: Transaction) -> None:
        if database.engine.dialect.name == "postgresql":
            session.execute(text("SELECT CAST(:value AS text)"), {"value": "a\x00b"})
        raise InvalidRequestError("SQLite stores it.", errors=[])

    with TestClient(app) as client:
        answer = client.get("/raise/data", headers=headers)
    assert_problem(answer, 422, "invalid-request")


@SQLITE_ONLY
@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (PortraitError("truncated", "The file ends early."), 422, "inadmissible-portrait"),
        (NotReadyError("no generation"), 503, "gallery-not-ready"),
        (GalleryNotReadyError("Not yet."), 503, "gallery-not-ready"),
        (CaseStateError("Moved on.", case="c"), 409, "case-state"),
        (GenerationError(SECRET), 500, "internal"),
        (ValueError(SECRET), 500, "internal"),
        (ServiceError("Known."), 500, "internal"),
        (RecursionError(SECRET), 500, "internal"),
    ],
)
def test_every_error_becomes_its_problem(app: FastAPI, error: Exception, status: int, code: str) -> None:
    @app.get("/raise")
    def fail() -> None:
        raise error

    with TestClient(app, raise_server_exceptions=False) as client:
        answer = client.get("/raise")
    assert_problem(answer, status, code)
    assert answer.headers["content-security-policy"]
    assert answer.headers.get("retry-after") == ("2" if status == 503 else None)


@SQLITE_ONLY
def test_a_refused_portrait_gives_its_reason(app: FastAPI) -> None:
    @app.get("/raise")
    def fail() -> None:
        raise PortraitError("truncated", "The file ends early.")

    with TestClient(app) as client:
        assert client.get("/raise").json()["reasons"] == ["truncated"]


@SQLITE_ONLY
def test_extensions_stand_beside_the_members_and_never_replace_them(app: FastAPI) -> None:
    @app.get("/raise")
    def fail() -> None:
        raise TransactionConflictError("Different.", check_id="7", status="200", type="x", instance="y")

    with TestClient(app) as client:
        answer = client.get("/raise")
    assert_problem(answer, 409, "transaction-conflict")
    assert answer.json()["check_id"] == "7"


def test_described_responses_name_every_code_of_a_status() -> None:
    described = responses_for(NotFoundError, TransactionConflictError, CaseStateError, CaseStateError)
    assert described.keys() == {404, 409}
    examples = described[409]["content"][MEDIA_TYPE]["examples"]
    assert examples.keys() == {"transaction-conflict", "case-state"}
    assert examples["case-state"]["value"]["status"] == 409


@pytest.mark.parametrize("code", sorted(problem_classes()))
def test_every_type_leads_to_its_explanation(lasting_client: TestClient, code: str) -> None:
    explained = lasting_client.get(f"/problems/{code}").json()
    assert explained["code"] == code
    assert explained["status"] == problem_classes()[code].status
    assert explained["languages"].keys() == {"zh-CN", "en"}
    assert all(text for words in explained["languages"].values() for text in words.values())


def test_an_unknown_code_is_not_explained(lasting_client: TestClient) -> None:
    assert_problem(lasting_client.get("/problems/nonsense"), 404, "not-found")
