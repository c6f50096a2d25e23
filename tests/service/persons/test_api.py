"""Registrations over HTTP, with the synthetic pack and both databases."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import select

from service.database import Database
from service.portrait_store import PortraitStore
from service.settings import Settings
from service.tables import AuditEvent, GalleryHead, Person, Template
from tests.service.calls import Headers, contents, in_base64, portrait, put_person


def position(database: Database, gallery: str = "flagged") -> int:
    with database.read() as session:
        return session.scalars(select(GalleryHead.position).where(GalleryHead.gallery == gallery)).one()


def stored_files(settings: Settings) -> set[str]:
    return PortraitStore(settings.portraits_dir).locations()


def test_flagged_person_is_enrolled(client: TestClient, headers: Headers) -> None:
    answer = put_person(
        client, headers, "P1", portrait(1), sex="2", birth_date="1990-05-04", division_code="530102"
    )
    assert answer.status_code == 201
    enrolment = answer.json()["enrolment"]
    assert enrolment == {"status": "enrolled", "gallery": "flagged", "references": 1, "reasons": []}
    assert answer.json()["portraits"][0]["admitted"] is True
    read = client.get("/v1/persons/P1", headers=headers).json()
    assert read["birth_date"] == "1990-05-04"
    assert read["enrolment"]["status"] == "enrolled"
    assert len(read["portraits"]) == 1
    assert "image" not in read["portraits"][0]


def test_same_request_again_changes_nothing(client: TestClient, headers: Headers, database: Database) -> None:
    put_person(client, headers, "P1", portrait(1))
    before = contents(database)
    answer = put_person(client, headers, "P1", portrait(1))
    assert answer.status_code == 200
    assert answer.json()["enrolment"]["references"] == 1
    assert contents(database) == before


def test_person_whose_identity_is_established_leaves_the_gallery_and_the_store(
    client: TestClient, headers: Headers, database: Database, settings: Settings
) -> None:
    put_person(client, headers, "P1", portrait(1), portrait(1, 1))
    assert len(stored_files(settings)) == 2
    answer = put_person(client, headers, "P1", portraits=None, level_code="10")
    assert answer.json()["enrolment"]["status"] == "not_required"
    assert stored_files(settings) == set()
    with database.read() as session:
        assert session.scalars(select(Template)).all() == []
    assert position(database) == 4


def test_portraits_of_a_person_who_need_not_be_enrolled_are_not_kept(
    client: TestClient, headers: Headers, settings: Settings
) -> None:
    answer = put_person(client, headers, "P1", portrait(1), level_code="10")
    assert answer.status_code == 201
    assert answer.json()["enrolment"] == {
        "status": "not_required",
        "gallery": None,
        "references": 0,
        "reasons": [],
    }
    assert stored_files(settings) == set()


def test_portraits_stay_when_the_request_names_none(client: TestClient, headers: Headers) -> None:
    put_person(client, headers, "P1", portrait(1))
    answer = put_person(client, headers, "P1", portraits=None, name="示例")
    assert answer.json()["enrolment"]["references"] == 1


def test_new_portraits_replace_the_old_ones(
    client: TestClient, headers: Headers, settings: Settings, database: Database
) -> None:
    put_person(client, headers, "P1", portrait(1))
    before = stored_files(settings)
    answer = put_person(client, headers, "P1", portrait(1, 1))
    assert answer.json()["enrolment"]["references"] == 1
    assert len(stored_files(settings)) == 1
    assert not stored_files(settings) & before
    assert position(database) == 3


def test_flagged_person_without_portrait_is_stored_and_refused(client: TestClient, headers: Headers) -> None:
    answer = put_person(client, headers, "P1")
    assert answer.status_code == 201
    assert answer.json()["enrolment"]["status"] == "refused"
    assert answer.json()["enrolment"]["reasons"] == ["no-portrait"]


@pytest.mark.parametrize(("faces", "reason"), [(0, "no-face"), (2, "several-faces")])
def test_portrait_without_one_face_is_refused_whole(
    client: TestClient, headers: Headers, database: Database, settings: Settings, faces: int, reason: str
) -> None:
    before = contents(database)
    answer = put_person(client, headers, "P1", portrait(1, faces=faces))
    assert answer.status_code == 422
    problem = answer.json()
    assert problem["type"] == "/problems/inadmissible-portrait"
    assert problem["reasons"] == [reason]
    assert problem["enrolment"]["status"] == "refused"
    assert contents(database) == before
    assert stored_files(settings) == set()


def test_one_good_portrait_is_enough_and_the_other_is_reported(client: TestClient, headers: Headers) -> None:
    answer = put_person(client, headers, "P1", portrait(1), portrait(1, faces=0))
    assert answer.json()["enrolment"]["references"] == 1
    assert [item["admitted"] for item in answer.json()["portraits"]] == [True, False]
    assert answer.json()["portraits"][1]["reasons"] == ["no-face"]


def test_file_that_is_no_picture_is_refused_even_beside_a_good_one(
    client: TestClient, headers: Headers, database: Database
) -> None:
    before = contents(database)
    answer = put_person(client, headers, "P1", portrait(1), portrait(1)[:900])
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "portraits[1].image"
    assert contents(database) == before


def test_same_portrait_twice_is_one_reference(client: TestClient, headers: Headers) -> None:
    answer = put_person(client, headers, "P1", portrait(1), portrait(1))
    assert answer.json()["enrolment"]["references"] == 1


def test_erased_person_is_gone_at_once(
    client: TestClient, headers: Headers, database: Database, settings: Settings
) -> None:
    put_person(client, headers, "P1", portrait(1))
    assert client.delete("/v1/persons/P1", headers=headers).status_code == 204
    assert client.get("/v1/persons/P1", headers=headers).status_code == 404
    assert client.delete("/v1/persons/P1", headers=headers).status_code == 404
    assert stored_files(settings) == set()
    with database.read() as session:
        assert session.scalars(select(Person)).all() == []
        assert session.scalars(select(Template)).all() == []
        kinds = session.scalars(select(AuditEvent.kind).order_by(AuditEvent.id)).all()
    assert kinds[-1] == "person-erased"


BAD_FIELDS: list[tuple[str, Any]] = [
    ("citizen_id_number", "110105194912310020"),
    ("citizen_id_number", "11010519491331002X"),
    ("citizen_id_number", "1101051949"),
    ("sex", "3"),
    ("birth_date", "1990-02-30"),
    ("birth_date", "2990-01-01"),
    ("ethnicity", "Han"),
    ("division_code", "53"),
    ("category", "1"),
    ("level_code", ""),
    ("level_code", None),
    ("name", "x" * 51),
    ("name", "a\u0000b"),
    ("name", "\ud800"),
    ("portraits", "a picture"),
    ("portraits", [{"image": 5}]),
    ("portraits", [{"image": "no base64!"}]),
    ("portraits", [{"image": "data:image/jpeg;base64,AAAA"}]),
    ("portraits", [{"image": in_base64(b"x"), "taken_on": "2990-01-01"}]),
    ("portraits", [{"picture": "AAAA"}]),
    ("nickname", "x"),
]


@pytest.mark.parametrize(("name", "value"), BAD_FIELDS)
def test_bad_field_is_named_and_nothing_is_stored(
    client: TestClient, headers: Headers, database: Database, name: str, value: Any
) -> None:
    before = contents(database)
    answer = put_person(client, headers, "P1", **{"portraits": [], name: value})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert name in answer.json()["errors"][0]["field"]
    assert contents(database) == before


def test_retired_division_prefix_is_accepted(client: TestClient, headers: Headers) -> None:
    answer = put_person(client, headers, "P1", citizen_id_number="440524188001010014")
    assert answer.status_code == 201


@pytest.mark.parametrize("person_id", ["..", "%2e%2e%2fetc", "a b", "x" * 65, "-x"])
def test_bad_person_id_is_refused(client: TestClient, headers: Headers, person_id: str) -> None:
    assert put_person(client, headers, person_id).status_code in {404, 405, 422}


def test_key_with_another_scope_is_refused(client: TestClient, client_key: Callable[..., str]) -> None:
    other = {"Authorization": f"Bearer {client_key('checks')}"}
    assert put_person(client, other, "P1").status_code == 403
    assert put_person(client, {}, "P1").status_code == 401
    assert put_person(client, {"Authorization": "Bearer op_0_x"}, "P1").status_code == 401


def test_simultaneous_requests_for_one_new_person_make_one(
    client: TestClient, headers: Headers, database: Database, settings: Settings
) -> None:
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _n: put_person(client, headers, "P1", portrait(1)), range(4)))
    assert {answer.status_code for answer in answers} <= {200, 201, 409}
    assert sum(answer.status_code == 201 for answer in answers) == 1
    with database.read() as session:
        assert len(session.scalars(select(Person)).all()) == 1
        assert len(session.scalars(select(Template)).all()) == 1
    assert len(stored_files(settings)) == 1


def test_failed_transaction_leaves_no_file(
    client: TestClient, app: FastAPI, headers: Headers, settings: Settings
) -> None:
    app.state.database.close()
    broken = Database(f"sqlite:///{settings.data_dir / 'empty.db'}")
    with broken.read():
        pass
    whole, app.state.database = app.state.database, broken
    try:
        answer = put_person(client, headers, "P1", portrait(1))
    finally:
        app.state.database = whole
        broken.close()
    assert answer.status_code == 503
    assert stored_files(settings) == set()
