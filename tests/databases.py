"""Databases for the tests: the same test runs on SQLite and on PostgreSQL."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.audit.chain import AuditChain, seal_with
from service.audit.keys import load_keys
from service.database import Database
from service.encryption.opening import open_vault
from service.settings import Settings
from tests.conftest import unavailable
from tests.postgres import PostgresServer, PostgresUnavailableError, running_server

BOTH_DATABASES = ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL server with a migrated template database."""
    yield from _server()


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    """A server that a test may stop."""
    yield from _server()


def _server() -> Iterator[PostgresServer]:
    try:
        with running_server() as server:
            server.make_template()
            yield server
    except PostgresUnavailableError as error:
        unavailable("postgres", str(error))


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file to copy."""
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    database = Database(f"sqlite:///{path}")
    database.migrate()
    database.close()
    return path


@pytest.fixture(params=BOTH_DATABASES)
def database_address(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of a migrated, empty database: once SQLite, once PostgreSQL."""
    if request.param == "sqlite":
        template: Path = request.getfixturevalue("sqlite_template")
        shutil.copy(template, tmp_path / "oneperson.db")
        yield f"sqlite:///{tmp_path / 'oneperson.db'}"
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    with server.fresh() as address:
        yield address


@pytest.fixture
def database(database_address: str) -> Iterator[Database]:
    """A migrated, empty database with its keys at hand: once SQLite, once PostgreSQL."""
    opened = Database(database_address)
    seal_with(opened, AuditChain(load_keys(Settings())))
    open_vault(opened, Settings())  # The keys of `tests.conftest` are in the environment.
    yield opened
    opened.close()
