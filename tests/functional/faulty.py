"""A served installation, and the faults that are done to it: real ones, from outside its process."""

import resource
import socket
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx

from scripts.installation import Installation, Serving
from tests.functional.callers import Caller
from tests.synthetic import synthetic_portrait

PATIENCE_S = 60.0
"""Seconds until the service must have noticed something, however busy the machine is."""

DISK_BYTES = 64 * 2**20
"""Size of the disk that is filled: SQLite must find 16 MiB free."""

STRANGER = synthetic_portrait(900)
"""Of somebody who is never enrolled, and resembles nobody who is."""


class Site:
    """An installation whose service runs, with a caller who holds a key."""

    def __init__(self, folder: Path, pack: Path, settings: Mapping[str, str] | None = None) -> None:
        """Start the service and enrol two persons, of whom the second is registered twice."""
        self.installation = Installation(folder, pack=str(pack), settings=settings)
        self.key = self.installation.add_client("persons", "checks")
        self.service: Serving = self.installation.start()
        self.caller = Caller(self.service.address, self.key)
        self._number = 0
        for person_id, face, shot in (("P1", 1, 0), ("P2", 2, 0), ("P2-again", 2, 1)):
            self.caller.put_person(person_id, synthetic_portrait(face, shot))

    @property
    def data_dir(self) -> Path:
        """Everything that the service writes."""
        return self.installation.data_dir

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.data_dir / "oneperson.db"

    def restart(self) -> None:
        """Start the service again after it was stopped or killed."""
        self.caller.close()
        self.service = self.installation.start()
        self.caller = Caller(self.service.address, self.key)

    def close(self) -> None:
        """Stop the service."""
        self.caller.close()
        self.service.stop()

    def log(self) -> str:
        """What the running service has written."""
        return self.service.log.read_text("utf-8", "replace")

    def transaction(self) -> str:
        """A number that was never used."""
        self._number += 1
        return f"T{self._number}"

    def check(self, face: int | None = None, **wanted: Any) -> httpx.Response:
        """Ask about somebody new: a stranger, or who has this face."""
        picture = STRANGER if face is None else synthetic_portrait(face, 5)
        sent = None if "person_id" in wanted else picture
        return self.caller.send_check(self.transaction(), sent, **wanted)

    def parts(self) -> dict[str, dict[str, Any]]:
        """What the service says of its parts."""
        answer = httpx.get(f"{self.service.address}/readyz", timeout=PATIENCE_S, trust_env=False)
        report = answer.json()
        assert answer.status_code == (200 if report["ready"] else 503)
        found: dict[str, dict[str, Any]] = report["parts"]
        return found

    def unready(self) -> set[str]:
        """The parts that are not ready."""
        return {name for name, part in self.parts().items() if not part["ready"]}

    def is_alive(self) -> bool:
        """Tell whether what needs nothing is answered."""
        paths = ("/healthz", "/metrics")
        return all(
            httpx.get(self.service.address + path, timeout=PATIENCE_S, trust_env=False).is_success
            for path in paths
        )

    def until_unready(self, expected: set[str]) -> dict[str, dict[str, Any]]:
        """Wait until just these parts are not ready, and return what is said of all."""
        until(lambda: self.unready() == expected)
        return self.parts()

    def assert_whole(self) -> None:
        """Everything is ready, and checks find who is enrolled and nobody else."""
        until(lambda: not self.unready())
        assert self.check().json()["instruction"] == "proceed"
        found = self.check(2).json()
        assert found["instruction"] == "hold"
        assert {one["person_id"] for one in found["candidates"]} == {"P2", "P2-again"}


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that must come."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.1)


def assert_no_answer(answer: httpx.Response, code: str) -> None:
    """The answer decides nothing, and says when to ask again."""
    assert answer.status_code == 503, answer.text
    assert answer.json()["type"] == f"/problems/{code}"
    assert int(answer.headers["retry-after"]) > 0
    assert not answer.json().keys() & {"instruction", "outcome", "candidates", "check_id"}


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """Put a small disk in the place of a folder, where we may; tell whether that was done."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=700", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        done = False
    try:
        yield done
    finally:
        if done:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def full_disk(site: Site, *, is_mounted: bool) -> Iterator[None]:
    """Fill the disk; where none could be mounted, let the system refuse every longer file of the process."""
    if is_mounted:
        filler = site.data_dir / "filler"
        try:
            _fill(filler)
            yield
        finally:
            filler.unlink()
        return
    pid = site.service.process.pid
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


def _fill(path: Path) -> None:
    """Write until there is no room for one byte more."""
    with path.open("wb", buffering=0) as file:
        for size in (2**20, 4096, 1):
            with suppress(OSError):
                while True:
                    file.write(bytes(size))


@contextmanager
def locked(database: Path) -> Iterator[None]:
    """Hold SQLite's write lock, as somebody's forgotten transaction does."""
    connection = sqlite3.connect(database, isolation_level=None, timeout=PATIENCE_S)
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")
    finally:
        connection.close()


@contextmanager
def moved_away(folder: Path, *, empty_in_its_place: bool) -> Iterator[None]:
    """Take a folder away, as a share that is not mounted: without it, or with its empty mount point."""
    elsewhere = folder.with_name(f"{folder.name}-elsewhere")
    folder.rename(elsewhere)
    if empty_in_its_place:
        folder.mkdir()
    try:
        yield
    finally:
        if empty_in_its_place:
            folder.rmdir()  # Fails if anything was put there.
        elsewhere.rename(folder)


def flip(path: Path, at: int = -20) -> None:
    """Change one bit of a file."""
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


class Receiver:
    """A receiver of notices that takes connections and says nothing, until it is told to answer."""

    def __init__(self) -> None:
        """Listen."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._answering = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        self.hung = threading.Event()

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def answer(self) -> None:
        """Take notices from now on."""
        self._answering.set()

    def close(self) -> None:
        """Listen no more."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(PATIENCE_S)

    def _serve(self) -> None:
        hanging = []
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                break
            if self._answering.is_set():
                with connection, suppress(OSError):
                    connection.recv(65536)
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            else:
                hanging.append(connection)
                self.hung.set()
        for connection in hanging:
            connection.close()


def write_targets(path: Path, address: str) -> None:
    """Write the file that names the receiver, for nobody else to read."""
    lines = ["[[target]]", 'name = "population"', f'url = "{address}/notices"', f'secrets = ["{"5e" * 32}"]']
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")
    path.chmod(0o600)
