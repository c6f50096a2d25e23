"""A scratch installation, worked by the product's own commands in processes of their own."""

import csv
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

from scripts.failures import CommandError

STARTING_S = 120.0
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


class Installation:
    """A data folder of its own, with settings of its own."""

    def __init__(self, folder: Path, *, pack: str | None = None, target_fpir: float | None = None) -> None:
        """Choose the folder and the settings; others are taken from the environment.

        Args:
            folder: Made if missing; holds the data folder, logs and import files.
            pack: Name or directory of the model pack, None for the one in the settings.
            target_fpir: Target false-alarm rate, None for the one in the settings.
        """
        self._folder = folder
        self._folder.mkdir(parents=True, exist_ok=True)
        kept = {name: value for name, value in os.environ.items() if not _is_storage(name)}
        self._environment = kept | {"ONEPERSON_DATA_DIR": str(folder / "var")}
        if pack is not None:
            place = Path(pack)
            self._environment["ONEPERSON_PACK"] = str(place.absolute()) if place.is_dir() else pack
        if target_fpir is not None:
            self._environment["ONEPERSON_TARGET_FPIR"] = repr(target_fpir)

    def import_portraits(self, rows: Sequence[Mapping[str, str]], portraits: Path) -> None:
        """Write an import file and run `oneperson import`; records that are not taken are no failure.

        Raises:
            CommandError: The import could not run.
        """
        path = self._folder / "import.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS, restval="")
            writer.writeheader()
            writer.writerows(rows)
        done = self._run("import", str(path), "--portraits", str(portraits))
        if done.returncode not in (0, 1):
            raise CommandError(f"the import failed: {done.stdout[-500:]}")

    @contextmanager
    def serving(self) -> Iterator[tuple[str, str]]:
        """Run `oneperson serve` and yield its address and a fresh client's key.

        Raises:
            CommandError: It did not become ready.
        """
        added = self._run(
            "client", "add", f"client-{time.time_ns()}", "--scope", "persons", "--scope", "checks"
        )
        key = re.search(r"op_[0-9a-f]+_\S+", added.stdout)
        if key is None:
            raise CommandError(f"no client could be added: {added.stdout[-500:]}")
        log = self._folder / "serve.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                self._command("serve", "--port", "0"), env=self._environment, stdout=out, stderr=out
            )
            try:
                yield _ready_address(process, log), key[0]
            finally:
                process.terminate()
                process.wait(STOPPING_S)

    def _command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "scripts", *arguments]

    def _run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            self._command(*arguments),
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            check=False,
        )


def _is_storage(name: str) -> bool:
    """Tell settings that would point into somebody's real installation."""
    return name in {"ONEPERSON_DATA_DIR", "ONEPERSON_DATABASE_URL"}


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
