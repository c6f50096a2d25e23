"""The database: engine, transactions and migrations."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.orm import Session

from service.errors import DatabaseUnavailableError, SettingsError

MIGRATIONS = Path(__file__).parent / "migrations"

BUSY_TIMEOUT_S = 20
"""Seconds that a writer waits for SQLite's one write lock before it gives up."""


class Database:
    """Opens transactions; the rest of the service never commits."""

    def __init__(self, address: str) -> None:
        """Prepare an engine; nothing is connected yet.

        Args:
            address: SQLAlchemy URL, `sqlite:///…` or `postgresql+psycopg://…`.

        Raises:
            SettingsError: No address, or another kind of database.
        """
        url = _parsed(address)
        self.info: dict[str, Any] = {}  # What every session carries; the vault puts itself here.
        self.before_write: Callable[[], None] | None = None
        self.before_commit: Callable[[Session], None] | None = None  # The audit log is kept by it.
        if url.get_backend_name() == "sqlite":
            self.engine = _sqlite_engine(url)
            self._reading = self.engine.execution_options(oneperson_read_only=True)
        else:
            self.engine = _postgres_engine(url)
            self._reading = self.engine.execution_options(isolation_level="REPEATABLE READ")

    @contextmanager
    def write(self) -> Iterator[Session]:
        """One transaction: committed at the end, rolled back on any error.

        Raises:
            DatabaseUnavailableError: The database is away, locked for too long or full.
        """
        if self.before_write is not None:
            self.before_write()  # What it needs of the database cannot be had within the transaction.
        with self.write_unprepared() as session:
            yield session

    @contextmanager
    def write_unprepared(self) -> Iterator[Session]:
        """One transaction as `write`, for what `before_write` itself writes."""
        with (
            _availability(),
            Session(self.engine, expire_on_commit=False, info=self.info) as session,
            session.begin(),
        ):
            yield session
            if self.before_commit is not None:
                self.before_commit(session)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """One consistent view; whatever is changed in it is dropped.

        Raises:
            DatabaseUnavailableError: The database is away.
        """
        engine = self._reading
        with _availability(), Session(engine, expire_on_commit=False, info=self.info) as session:
            yield session
            session.expunge_all()  # What was read stays readable; a rollback would expire it.

    def migrate(self) -> None:
        """Bring the schema to the newest revision; does nothing when it is."""
        with _availability(), self.engine.begin() as connection:
            command.upgrade(_alembic(connection), "head")

    def migrate_within(self, session: Session, revision: str) -> None:
        """Bring an empty schema to a revision in a running transaction; `head` is the newest.

        Tables that are there already are dropped first unless the newest is wanted.
        """
        connection = session.connection()
        if revision != "head" and MigrationContext.configure(connection).get_current_revision() is not None:
            command.downgrade(_alembic(connection), "base")
        command.upgrade(_alembic(connection), revision)

    def forget_deleted(self) -> None:
        """Have SQLite empty its write-ahead log, so that no bytes of the past stay in it."""
        if self.engine.dialect.name == "sqlite":
            with _availability(), self.engine.connect() as connection:
                connection.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def revision(self) -> str | None:
        """Return the schema revision that the database is at."""
        with _availability(), self.engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision()

    def is_current(self) -> bool:
        """Tell whether the schema is at the newest revision."""
        return self.revision() == ScriptDirectory(str(MIGRATIONS)).get_current_head()

    def close(self) -> None:
        """Close all pooled connections."""
        self.engine.dispose()


@contextmanager
def _availability() -> Iterator[None]:
    """Turn a driver's failure to reach or lock the database into ours."""
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        kind = type(error.orig).__name__ if error.orig is not None else "connection"
        raise DatabaseUnavailableError(
            f"The database cannot be used now ({kind}); try again, and see its log."
        ) from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise DatabaseUnavailableError("The connection to the database was lost; try again.") from error
        if type(error.orig) is sqlite3.DatabaseError:
            raise DatabaseUnavailableError(
                "The SQLite file is damaged or not a database; restore it from a backup."
            ) from error
        raise


def _parsed(address: str) -> URL:
    try:
        return make_url(address)
    except (ArgumentError, ValueError):  # Their messages repeat the address, which holds a password.
        raise SettingsError(
            "ONEPERSON_DATABASE_URL: not an address; write postgresql+psycopg://USER:PASSWORD@HOST/NAME "
            "or sqlite:///PATH"
        ) from None


def _alembic(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    return config


def _sqlite_engine(url: URL) -> Engine:
    if url.database and url.database != ":memory:":
        Path(url.database).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    engine = create_engine(
        url,
        connect_args={"timeout": BUSY_TIMEOUT_S, "check_same_thread": False},
        hide_parameters=True,
    )

    @event.listens_for(engine, "connect")
    def on_connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # We say BEGIN ourselves, below.
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        # A deferred transaction that turns into a writer can fail at once when
        # another wrote meanwhile; one that begins as a writer waits instead.
        read_only = connection.get_execution_options().get("oneperson_read_only", False)
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    return engine


def _postgres_engine(url: URL) -> Engine:
    if url.drivername != "postgresql+psycopg":
        raise SettingsError(
            f"ONEPERSON_DATABASE_URL: {url.drivername} is not supported; use sqlite or postgresql+psycopg"
        )
    return create_engine(
        url,
        hide_parameters=True,  # Names and document numbers stay out of messages.
        pool_size=10,
        max_overflow=10,
        pool_pre_ping=True,
        pool_timeout=10,
        connect_args={"connect_timeout": 5},
    )
