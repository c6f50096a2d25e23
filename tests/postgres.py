"""A PostgreSQL server of the tests' own, started from the installed binaries."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import psycopg
from psycopg import sql

from service.database import Database

SUPERUSER = "oneperson"
TEMPLATE = "oneperson_template"
START_TIMEOUT_S = 60
OPTIONS = {
    "listen_addresses": "",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "autovacuum": "off",
    "max_connections": "100",
    "shared_buffers": "32MB",
    "max_wal_size": "1GB",
    "log_min_messages": "fatal",
}


class PostgresUnavailableError(Exception):
    """The server cannot be started here; the message says why."""


class PostgresServer:
    """One cluster, reached by a Unix socket only."""

    def __init__(self, folder: Path, binaries: Path, account: pwd.struct_passwd | None) -> None:
        """Use an initialised folder; nothing runs yet.

        Args:
            folder: Holds the data and the socket.
            binaries: Holds `postgres`.
            account: Whom it runs as, None for ourselves.
        """
        self.folder = folder
        self._binaries = binaries
        self._account = account
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = count(1)

    def start(self) -> None:
        """Start, and wait until it answers.

        Raises:
            PostgresUnavailableError: It does not come up.
        """
        options = OPTIONS | {"unix_socket_directories": str(self.folder)}
        settings = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        command = [str(self._binaries / "postgres"), "-D", str(self.folder / "data"), *settings]
        self._process = _spawn(command, self.folder, self._account)
        deadline = time.monotonic() + START_TIMEOUT_S
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                psycopg.connect(host=str(self.folder), user=SUPERUSER, dbname="postgres").close()
            except psycopg.OperationalError:
                time.sleep(0.05)
            else:
                return
        self.stop()
        raise PostgresUnavailableError(f"the server does not come up: {_log_of(self.folder)}")

    def stop(self) -> None:
        """Ask for a fast shutdown; after a while insist."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def address(self, database: str) -> str:
        """Return the SQLAlchemy address of one of its databases."""
        return f"postgresql+psycopg://{SUPERUSER}@/{database}?host={self.folder}"

    def administer(self, statement: str, *names: str) -> None:
        """Run one statement outside a transaction, `{}` replaced by quoted names."""
        with psycopg.connect(
            host=str(self.folder), user=SUPERUSER, dbname="postgres", autocommit=True
        ) as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))

    def make_template(self) -> None:
        """Build the schema by migrations, once, in a database that others are copied from."""
        self.administer("CREATE DATABASE {}", TEMPLATE)
        database = Database(self.address(TEMPLATE))
        database.migrate()
        database.close()

    @contextmanager
    def fresh(self) -> Iterator[str]:
        """A migrated, empty database; yields its address and drops it afterwards."""
        name = f"oneperson_{next(self._numbers)}"
        self.administer("CREATE DATABASE {} TEMPLATE {}", name, TEMPLATE)
        try:
            yield self.address(name)
        finally:
            self.administer("DROP DATABASE {} WITH (FORCE)", name)


@contextmanager
def running_server() -> Iterator[PostgresServer]:
    """Start a server in a folder of its own; stop and remove it at the end.

    Raises:
        PostgresUnavailableError: No binaries, no account that it may run as, or it does not come up.
    """
    binaries = _binaries()
    account = _account()
    folder = Path(tempfile.mkdtemp(prefix="oneperson-pg-"))
    if account is not None:
        os.chown(folder, account.pw_uid, account.pw_gid)
    try:
        _initialise(binaries, folder, account)
        server = PostgresServer(folder, binaries, account)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _binaries() -> Path:
    """Find the folder with the newest server."""
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda p: float(p.parent.parent.name)
    )
    on_path = shutil.which("postgres")
    if not found and on_path is None:
        raise PostgresUnavailableError("PostgreSQL's server binaries (initdb, postgres) are not installed")
    return found[-1].parent if found else Path(str(on_path)).resolve().parent


def _account() -> pwd.struct_passwd | None:
    """Choose whom the server runs as: it refuses root, so as root take a service account."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise PostgresUnavailableError("run as root, and there is neither an account 'postgres' nor 'nobody'")


def _spawn(command: list[str], folder: Path, account: pwd.struct_passwd | None) -> subprocess.Popen[bytes]:
    log = (folder / "log").open("ab")
    try:
        return subprocess.Popen(
            command,
            cwd=folder,
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            user=None if account is None else account.pw_uid,
            group=None if account is None else account.pw_gid,
            extra_groups=None if account is None else [],
        )
    except OSError as error:
        raise PostgresUnavailableError(f"cannot start {command[0]}: {error}") from error
    finally:
        log.close()


def _initialise(binaries: Path, folder: Path, account: pwd.struct_passwd | None) -> None:
    command = [str(binaries / "initdb"), "-D", str(folder / "data"), "-U", SUPERUSER, "-A", "trust"]
    process = _spawn([*command, "-E", "UTF8", "--locale=C", "--no-sync"], folder, account)
    if process.wait(START_TIMEOUT_S) != 0:
        raise PostgresUnavailableError(f"initdb failed: {_log_of(folder)}")


def _log_of(folder: Path) -> str:
    log = folder / "log"
    return log.read_text(errors="replace")[-500:].strip() if log.exists() else ""
