"""Liveness and readiness, also when something is away."""

import shutil
from contextlib import suppress
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import text

from service import health
from service.app import create_app
from service.database import Database
from service.health import Readiness
from service.settings import Settings
from tests.postgres import PostgresServer
from tests.service.conftest import SQLITE_ONLY, make_settings


def parts(client: TestClient) -> dict[str, dict[str, object]]:
    answer = client.get("/readyz")
    report = answer.json()
    assert answer.status_code == (200 if report["ready"] else 503)
    assert report["ready"] is all(part["ready"] for part in report["parts"].values())
    found: dict[str, dict[str, object]] = report["parts"]
    return found


def unready(client: TestClient) -> set[str]:
    return {name for name, part in parts(client).items() if not part["ready"]}


def put_in_place_of(path: Path, content: bytes) -> None:
    """Put a file where another or a folder is, whatever the service's workers do there meanwhile.

    A connection that one of them still has then writes into the file that was there.
    """
    fresh = path.with_name("fresh")
    fresh.write_bytes(content)
    while path.is_dir() or fresh.exists():
        shutil.rmtree(path, ignore_errors=True)
        with suppress(OSError):  # The folder was made again.
            fresh.replace(path)


@pytest.fixture(autouse=True)
def _always_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "AGE_S", 0.0)


def test_everything_is_named_and_ready(client: TestClient) -> None:
    assert parts(client).keys() == {
        "database",
        "schema",
        "encryption",
        "pack",
        "portrait_store",
        "clock",
        "gallery:flagged",
        "gallery:registered",
    }
    assert unready(client) == set()


def test_an_older_schema_is_not_ready(client: TestClient, database: Database) -> None:
    with database.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '0000'"))
    assert unready(client) == {"schema"}
    assert "oneperson migrate" in str(parts(client)["schema"]["detail"])


@SQLITE_ONLY
def test_a_portrait_store_that_cannot_be_written_is_not_ready(client: TestClient, settings: Settings) -> None:
    put_in_place_of(settings.portraits_dir, b"a file where the folder should be")
    assert unready(client) == {"portrait_store"}
    assert client.get("/healthz").status_code == 200


@SQLITE_ONLY
def test_a_damaged_database_makes_everything_on_it_unready(client: TestClient, settings: Settings) -> None:
    client.app.state.database.close()  # type: ignore[attr-defined]  # typed as any ASGI application
    path = Path(settings.database_address.removeprefix("sqlite:///"))
    for beside in path.parent.glob(f"{path.name}-*"):
        beside.unlink()
    put_in_place_of(path, b"garbage" * 1000)
    assert unready(client) == {
        "database",
        "schema",
        "encryption",
        "gallery:flagged",
        "gallery:registered",
    }
    answer = client.get("/v1/persons/P1", headers={"Authorization": "Bearer op_1_2"})
    assert answer.status_code == 503
    assert answer.json()["type"] == "/problems/database-unavailable"


@SQLITE_ONLY
def test_an_answer_is_reused_for_a_moment(
    app: FastAPI, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "AGE_S", 60.0)
    readiness = Readiness(app)
    first = readiness.report()
    assert readiness.report() is first
    monkeypatch.setattr(health, "AGE_S", 0.0)
    assert readiness.report() is not first


@pytest.mark.postgres
def test_a_database_that_goes_away_and_comes_back(
    own_server: PostgresServer, tmp_path: Path, synthetic_pack_dir: Path
) -> None:
    with own_server.fresh() as address:
        settings = make_settings(tmp_path / "var", address, synthetic_pack_dir)
        with TestClient(create_app(settings), raise_server_exceptions=False) as client:
            assert unready(client) == set()
            own_server.stop()
            assert unready(client) == {
                "database",
                "schema",
                "encryption",
                "gallery:flagged",
                "gallery:registered",
            }
            away = client.get("/v1/persons/P1", headers={"Authorization": "Bearer op_1_2"})
            assert away.status_code == 503
            assert away.json()["type"] == "/problems/database-unavailable"
            assert away.headers["retry-after"]
            assert client.get("/healthz").status_code == 200
            own_server.start()
            assert unready(client) == set()
            back = client.get("/v1/persons/P1", headers={"Authorization": "Bearer op_1_2"})
            assert back.status_code == 401
