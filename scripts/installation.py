"""A scratch installation, worked by the product's own commands in processes of their own."""

import csv
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import IO

import httpx

from scripts.failures import CommandError

STARTING_S = 300.0
"""Seconds that a service may take until it is ready: a cold start on a busy machine."""

STOPPING_S = 60.0

COLUMNS = (
    "person_id",
    "citizen_id_number",
    "name",
    "sex",
    "birth_date",
    "ethnicity",
    "division_code",
    "level_code",
    "category",
    "portrait",
)
"""Of an import file; the contract with the population system."""

STORAGE = frozenset(
    f"ONEPERSON_{name}"
    for name in (
        "DATA_DIR",
        "DATABASE_URL",
        "FILES_URL",
        "ENCRYPTION_KEY_FILE",  # 'oneperson key add' writes to it.
        "AUDIT_KEY_FILE",
        "AUDIT_ANCHORS",  # Anchors of two audit logs in one file would look like damage.
        "AUDIT_ARCHIVE_DIR",
        "ERASURES",
        "GALLERY_BACKEND",  # Collections on a server belong to the real galleries.
        "MILVUS_URI",
        "WEBHOOKS_FILE",  # Nobody real is to be told of invented cases.
    )
)
"""Settings that name a place where a real installation keeps something, or whom it tells."""


class Installation:
    """A data folder of its own, with settings of its own."""

    def __init__(
        self,
        folder: Path,
        *,
        pack: str | None = None,
        target_fpir: float | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """Choose the folder and the settings; others are taken from the environment.

        Args:
            folder: Made if missing; holds the data folder, logs and import files.
            pack: Name or directory of the model pack, None for the one in the settings.
            target_fpir: Target false-alarm rate, None for the one in the settings.
            settings: Further settings by their full names.
        """
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self._numbers = count(1)
        kept = {name: value for name, value in os.environ.items() if not _is_storage(name)}
        self._environment = kept | {"ONEPERSON_DATA_DIR": str(self.data_dir)} | dict(settings or {})
        if pack is not None:
            place = Path(pack)
            self._environment["ONEPERSON_PACK"] = str(place.absolute()) if place.is_dir() else pack
        if target_fpir is not None:
            self._environment["ONEPERSON_TARGET_FPIR"] = repr(target_fpir)

    @property
    def data_dir(self) -> Path:
        """The folder of everything that the service writes."""
        return self.folder / "var"

    def import_portraits(self, rows: Sequence[Mapping[str, str]], portraits: Path) -> None:
        """Write an import file and run `oneperson import`; records that are not taken are no failure.

        Raises:
            CommandError: The import could not run.
        """
        done = self.run("import", str(self.write_rows(rows)), "--portraits", str(portraits))
        if done.returncode not in (0, 1):
            raise CommandError(f"the import failed: {done.stdout[-500:]}")

    def write_rows(self, rows: Sequence[Mapping[str, str]]) -> Path:
        """Write an import file; columns that a row does not name are left empty."""
        path = self.folder / "import.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS, restval="")
            writer.writeheader()
            writer.writerows(rows)
        return path

    def add_client(self, *scopes: str) -> str:
        """Make a client and return its key.

        Raises:
            CommandError: The command failed.
        """
        wanted = [part for scope in scopes for part in ("--scope", scope)]
        added = self.run("client", "add", f"client-{time.time_ns()}", *wanted)
        key = re.search(r"op_[0-9a-f]+_\S+", added.stdout)
        if key is None:
            raise CommandError(f"no client could be added: {added.stdout[-500:]}")
        return key[0]

    def start(self) -> "Serving":
        """Run `oneperson serve` and wait until it is ready.

        Raises:
            CommandError: It did not become ready.
        """
        log = self.folder / f"serve-{next(self._numbers)}.log"
        with log.open("wb") as out:
            process = self.begin("serve", "--port", "0", out=out)
        try:
            return Serving(process, _ready_address(process, log), log)
        except BaseException:
            process.kill()
            process.wait()
            raise

    @contextmanager
    def serving(self) -> Iterator[tuple[str, str]]:
        """Run `oneperson serve` and yield its address and a fresh client's key.

        Raises:
            CommandError: It did not become ready.
        """
        key = self.add_client("persons", "checks")
        service = self.start()
        try:
            yield service.address, key
        finally:
            service.stop()

    def begin(self, *arguments: str, out: IO[bytes]) -> "subprocess.Popen[bytes]":
        """Start a command and return its process; what it writes goes to a file."""
        return subprocess.Popen(_command(arguments), env=self._environment, stdout=out, stderr=out)

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run a command to its end; `stdout` holds all that it wrote."""
        return subprocess.run(
            _command(arguments),
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            check=False,
        )


@dataclass(frozen=True, slots=True)
class Serving:
    """A service process that is ready.

    Attributes:
        process: It.
        address: Where it listens.
        log: What it writes.
    """

    process: "subprocess.Popen[bytes]"
    address: str
    log: Path

    def stop(self) -> None:
        """Ask it to finish what it is doing and stop; after a while insist."""
        self.process.terminate()
        try:
            self.process.wait(STOPPING_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End it at once, in the middle of whatever it is doing."""
        self.process.kill()
        self.process.wait()


def _command(arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "scripts", *arguments]


def _is_storage(name: str) -> bool:
    """Tell settings that would point into somebody's real installation."""
    return name in STORAGE


def _ready_address(process: "subprocess.Popen[bytes]", log: Path) -> str:
    """Wait until the service says where it listens and that it is ready."""
    until = time.monotonic() + STARTING_S
    while time.monotonic() < until and process.poll() is None:
        found = re.search(r"https?://127\.0\.0\.1:\d+", log.read_text(encoding="utf-8", errors="replace"))
        if found is not None and _is_ready(found[0]):
            return found[0]
        time.sleep(0.1)
    tail = log.read_text(encoding="utf-8", errors="replace")[-500:]
    raise CommandError(f"the service did not become ready: {tail}")


def _is_ready(address: str) -> bool:
    try:
        return httpx.get(f"{address}/readyz", timeout=5).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False
