"""The database: transactions, migrations and what happens when it is away."""

from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import inspect, select, text
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from service.database import Database, _alembic
from service.errors import DatabaseUnavailableError, SettingsError
from service.tables import Base, Client
from tests.postgres import PostgresServer


def test_migrations_equal_the_tables(database: Database) -> None:
    with database.engine.begin() as connection:
        command.check(_alembic(connection))


def test_migrations_can_be_taken_back_and_applied_again(database: Database) -> None:
    with database.engine.begin() as connection:
        command.downgrade(_alembic(connection), "base")
    assert database.revision() is None
    with database.engine.connect() as connection:
        assert set(inspect(connection).get_table_names()) <= {"alembic_version"}
    assert not database.is_current()
    database.migrate()
    assert database.is_current()
    with database.engine.connect() as connection:
        assert set(Base.metadata.tables) < set(inspect(connection).get_table_names())


def test_migrating_twice_does_nothing(database: Database) -> None:
    before = database.revision()
    database.migrate()
    assert database.revision() == before is not None


def test_a_failed_transaction_leaves_nothing(database: Database) -> None:
    def fail() -> None:
        with database.write() as session:
            session.add(Client(name="population", scopes=["checks"]))
            session.flush()
            raise RuntimeError("the endpoint failed")

    with pytest.raises(RuntimeError, match="the endpoint failed"):
        fail()
    with database.read() as session:
        assert session.scalars(select(Client)).all() == []


def test_a_view_changes_nothing(database: Database) -> None:
    with database.read() as session:
        session.add(Client(name="population", scopes=["checks"]))
    with database.read() as session:
        assert session.scalars(select(Client)).all() == []


def test_a_view_does_not_see_what_is_committed_meanwhile(database: Database) -> None:
    with database.read() as view:
        assert view.scalars(select(Client.name)).all() == []
        with database.write() as session:
            session.add(Client(name="population", scopes=["checks"]))
        assert view.scalars(select(Client.name)).all() == []
    with database.read() as view:
        assert view.scalars(select(Client.name)).all() == ["population"]


@pytest.mark.postgres
def test_a_postgres_server_that_is_away_is_named_as_such(postgres_server: PostgresServer) -> None:
    database = Database(f"postgresql+psycopg://nobody@/nothing?host={postgres_server.folder / 'elsewhere'}")
    with pytest.raises(DatabaseUnavailableError, match="cannot be used now"):
        database.revision()
    database.close()


def test_a_damaged_sqlite_file_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    path = tmp_path / "oneperson.db"
    path.write_bytes(b"not a database" * 100)
    database = Database(f"sqlite:///{path}")
    with pytest.raises(DatabaseUnavailableError):
        database.migrate()
    database.close()
    assert path.read_bytes().startswith(b"not a database")


def test_other_databases_are_refused_by_name() -> None:
    with pytest.raises(SettingsError, match="mysql"):
        Database("mysql+pymysql://localhost/oneperson")


@pytest.mark.parametrize(
    "database_address", [pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True
)
def test_a_database_that_only_reads_is_named_as_such(database: Database) -> None:
    database.check_writable()
    with database.engine.begin() as connection:
        name = connection.exec_driver_sql("SELECT current_database()").scalar()
        connection.exec_driver_sql(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    database.close()
    with pytest.raises(DatabaseUnavailableError, match="only reads"):
        database.check_writable()
    with pytest.raises(DatabaseUnavailableError, match="only reads"), database.write() as session:
        session.add(Client(name="population", scopes=["checks"]))


def test_more_callers_than_connections_are_told_to_come_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database.engine.pool, "_timeout", 0.1)
    with ExitStack() as stack:
        with suppress(PoolTimeoutError):
            for _ in range(100):
                stack.enter_context(database.engine.connect())
        with pytest.raises(DatabaseUnavailableError, match="in use"):
            database.revision()
        if database.engine.dialect.name == "sqlite":
            database.check_writable()  # It has a connection of its own.
    database.check_writable()


def test_a_connection_in_use_while_the_database_is_closed_is_closed_when_it_comes_back(
    database: Database,
) -> None:
    with database.read() as session:
        raw = session.connection().connection.dbapi_connection
        assert raw is not None
        database.close()
        assert session.scalar(text("SELECT 1")) == 1
    with pytest.raises(Exception, match="closed"):
        raw.cursor().execute("SELECT 1")
    with database.read() as session:
        assert session.scalar(text("SELECT 1")) == 1
