"""What the service's tests stand on: both databases, settings, the application and its callers."""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient
from pydantic import SecretStr

from service.app import create_app
from service.auth.policy import ANYBODY, POLICY
from service.auth.service import Role, Scope, add_client, add_officer
from service.database import Database
from service.logs import configure_logging
from service.settings import Settings

SQLITE_ONLY = pytest.mark.parametrize("database_address", ["sqlite"], indirect=True)
"""For tests that ask nothing of the database."""

ClientKeys = Callable[..., str]
"""Makes a client that holds the given scopes (default: all) and returns its key."""

OfficerKeys = Callable[..., str]
"""Makes an officer by login, role and division_code, and returns their key."""


@pytest.fixture(scope="session", autouse=True)
def _logs() -> None:
    """Log as the service does: without configuration structlog draws long pictures of every exception."""
    configure_logging("info", "json")


def make_settings(data_dir: Path, address: str, pack: Path) -> Settings:
    """Settings of a service with its own data folder and database."""
    return Settings(
        data_dir=data_dir,
        database_url=SecretStr(address),
        pack=str(pack),
        threads=2,
        gallery_backend="exact",
        language="en",
    )


@pytest.fixture
def settings(tmp_path: Path, database_address: str, synthetic_pack_dir: Path) -> Settings:
    """Settings of a service that has its own data folder and database."""
    return make_settings(tmp_path / "var", database_address, synthetic_pack_dir)


@pytest.fixture(scope="session")
def lasting_client(
    tmp_path_factory: pytest.TempPathFactory, synthetic_pack_dir: Path
) -> Iterator[TestClient]:
    """One application on SQLite for all tests that leave nothing behind; its key is in every request."""
    folder = tmp_path_factory.mktemp("lasting")
    address = f"sqlite:///{folder / 'oneperson.db'}"
    with TestClient(
        create_app(make_settings(folder / "var", address, synthetic_pack_dir)),
        raise_server_exceptions=False,
    ) as opened:
        database: Database = opened.app.state.database  # type: ignore[attr-defined]  # typed as any ASGI application
        with database.write() as session:
            _, key = add_client(session, "lasting", scopes=frozenset(Scope))
        opened.headers["Authorization"] = f"Bearer {key}"
        yield opened


@pytest.fixture(autouse=True)
def _rows_for_tests(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let tests add addresses of their own: without a row in the policy nobody could reach them."""
    if not request.node.path.name.startswith("test_role_table"):
        for path in ("/wait", "/failing", "/broken", "/raise", "/raise/data", "/half", "/id"):
            monkeypatch.setitem(POLICY, f"GET {path}", ANYBODY)


@pytest.fixture
def app(settings: Settings) -> FastAPI:
    """The application, not started yet."""
    return create_app(settings)


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    """Real requests against the running application, in this process."""
    with TestClient(app, raise_server_exceptions=False) as opened:
        yield opened


@pytest.fixture
def client_key(database: Database) -> ClientKeys:
    """Make clients: `client_key("persons", "checks")` returns a key with these scopes."""

    def make(*scopes: str, name: str = "") -> str:
        with database.write() as session:
            chosen = frozenset(map(Scope, scopes or Scope))
            return add_client(session, name or f"client-{os.urandom(4).hex()}", scopes=chosen)[1]

    return make


@pytest.fixture
def officer_key(database: Database) -> OfficerKeys:
    """Make officers: `officer_key("zhang", role="supervisor", division_code="530100")` returns a key."""

    def make(login: str = "", *, role: str = "officer", division_code: str = "530000") -> str:
        with database.write() as session:
            chosen = login or f"officer-{os.urandom(4).hex()}"
            return add_officer(session, chosen, name=chosen, role=Role(role), division_code=division_code)[1]

    return make


@pytest.fixture
def headers(client_key: ClientKeys) -> dict[str, str]:
    """The header of a client that may do everything a client can."""
    return {"Authorization": f"Bearer {client_key()}"}


@pytest.fixture
def live(app: FastAPI) -> Iterator[str]:
    """The application behind the real server on a port of its own; gives its address."""
    from scripts.serve import server_config

    server = uvicorn.Server(server_config(app))
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    deadline = time.monotonic() + 30
    while not server.started and thread.is_alive() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert server.started
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join(30)
    assert not thread.is_alive()
