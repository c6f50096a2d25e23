"""Damaged templates are made anew from their portraits while the service runs, without anybody's hands."""

import shutil
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from service.app import create_app
from service.database import Database
from service.galleries import mending
from service.galleries.mending import Mending
from service.settings import Settings
from service.tables import AuditEvent, Portrait, Template
from tests.service.calls import Headers, portrait, post_check, put_person


@pytest.fixture
def damaged(
    settings: Settings, database: Database, headers: Headers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three persons, of whom one has a template with a changed bit, and no generation that holds it whole."""
    monkeypatch.setattr(mending, "EVERY_S", 3600.0)  # The test takes the turns.
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        for person in (1, 2, 3):
            assert put_person(client, headers, f"P{person}", portrait(person)).status_code == 201
    with database.write() as session:
        row = session.scalars(select(Template).order_by(Template.reference_id)).all()[1]
        row.vector = row.vector[:-1] + bytes([row.vector[-1] ^ 1])
    shutil.rmtree(settings.galleries_dir, ignore_errors=True)


def turn(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mending, "EVERY_S", 0.0)
    Mending(client.app).turn()  # type: ignore[arg-type]  # typed as any ASGI application


@pytest.mark.usefixtures("damaged")
def test_a_changed_template_stops_checks_until_it_is_made_anew(
    settings: Settings, database: Database, headers: Headers, monkeypatch: pytest.MonkeyPatch
) -> None:
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        parts = client.get("/readyz").json()["parts"]
        assert [name for name, part in parts.items() if not part["ready"]] == ["gallery:flagged"]
        for number, person in enumerate((2, 3, 8)):
            answer = post_check(client, headers, f"T{number}", portrait(person, 1))
            assert (answer.status_code, answer.json()["type"]) == (503, "/problems/gallery-not-ready")
        turn(client, monkeypatch)
        for number, person in enumerate((1, 2, 3)):
            check = post_check(client, headers, f"T{number}", portrait(person, 1)).json()
            assert [one["person_id"] for one in check["candidates"]] == [f"P{person}"]
    with database.read() as session:
        kinds = select(AuditEvent).where(AuditEvent.kind == "gallery-rebuilt")
        assert session.scalars(kinds).one().details["mended"] == 1


@pytest.mark.usefixtures("damaged")
def test_without_its_portrait_nothing_is_made_up(
    settings: Settings, database: Database, headers: Headers, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database.read() as session:
        location = session.scalars(select(Portrait.location).order_by(Portrait.reference_id)).all()[1]
    path = Path(settings.portraits_dir / location)
    sealed = path.read_bytes()
    path.write_bytes(sealed[:-1] + bytes([sealed[-1] ^ 1]))
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        turn(client, monkeypatch)
        answer = post_check(client, headers, "T1", portrait(8))
        assert (answer.status_code, answer.json()["type"]) == (503, "/problems/gallery-not-ready")
        assert put_person(client, headers, "P2", portrait(2)).status_code == 200  # Sent again, it is whole.
        assert post_check(client, headers, "T1", portrait(8)).json()["instruction"] == "proceed"
        assert post_check(client, headers, "T2", portrait(2, 1)).json()["instruction"] == "hold"
