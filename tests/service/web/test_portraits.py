"""The portraits of a case: who may look, what they get, and that every look is on record."""

from uuid import UUID

import cv2
import numpy as np
import pytest
from fastapi.testclient import TestClient

from service.tables import Case, Check, Portrait
from service.web.portrait_view import HEIGHT, WIDTH
from tests.service.calls import portrait, put_person
from tests.service.conftest import SQLITE_ONLY
from tests.service.web.conftest import Desk

pytestmark = SQLITE_ONLY


def reference_of(desk: Desk, case_id: UUID) -> int:
    with desk.database.read() as session:
        return session.get_one(Case, case_id).candidates[0].reference_id


def test_probe_and_reference_are_drawn_alike_and_every_look_is_on_record(desk: Desk) -> None:
    case_id, browser = desk.case(), desk.browser("zhang")
    reference_id = reference_of(desk, case_id)
    drawn = []
    for name in ("probe", str(reference_id)):
        answer = browser.get(f"/cases/{case_id}/portraits/{name}")
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "image/jpeg"
        assert answer.headers["cache-control"] == "no-store"
        picture = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_GRAYSCALE)
        assert picture is not None
        assert picture.shape == (HEIGHT, WIDTH)
        drawn.append(picture[200:400, 140:340].astype(float))
    # Two shots of one person, framed differently: drawn on the eyes they agree pixel by pixel.
    assert np.corrcoef(drawn[0].ravel(), drawn[1].ravel())[0, 1] > 0.9
    check_id = f"check:{_check_id(desk, case_id)}"
    events = [(e.actor, e.subject, e.purpose) for e in desk.events("portrait-viewed")]
    assert events == [
        ("zhang", check_id, f"case:{case_id}"),
        ("zhang", "person:C-1", f"case:{case_id}"),
    ]
    assert desk.events("portrait-viewed")[1].details == {"reference_id": reference_id}


def test_portraits_of_another_division_do_not_exist(desk: Desk) -> None:
    case_id, browser = desk.case(), desk.browser("wang", division_code="530300")
    for name in ("probe", str(reference_of(desk, case_id))):
        assert browser.get(f"/cases/{case_id}/portraits/{name}").status_code == 404
    assert desk.events("portrait-viewed") == []


def test_portrait_of_a_person_outside_the_case_does_not_exist(desk: Desk) -> None:
    assert put_person(desk.client, desk.headers, "O-1", portrait(7)).is_success
    case_id, browser = desk.case(), desk.browser("zhang")
    with desk.database.read() as session:
        others = {p.reference_id for p in session.query(Portrait)} - {reference_of(desk, case_id)}
    assert others
    for reference_id in (*others, 0, 10**30):
        assert browser.get(f"/cases/{case_id}/portraits/{reference_id}").status_code == 404
    assert desk.events("portrait-viewed") == []


def test_nobody_looks_without_a_session(desk: Desk) -> None:
    case_id = desk.case()
    anonymous = TestClient(desk.app)
    answer = anonymous.get(f"/cases/{case_id}/portraits/probe", headers={"accept": "image/*"})
    assert answer.status_code == 401
    assert desk.events("portrait-viewed") == []


def test_erased_portraits_are_gone_from_the_pages_too(desk: Desk) -> None:
    case_id, browser = desk.case(), desk.browser("zhang")
    reference_id = reference_of(desk, case_id)
    assert desk.client.delete("/v1/persons/C-1", headers=desk.headers).is_success
    assert browser.get(f"/cases/{case_id}/portraits/{reference_id}").status_code == 404
    with desk.database.write() as session:
        session.get_one(Check, _check_id(desk, case_id)).probe_location = None
    assert browser.get(f"/cases/{case_id}/portraits/probe").status_code == 404


def test_unreadable_store_is_an_error_and_no_look(desk: Desk) -> None:
    case_id, browser = desk.case(), desk.browser("zhang")
    for location in desk.app.state.portrait_store.locations():
        desk.app.state.portrait_store.delete(location)
    assert browser.get(f"/cases/{case_id}/portraits/probe").status_code == 503
    assert desk.events("portrait-viewed") == []


@pytest.mark.parametrize("name", ["", "x", "-1", "probe/x", "..%2f..%2fetc%2fpasswd"])
def test_other_names_are_not_found(desk: Desk, name: str) -> None:
    case_id, browser = desk.case(), desk.browser("zhang")
    assert browser.get(f"/cases/{case_id}/portraits/{name}").status_code == 404


def _check_id(desk: Desk, case_id: UUID) -> UUID | None:
    with desk.database.read() as session:
        return session.get_one(Case, case_id).check_id
