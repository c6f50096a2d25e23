"""The database: engine, transactions and migrations."""

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session

from service.errors import DatabaseUnavailableError, SettingsError
from service.part_times import timed

MIGRATIONS = Path(__file__).parent / "migrations"

BUSY_TIMEOUT_S = 20
"""Seconds that a writer waits for SQLite's one write lock before it gives up."""

SQLITE_CONNECTIONS = 15
"""Connections to an SQLite file, all kept: opening one costs as much as fifty small reads."""

LOCK_TIMEOUT_S = 30
"""Seconds that a statement waits for a row of PostgreSQL: as long as a check may take as delivered."""

LOCKED_S = 3
"""Seconds after which somebody who asks whether SQLite can be written is told that it is locked: our own
transactions hold the lock for some hundredths of a second, a part of an import for a second."""

LEAST_FREE_BYTES = 16 * 2**20
"""What SQLite's disk must have free: SQLite's log grows to 4 MB before it is copied into the file."""

LOST_AFTER = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}
"""Options of libpq: a server that vanished from the network is noticed within half a minute; the system's own
limits would be hours."""

DAMAGED = "The SQLite file is damaged or not a database; restore it from a backup."

READ_ONLY_STATE = "25006"
"""PostgreSQL's code for a write to a server that only reads, as a standby does (its manual, appendix A)."""


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
            timed("database"),
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
        with (
            timed("database"),
            _availability(),
            Session(engine, expire_on_commit=False, info=self.info) as session,
        ):
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
        with _availability(), self._reading.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision()

    def check_writable(self) -> None:
        """Prove that a transaction could be written now, without writing one.

        Raises:
            DatabaseUnavailableError: The database is away, locked, full or only reads.
        """
        if self.engine.dialect.name == "sqlite":
            _check_sqlite(self.engine)
            return
        with _availability(), self.engine.connect() as connection:
            if connection.exec_driver_sql("SHOW transaction_read_only").scalar() == "on":
                raise DatabaseUnavailableError("The database only reads: it is a standby, or set so.")

    def is_current(self) -> bool:
        """Tell whether the schema is at the newest revision."""
        return self.revision() == ScriptDirectory(str(MIGRATIONS)).get_current_head()

    def close(self) -> None:
        """Close all pooled connections; one that a thread still uses is closed when it is given back."""
        event.listen(self.engine.pool, "checkin", _close_returned)
        self.engine.dispose()


def _close_returned(_connection: Any, record: Any) -> None:
    """Close a connection that comes back after the pool was closed: nobody would use it again."""
    record.invalidate()


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
    except PoolTimeoutError as error:
        raise DatabaseUnavailableError("All connections to the database are in use; try again.") from error
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) == READ_ONLY_STATE:
            raise DatabaseUnavailableError("The database only reads: it is a standby, or set so.") from error
        if error.connection_invalidated:
            raise DatabaseUnavailableError("The connection to the database was lost; try again.") from error
        if type(error.orig) is sqlite3.DatabaseError:
            raise DatabaseUnavailableError(DAMAGED) from error
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
    kept: dict[str, Any] = {}
    if url.database and url.database != ":memory:":
        Path(url.database).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        kept = {"pool_size": SQLITE_CONNECTIONS, "max_overflow": 0}
    engine = create_engine(
        url,
        **kept,
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


def _check_sqlite(engine: Engine) -> None:
    """Take the write lock for a moment, and look at the disk.

    Raises:
        DatabaseUnavailableError: The lock cannot be had soon, or the disk is full.
    """
    path = engine.url.database
    path = None if path == ":memory:" else path
    if path:
        try:
            free = shutil.disk_usage(Path(path).parent).free
        except OSError as error:
            raise DatabaseUnavailableError(f"The database's folder is away ({error.strerror}).") from error
        if free < LEAST_FREE_BYTES:
            raise DatabaseUnavailableError(f"The database's disk is full: {free // 2**20} MB are left.")
    address = f"file:{quote(path)}?mode=rw" if path else ":memory:"
    try:
        # Not one of the pool's: all of those may be waiting for the lock.
        with closing(sqlite3.connect(address, timeout=LOCKED_S, isolation_level=None, uri=True)) as own:
            own.execute("BEGIN IMMEDIATE")
            own.execute("ROLLBACK")
    except sqlite3.OperationalError as error:
        raise DatabaseUnavailableError(f"The database cannot be written now: {error}.") from error
    except sqlite3.DatabaseError as error:
        raise DatabaseUnavailableError(DAMAGED) from error


def _postgres_engine(url: URL) -> Engine:
    if url.drivername != "postgresql+psycopg":
        raise SettingsError(
            f"ONEPERSON_DATABASE_URL: {url.drivername} is not supported; use sqlite or postgresql+psycopg"
        )
    wanted = {"connect_timeout": 5} | LOST_AFTER
    engine = create_engine(
        url,
        hide_parameters=True,  # Names and document numbers stay out of messages.
        pool_size=10,
        max_overflow=10,
        pool_pre_ping=True,
        pool_timeout=10,
        connect_args={name: value for name, value in wanted.items() if name not in url.query},
    )

    @event.listens_for(engine, "connect")
    def on_connect(connection: Any, _record: Any) -> None:
        connection.execute(f"SET lock_timeout = '{LOCK_TIMEOUT_S}s'")
        connection.commit()

    return engine
