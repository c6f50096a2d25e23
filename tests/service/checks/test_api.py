"""Checks over HTTP, with the synthetic pack and both databases."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import func, select

from service.database import Database
from service.portrait_store import PortraitStore
from service.settings import Settings
from service.tables import Case, Check, Template
from tests.hostile import hostile_pictures
from tests.service.calls import Headers, contents, in_base64, portrait, post_check, put_person


def enrol(client: TestClient, headers: Headers, *persons: int) -> None:
    for person in persons:
        assert put_person(client, headers, f"P{person}", portrait(person)).status_code == 201


def test_mate_is_a_suspected_duplicate_and_the_transaction_waits(
    client: TestClient, headers: Headers
) -> None:
    enrol(client, headers, 1, 2, 3)
    answer = post_check(client, headers, "T1", portrait(2, 1))
    assert answer.status_code == 201
    check = answer.json()
    assert check["outcome"] == "candidates"
    assert check["instruction"] == "hold"
    assert check["status"] == "under_review"
    best = check["candidates"][0]
    assert (best["rank"], best["person_id"], best["gallery"]) == (1, "P2", "flagged")
    assert best["score"] >= check["threshold"]
    assert 0 <= best["false_alarm_low"] <= best["false_alarm_rate"] <= best["false_alarm_high"] <= 1
    assert best["false_alarm_rate"] > 0
    assert check["gallery_size"] == 3
    assert check["review_url"].endswith(f"/cases/{check['case_id']}")
    assert check["searches"][0]["fpir"]["value"] <= 0.0101
    assert set(check["timings_ms"]) >= {"decode", "detect", "encode", "search"}


def test_stranger_proceeds_and_their_portrait_is_not_kept(
    client: TestClient, headers: Headers, settings: Settings
) -> None:
    enrol(client, headers, 1, 2)
    kept = PortraitStore(settings.portraits_dir).locations()
    check = post_check(client, headers, "T1", portrait(8)).json()
    assert (check["outcome"], check["instruction"], check["status"]) == ("no_candidates", "proceed", "closed")
    assert check["case_id"] is None
    assert check["review_url"] is None
    assert PortraitStore(settings.portraits_dir).locations() == kept


def test_own_references_are_never_candidates(client: TestClient, headers: Headers) -> None:
    enrol(client, headers, 1)
    assert (
        post_check(client, headers, "T1", portrait(1, 1), person_id="P1").json()["outcome"] == "no_candidates"
    )
    put_person(client, headers, "P1-again", portrait(1, 2))
    check = post_check(client, headers, "T2", portrait(1, 1), person_id="P1").json()
    assert [candidate["person_id"] for candidate in check["candidates"]] == ["P1-again"]


def test_enrolled_portrait_is_searched_when_none_is_sent(client: TestClient, headers: Headers) -> None:
    enrol(client, headers, 1)
    put_person(client, headers, "P1-again", portrait(1, 2))
    check = post_check(client, headers, "T1", person_id="P1").json()
    assert [candidate["person_id"] for candidate in check["candidates"]] == ["P1-again"]


@pytest.mark.parametrize(("person_id", "reason"), [("P1", "no-portrait"), ("P9", "unknown-person")])
def test_subject_without_any_portrait_is_not_searchable_and_waits_for_officers(
    client: TestClient, headers: Headers, person_id: str, reason: str
) -> None:
    put_person(client, headers, "P1")
    check = post_check(client, headers, "T1", person_id=person_id).json()
    assert (check["outcome"], check["instruction"]) == ("not_searchable", "hold")
    assert check["reasons"] == [reason]
    assert check["status"] == "under_review"
    assert check["threshold"] is None


def test_same_request_gets_the_same_check(client: TestClient, headers: Headers, database: Database) -> None:
    enrol(client, headers, 1)
    first = post_check(client, headers, "T1", portrait(1, 1))
    before = contents(database)
    second = post_check(client, headers, "T1", portrait(1, 1))
    assert second.status_code == 201
    assert second.json() == first.json()
    assert second.headers["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first.headers
    assert contents(database) == before


@pytest.mark.parametrize(
    "changed",
    [
        {"picture": portrait(2)},
        {"picture": portrait(1), "person_id": "P1"},
        {"picture": portrait(1), "kind": "restoration"},
        {"picture": portrait(1), "authority": "530103"},
        {"person_id": "P1"},
    ],
)
def test_transaction_id_used_for_another_request_is_a_conflict(
    client: TestClient, headers: Headers, database: Database, changed: dict[str, Any]
) -> None:
    enrol(client, headers, 1)
    post_check(client, headers, "T1", portrait(1))
    before = contents(database)
    answer = post_check(client, headers, "T1", **changed)
    assert answer.status_code == 409
    assert answer.json()["type"] == "/problems/transaction-conflict"
    assert contents(database) == before


def test_simultaneous_requests_of_one_transaction_make_one_check(
    client: TestClient, headers: Headers, database: Database, settings: Settings
) -> None:
    enrol(client, headers, 1)
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _n: post_check(client, headers, "T1", portrait(1, 1)), range(6)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["check_id"] for answer in answers}) == 1
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(Check)) == 1
        assert session.scalar(select(func.count()).select_from(Case)) == 1
    assert len(PortraitStore(settings.portraits_dir).locations()) == 2


def test_no_face_is_searched_where_policy_says_so(client: TestClient, headers: Headers) -> None:
    answer = post_check(client, headers, "T1", portrait(1), kind="death")
    assert answer.status_code == 422
    assert answer.json()["type"] == "/problems/check-not-required"
    unknown = post_check(client, headers, "T1", portrait(1), kind="picnic")
    assert unknown.status_code == 422
    assert unknown.json()["errors"][0]["field"] == "transaction.type"


def test_search_sees_what_was_committed_before_it(client: TestClient, headers: Headers) -> None:
    enrol(client, headers, 1)
    assert post_check(client, headers, "T1", portrait(2, 1)).json()["outcome"] == "no_candidates"
    enrol(client, headers, 2)
    assert post_check(client, headers, "T2", portrait(2, 1)).json()["outcome"] == "candidates"
    client.delete("/v1/persons/P2", headers=headers)
    assert post_check(client, headers, "T3", portrait(2, 1)).json()["outcome"] == "no_candidates"


def test_withdrawn_check_leaves_the_queue_once(client: TestClient, headers: Headers) -> None:
    enrol(client, headers, 1)
    check = post_check(client, headers, "T1", portrait(1, 1)).json()
    for _time in range(2):
        answer = client.post(
            f"/v1/checks/{check['check_id']}/withdraw",
            json={"reason": "applicant went home"},
            headers=headers,
        )
        assert answer.status_code == 200
        assert answer.json()["status"] == "withdrawn"
    read = client.get("/v1/checks", params={"transaction_id": "T1"}, headers=headers)
    assert read.json()["status"] == "withdrawn"
    assert client.get(f"/v1/checks/{check['check_id']}", headers=headers).json() == read.json()


def test_unknown_checks_are_not_found(client: TestClient, headers: Headers) -> None:
    nobody = "00000000-0000-0000-0000-000000000000"
    assert client.get(f"/v1/checks/{nobody}", headers=headers).status_code == 404
    assert client.post(f"/v1/checks/{nobody}/withdraw", headers=headers).status_code == 404
    assert client.get("/v1/checks", params={"transaction_id": "T9"}, headers=headers).status_code == 404
    assert client.get("/v1/checks", headers=headers).status_code == 422


def test_incomplete_gallery_answers_with_an_error_and_stores_nothing(
    client: TestClient, headers: Headers, database: Database
) -> None:
    enrol(client, headers, 1, 2)
    with database.write() as session:
        template = session.scalars(select(Template).order_by(Template.reference_id).limit(1)).one()
        session.delete(template)
    put_person(client, headers, "P1", portraits=None, sex="1")
    before = contents(database)
    answer = post_check(client, headers, "T1", portrait(2, 1))
    assert answer.status_code == 503
    assert answer.json()["type"] == "/problems/gallery-not-ready"
    assert int(answer.headers["Retry-After"]) > 0
    assert contents(database) == before
    put_person(client, headers, "P1", portrait(1))
    assert post_check(client, headers, "T1", portrait(2, 1)).json()["outcome"] == "candidates"


def test_full_queue_is_an_error(client: TestClient, app: FastAPI, headers: Headers) -> None:
    engine = app.state.engine
    taken = 0
    while engine._jobs._slots.acquire(blocking=False):
        taken += 1
    try:
        answer = post_check(client, headers, "T1", portrait(1))
    finally:
        for _slot in range(taken):
            engine._jobs._slots.release()
    assert answer.status_code == 503
    assert answer.json()["type"] == "/problems/overloaded"
    assert post_check(client, headers, "T1", portrait(1)).status_code == 201


def bad_bodies() -> list[tuple[str, Any]]:
    good = {"id": "T1", "type": "household-transfer-in", "authority": "530102"}
    picture = in_base64(portrait(1))
    return [
        ("nothing", {}),
        ("no-subject", {"transaction": good}),
        ("no-transaction", {"portrait": picture}),
        ("list", [good]),
        ("text", "T1"),
        ("null", None),
        ("unknown-field", {"transaction": good, "portrait": picture, "face": 1}),
        ("unknown-field-inside", {"transaction": {**good, "x": 1}, "portrait": picture}),
        ("number-id", {"transaction": {**good, "id": 7}, "portrait": picture}),
        ("empty-id", {"transaction": {**good, "id": ""}, "portrait": picture}),
        ("blank-id", {"transaction": {**good, "id": "  "}, "portrait": picture}),
        ("long-id", {"transaction": {**good, "id": "x" * 129}, "portrait": picture}),
        ("bad-authority", {"transaction": {**good, "authority": "Kunming"}, "portrait": picture}),
        ("bad-type", {"transaction": {**good, "type": "Household Transfer"}, "portrait": picture}),
        ("portrait-number", {"transaction": good, "portrait": 5}),
        ("portrait-list", {"transaction": good, "portrait": [picture]}),
        ("portrait-object", {"transaction": good, "portrait": {"image": picture}}),
        ("portrait-empty", {"transaction": good, "portrait": ""}),
        ("portrait-not-base64", {"transaction": good, "portrait": "?" + picture}),
        ("portrait-nested-base64", {"transaction": good, "portrait": in_base64(picture.encode())}),
        ("portrait-data-uri", {"transaction": good, "portrait": "data:image/jpeg;base64," + picture}),
        ("portrait-no-face", {"transaction": good, "portrait": in_base64(portrait(1, faces=0))}),
        ("portrait-two-faces", {"transaction": good, "portrait": in_base64(portrait(1, faces=2))}),
        ("bad-person-id", {"transaction": good, "person_id": "../etc/passwd"}),
    ]


def test_malformed_requests_get_a_reason_and_change_nothing(
    client: TestClient, headers: Headers, database: Database, settings: Settings
) -> None:
    enrol(client, headers, 1)
    good = {"id": "T1", "type": "household-transfer-in", "authority": "530102"}
    pictures = [
        (name, {"transaction": good, "portrait": in_base64(data)})
        for name, data in hostile_pictures()
        if data
    ]
    before, files = contents(database), PortraitStore(settings.portraits_dir).locations()
    cases = bad_bodies() + pictures
    assert len(cases) >= 80
    for name, body in cases:
        answer = client.post("/v1/checks", json=body, headers=headers)
        assert 400 <= answer.status_code < 500, name
        assert answer.headers["content-type"] == "application/problem+json", name
        problem = answer.json()
        assert problem.get("reasons") or problem.get("errors"), name
    assert contents(database) == before
    assert PortraitStore(settings.portraits_dir).locations() == files


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"transaction":'])
def test_body_that_is_no_json_is_refused(client: TestClient, headers: Headers, content: bytes) -> None:
    answer = client.post(
        "/v1/checks", content=content, headers=headers | {"content-type": "application/json"}
    )
    assert 400 <= answer.status_code < 500


def test_body_of_50_mb_is_refused(client: TestClient, headers: Headers, database: Database) -> None:
    before = contents(database)
    body = b'{"portrait": "' + b"A" * 50_000_000 + b'"}'
    answer = client.post("/v1/checks", content=body, headers=headers | {"content-type": "application/json"})
    assert answer.status_code == 413
    assert contents(database) == before
