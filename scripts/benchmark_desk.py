"""Measures the pages that officers wait for, over HTTP, on a scratch installation full of open cases."""

import json
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx
from pydantic import SecretStr

from scripts.demo_pack import demo_pack
from scripts.desk_data import DeskData
from scripts.failures import CommandError
from scripts.installation import Installation
from scripts.storage import prepared_database
from service.auth.cookies import session_cookie_name
from service.settings import Settings, load_settings

CASE_LINK = re.compile(r'href="(/cases/[0-9a-f-]{36})"')
PICTURE = re.compile(r'src="(/cases/[^"]+/portraits/[^"]+)"')
WARM_UP = 3
"""Requests that are not counted: connections, caches and templates are made in them."""

FREE_RATE = "10000"
"""Requests a second that the scratch service allows one officer: this sends more than a person does."""


@dataclass(frozen=True, slots=True)
class DeskPlan:
    """What is measured.

    Attributes:
        cases: Open cases.
        rounds: Times that every page is read.
        database_url: An empty database; None for SQLite in the scratch folder.
    """

    cases: int
    rounds: int
    database_url: str | None = None


@dataclass(frozen=True, slots=True)
class Spread:
    """Milliseconds: the median, and what 19 of 20 stay below."""

    median_ms: float
    p95_ms: float


@dataclass(frozen=True, slots=True)
class DeskFigures:
    """What was measured."""

    cases: int
    database: str
    queue: Spread
    later_page: Spread
    own_county: Spread
    unchanged: Spread
    case_page: Spread
    case_with_portraits: Spread
    portraits_a_case: float

    def as_json(self) -> str:
        """Return all figures as JSON."""
        return json.dumps(asdict(self), indent=2)


def measure_desk(plan: DeskPlan, *, report: Callable[[str], None]) -> DeskFigures:
    """Build the installation, serve it and read its pages.

    Raises:
        CommandError: The service does not start, or a page is refused.
    """
    with tempfile.TemporaryDirectory(prefix="oneperson-desk-") as scratch:
        folder = Path(scratch)
        pack = demo_pack(load_settings(), folder / "packs")
        given = {"ONEPERSON_DATABASE_URL": plan.database_url} if plan.database_url else {}
        installation = Installation(
            folder, pack=str(pack), settings=given | {"ONEPERSON_OFFICER_REQUESTS_PER_S": FREE_RATE}
        )
        settings = Settings(
            data_dir=installation.data_dir,
            pack=str(pack),
            database_url=SecretStr(plan.database_url) if plan.database_url else None,
            files_url=None,
        )
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        report(f"writing {plan.cases:,} open cases")
        with prepared_database(settings) as database:
            kind = database.engine.dialect.name
            data = DeskData(database, settings)
            data.fill(plan.cases)
            token = data.officer()
            if kind == "postgresql":
                with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                    connection.exec_driver_sql("VACUUM ANALYZE")
        report("starting the service")
        service = installation.start()
        try:
            report(f"reading each page {plan.rounds} times")
            with httpx.Client(
                base_url=service.address, cookies={session_cookie_name(settings): token}, timeout=60
            ) as browser:
                return _measured(browser, plan, kind)
        finally:
            service.stop()


def _measured(browser: httpx.Client, plan: DeskPlan, kind: str) -> DeskFigures:
    queue = _text(browser, "/")
    following = re.search(r'href="(/\?[^"]*after=[^"]+)"', queue)
    tag = browser.get("/queue/lines").headers["etag"]
    cases = CASE_LINK.findall(queue)
    read = [_read_case(browser, cases[at % len(cases)]) for at in range(plan.rounds + WARM_UP)][WARM_UP:]
    return DeskFigures(
        cases=plan.cases,
        database=kind,
        queue=_timed(browser, ["/"], plan.rounds),
        later_page=_timed(browser, [following[1].replace("&amp;", "&") if following else "/"], plan.rounds),
        own_county=_timed(browser, ["/?division=530101"], plan.rounds),
        unchanged=_timed(browser, ["/queue/lines"], plan.rounds, tag=tag),
        case_page=_spread([page for page, _whole, _pictures in read]),
        case_with_portraits=_spread([whole for _page, whole, _pictures in read]),
        portraits_a_case=statistics.mean(pictures for _page, _whole, pictures in read),
    )


def _read_case(browser: httpx.Client, address: str) -> tuple[float, float, int]:
    """Read a case and its portraits one after the other; return both times and the number of portraits."""
    began = time.perf_counter()
    page = _text(browser, address)
    read = time.perf_counter() - began
    pictures = list(dict.fromkeys(PICTURE.findall(page)))
    for picture in pictures:
        _text(browser, picture)
    return 1e3 * read, 1e3 * (time.perf_counter() - began), len(pictures)


def _timed(browser: httpx.Client, addresses: Sequence[str], rounds: int, *, tag: str = "") -> Spread:
    taken = []
    for at in range(rounds + WARM_UP):
        began = time.perf_counter()
        _text(browser, addresses[at % len(addresses)], tag=tag)
        taken.append(1e3 * (time.perf_counter() - began))
    return _spread(taken[WARM_UP:])


def _text(browser: httpx.Client, address: str, *, tag: str = "") -> str:
    answer = browser.get(address, headers={"If-None-Match": tag} if tag else {})
    if answer.status_code not in (httpx.codes.OK, httpx.codes.NOT_MODIFIED):
        raise CommandError(f"{address.split('?', maxsplit=1)[0]} was answered with {answer.status_code}")
    return "" if "/portraits/" in address else answer.text


def _spread(taken: Sequence[float]) -> Spread:
    ordered = sorted(taken)
    return Spread(
        round(statistics.median(ordered), 1),
        round(ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))], 1),
    )
