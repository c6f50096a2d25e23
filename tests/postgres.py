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
    """One running cluster, reached by a Unix socket only."""

    def __init__(self, folder: Path) -> None:
        """Remember where the socket is."""
        self.folder = folder
        self._numbers = count(1)

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
        process = _start(binaries, folder, account)
        try:
            yield PostgresServer(folder)
        finally:
            _stop(process)
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


def _start(binaries: Path, folder: Path, account: pwd.struct_passwd | None) -> subprocess.Popen[bytes]:
    options = OPTIONS | {"unix_socket_directories": str(folder)}
    settings = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
    process = _spawn([str(binaries / "postgres"), "-D", str(folder / "data"), *settings], folder, account)
    deadline = time.monotonic() + START_TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            psycopg.connect(host=str(folder), user=SUPERUSER, dbname="postgres").close()
        except psycopg.OperationalError:
            time.sleep(0.05)
        else:
            return process
    _stop(process)
    raise PostgresUnavailableError(f"the server does not come up: {_log_of(folder)}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask for a fast shutdown; the whole folder is thrown away, so after a while insist."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _log_of(folder: Path) -> str:
    log = folder / "log"
    return log.read_text(errors="replace")[-500:].strip() if log.exists() else ""
