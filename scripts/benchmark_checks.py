"""What `oneperson benchmark checks` measures: whole checks over HTTP against a real service process.

A scratch installation is filled with persons whose templates follow the scores of real ones, served with
`oneperson serve`, and asked over HTTP by clients in this process, each with one connection that stays open.
The parts come from the service's own figures (`oneperson_check_part_seconds` of `/metrics`).
"""

import base64
import itertools
import json
import os
import re
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from http.client import HTTPConnection
from pathlib import Path

import httpx
import numpy as np
from pydantic import SecretStr

from index.extraction import Extractor
from index.pack import load_pack
from scripts.benchmark_portraits import usable_portraits
from scripts.checks_data import ChecksData, person_id
from scripts.failures import CommandError
from scripts.installation import Installation, Serving
from scripts.storage import prepared_database
from service.encryption.vault import vault_of
from service.portrait_store import PortraitStore
from service.settings import Settings

PORTRAITS = 40
"""Different portraits that are sent."""

MATED = 1
"""So many of the portraits are of somebody enrolled, so their checks open cases. The rendered ones show nine
people: one check in nine holds, more than at any counter."""

FREE_RATE = "100000"
"""Requests a second that the scratch service allows one client: this sends more than a system does."""

PART = re.compile(r'^oneperson_check_part_seconds_sum\{part="(\w+)"\} (\S+)$', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class ChecksPlan:
    """How much to measure.

    Attributes:
        persons: Persons enrolled.
        clients: At once, in the second phase.
        seconds: Length of each phase.
        pack: Folder of the pack.
        portraits: Folder of portraits; None: rendered ones.
        database_url: An empty database; None for SQLite in the scratch folder.
    """

    persons: int
    clients: int
    seconds: float
    pack: Path
    portraits: Path | None = None
    database_url: str | None = None


@dataclass(frozen=True, slots=True)
class Phase:
    """What clients saw.

    Attributes:
        clients: At once.
        checks: Answered.
        holds: Of them with candidates.
        per_s: A second.
        p50_ms: Half of them below.
        p99_ms: 99 of 100 below.
        cpu_ms: Processor time of the service for one check, all threads together: what a busy machine cannot
            change much.
        parts_ms: Mean time by part, as the service measured it; `rest` is everything else in the service.
        outside_ms: Mean time that clients waited beyond what the service measured.
    """

    clients: int
    checks: int
    holds: int
    per_s: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float
    parts_ms: Mapping[str, float]
    outside_ms: float


@dataclass(frozen=True, slots=True)
class ChecksFigures:
    """Everything that one run measured."""

    persons: int
    database: str
    pack: str
    start_s: float
    lone: Phase
    together: Phase

    def as_json(self) -> str:
        """Return all figures as JSON."""
        return json.dumps(asdict(self), indent=2)


def measure_checks(plan: ChecksPlan, *, report: Callable[[str], None]) -> ChecksFigures:
    """Fill an installation, serve it and ask it.

    Raises:
        CommandError: The service does not start, or refuses a check.
    """
    with tempfile.TemporaryDirectory(prefix="oneperson-checks-") as scratch:
        folder = Path(scratch)
        given = {"ONEPERSON_DATABASE_URL": plan.database_url} if plan.database_url else {}
        installation = Installation(
            folder, pack=str(plan.pack), settings=given | {"ONEPERSON_CLIENT_REQUESTS_PER_S": FREE_RATE}
        )
        pack = load_pack(plan.pack)
        portraits = usable_portraits(pack, plan.portraits, PORTRAITS)
        kind = _fill(installation, plan, portraits, report)
        key = installation.add_client("checks")
        report("starting the service")
        began = time.perf_counter()
        service = installation.start()
        started = time.perf_counter() - began
        try:
            asking = Asking(service, key, portraits, persons=plan.persons)
            report("warming up")
            asking.phase(clients=plan.clients, seconds=min(2.0, plan.seconds))
            report("one client")
            lone = asking.phase(clients=1, seconds=plan.seconds)
            report(f"{plan.clients} clients")
            together = asking.phase(clients=plan.clients, seconds=plan.seconds)
        finally:
            service.stop()
    return ChecksFigures(
        persons=plan.persons,
        database=kind,
        pack=f"{pack.name} {pack.manifest.version}",
        start_s=round(started, 1),
        lone=lone,
        together=together,
    )


def _fill(
    installation: Installation,
    plan: ChecksPlan,
    portraits: Sequence[bytes],
    report: Callable[[str], None],
) -> str:
    """Enrol persons, some of the portraits' among them, and return the kind of database."""
    pack = load_pack(plan.pack)
    extractor = Extractor(pack)
    mates = portraits[:MATED]
    settings = Settings(
        data_dir=installation.data_dir,
        pack=str(plan.pack),
        database_url=SecretStr(plan.database_url) if plan.database_url else None,
        files_url=None,
    )
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    with prepared_database(settings) as database:
        data = ChecksData(database, PortraitStore(settings.portraits_dir, vault_of(database.info)), pack)
        report(f"enrolling {plan.persons:,} persons")
        for portrait in mates:  # First: rows of files of which none is on disk would look like a lost disk.
            template = extractor.extract(portrait).template
            if template is not None:
                data.enrol(portrait, template)
        data.enrol_strangers(plan.persons - len(mates))
        if database.engine.dialect.name == "postgresql":
            with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.exec_driver_sql("VACUUM ANALYZE")
        return database.engine.dialect.name


class Asking:
    """Sends checks."""

    def __init__(self, service: Serving, key: str, portraits: Sequence[bytes], *, persons: int) -> None:
        """Prepare the bodies, so that the clients' own work is small.

        Args:
            service: Running.
            key: Of a client with the scope `checks`.
            portraits: To be searched, in turn.
            persons: Numbers of the subjects: 1 to this.
        """
        self._address = httpx.URL(service.address)
        self._process = service.process.pid
        self._key = key
        self._portraits = [base64.b64encode(portrait).decode() for portrait in portraits]
        self._persons = persons
        self._numbers = itertools.count(1)

    def phase(self, *, clients: int, seconds: float) -> Phase:
        """Let clients ask one check after the other for a while.

        Raises:
            CommandError: A check was refused.
        """
        before, cpu = self._parts(), processor_s(self._process)
        answers: list[tuple[float, bool]] = []
        failures: list[BaseException] = []
        until = time.perf_counter() + seconds

        def client() -> None:
            try:
                with self._connected() as connection:
                    while time.perf_counter() < until:
                        answers.append(self._ask(connection, next(self._numbers)))
            except (CommandError, OSError) as failure:
                failures.append(failure)

        threads = [threading.Thread(target=client) for _ in range(clients)]
        began = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took, used = time.perf_counter() - began, processor_s(self._process) - cpu
        if failures:
            raise CommandError(f"a check failed: {failures[0]}")
        return self._figures(answers, clients, took=took, used=used, before=before)

    def _figures(
        self,
        answers: Sequence[tuple[float, bool]],
        clients: int,
        *,
        took: float,
        used: float,
        before: Mapping[str, float],
    ) -> Phase:
        after = self._parts()
        times = [1e3 * seconds for seconds, _hold in answers]
        parts = {part: 1e3 * (total - before.get(part, 0.0)) / len(answers) for part, total in after.items()}
        return Phase(
            clients=clients,
            checks=len(answers),
            holds=sum(hold for _seconds, hold in answers),
            per_s=round(len(answers) / took, 2),
            p50_ms=round(float(np.median(times)), 2),
            p99_ms=round(float(np.quantile(times, 0.99)), 2),
            cpu_ms=round(1e3 * used / len(answers), 2),
            parts_ms={part: round(taken, 3) for part, taken in parts.items()},
            outside_ms=round(float(np.mean(times)) - sum(parts.values()), 2),
        )

    def _ask(self, connection: HTTPConnection, number: int) -> tuple[float, bool]:
        """Send one check; return the seconds that it took, and whether it is to hold."""
        content = {
            "transaction": {
                "id": f"BENCH-{number:08d}",
                "type": "household-transfer-in",
                "authority": "530102",
            },
            "person_id": person_id(1 + number * 7919 % self._persons),
            "portrait": self._portraits[number % len(self._portraits)],
        }
        body = json.dumps(content)
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
        began = time.perf_counter()
        connection.request("POST", "/v1/checks", body, headers)
        answer = connection.getresponse()
        told = answer.read()
        took = time.perf_counter() - began
        if answer.status != httpx.codes.CREATED:
            raise CommandError(f"a check was answered with {answer.status}: {told[:200]!r}")
        return took, json.loads(told)["instruction"] == "hold"

    @contextmanager
    def _connected(self) -> Iterator[HTTPConnection]:
        connection = HTTPConnection(self._address.host, self._address.port, timeout=60)
        try:
            yield connection
        finally:
            connection.close()

    def _parts(self) -> dict[str, float]:
        """Return the seconds that each part of all checks has taken so far."""
        metrics = httpx.get(self._address.join("/metrics"), timeout=60).text
        return {part: float(total) for part, total in PART.findall(metrics)}


def processor_s(process: int) -> float:
    """Return the seconds of processor time that a process has used; 0 where the system does not tell."""
    try:
        told = Path(f"/proc/{process}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0.0
    user, system = told.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
