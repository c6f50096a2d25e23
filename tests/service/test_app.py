"""The application as a whole: it starts, stays reachable, and closes."""

import threading
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from service.app import SPARE_THREADS, create_app
from service.errors import DatabaseUnavailableError, SettingsError
from service.settings import Settings
from service.startup import is_open, opened
from tests.service.conftest import SQLITE_ONLY


def test_the_application_starts_and_is_ready(client: TestClient) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    answer = client.get("/readyz")
    assert answer.status_code == 200, answer.json()
    report = answer.json()
    assert report["ready"] is True
    assert set(report["parts"]) == {
        "database",
        "schema",
        "encryption",
        "pack",
        "portrait_store",
        "clock",
        "gallery:flagged",
        "gallery:registered",
    }


@SQLITE_ONLY
@pytest.mark.enable_socket
def test_liveness_is_answered_while_every_thread_is_busy(app: FastAPI, settings: Settings, live: str) -> None:
    release = threading.Event()

    @app.get("/wait")
    def wait() -> None:
        release.wait(30)

    callers = settings.threads + settings.queue_limit + SPARE_THREADS + 10
    with ThreadPoolExecutor(callers) as pool:
        waiting = [pool.submit(httpx2.get, f"{live}/wait", timeout=60) for _ in range(callers)]
        try:
            assert httpx2.get(f"{live}/healthz", timeout=10).status_code == 200
        finally:
            release.set()
        assert {answer.result().status_code for answer in waiting} == {200}


@SQLITE_ONLY
def test_what_the_entry_point_opened_is_used_and_left_open(app: FastAPI) -> None:
    with opened(app):
        database = app.state.database
        with TestClient(app) as client:
            assert client.get("/readyz").status_code == 200
            assert app.state.database is database
        assert is_open(app)
    assert not is_open(app)


@SQLITE_ONLY
def test_an_application_can_be_opened_again(app: FastAPI) -> None:
    for _ in range(2):
        with TestClient(app) as client:
            assert client.get("/readyz").status_code == 200
        assert not is_open(app)


@SQLITE_ONLY
@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"pack": "no-such-pack"}, SettingsError),
        ({"codes_file": "no-such-file.toml"}, SettingsError),
        ({"database_url": "postgresql+psycopg://x@127.0.0.1:1/x"}, DatabaseUnavailableError),
    ],
)
def test_what_cannot_be_opened_is_told_and_nothing_stays_open(
    changes: dict[str, str], error: type[Exception], settings: Settings
) -> None:
    changed = Settings.model_validate(settings.model_dump() | changes)
    app = create_app(changed)
    with pytest.raises(error), opened(app):
        pytest.fail("it opened")
    assert not is_open(app)
