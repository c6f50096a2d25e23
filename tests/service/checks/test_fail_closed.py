"""`proceed` only after a whole search: whatever breaks, the answer is an error and nothing is stored."""

import resource
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from httpx2 import Response
from sqlalchemy import event, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from index.errors import GalleryError, NotReadyError
from index.pack import load_pack
from index.types import Candidate, Vectors
from service import health
from service.app import create_app
from service.database import Database
from service.encryption.templates import opened_template, sealed_template
from service.encryption.vault import vault_of
from service.portrait_store import PortraitStore
from service.settings import Settings
from service.tables import Check, Template
from tests.postgres import PostgresServer
from tests.service.calls import Headers, contents, portrait, post_check, put_person
from tests.service.conftest import SQLITE_ONLY
from tests.service.galleries.encoding import encode_all

STRANGER = portrait(8)
"""Of somebody who is never enrolled, and resembles nobody who is."""

Hook = Callable[[], object]


class Watched:
    """A gallery that calls a hook in the middle of every search."""

    def __init__(self, gallery: Any, hook: Hook) -> None:
        self._gallery = gallery
        self._hook = hook

    def __getattr__(self, name: str) -> Any:
        return getattr(self._gallery, name)

    def __len__(self) -> int:
        return len(self._gallery)

    def search(self, probes: Vectors, **wanted: Any) -> list[list[Candidate]]:
        """Search, then call the hook."""
        found: list[list[Candidate]] = self._gallery.search(probes, **wanted)
        self._hook()
        return found


@pytest.fixture
def during_search(app: FastAPI) -> Iterator[Callable[[Hook], None]]:
    """Have something done whenever the gallery of flagged persons is searched."""
    watched: list[tuple[Any, Any]] = []

    def watch(hook: Hook) -> None:
        keeper = app.state.galleries._keepers["flagged"]
        watched.append((keeper, keeper.gallery))
        keeper.gallery = Watched(keeper.gallery, hook)

    yield watch
    for keeper, gallery in watched:
        keeper.gallery = gallery


@pytest.fixture
def enrolled(client: TestClient, headers: Headers) -> None:
    for person in (1, 2, 3):
        assert put_person(client, headers, f"P{person}", portrait(person)).status_code == 201


def files(settings: Settings) -> set[str]:
    return PortraitStore(settings.portraits_dir).locations()


def assert_no_answer(answer: Response, *, code: str = "") -> None:
    assert answer.status_code in {500, 503}
    assert answer.headers["content-type"] == "application/problem+json"
    assert not answer.json().keys() & {"instruction", "outcome", "candidates", "check_id"}
    assert not code or answer.json()["type"] == f"/problems/{code}"


def raising(fault: BaseException) -> Hook:
    def fail() -> None:
        raise fault

    return fail


@pytest.mark.usefixtures("enrolled")
@pytest.mark.parametrize(
    "fault", [RuntimeError("a thread"), MemoryError(), NotReadyError("half loaded"), GalleryError("torn")]
)
def test_fault_inside_a_search_is_no_answer(
    client: TestClient,
    headers: Headers,
    database: Database,
    settings: Settings,
    during_search: Callable[[Hook], None],
    fault: Exception,
) -> None:
    assert post_check(client, headers, "T0", STRANGER).json()["instruction"] == "proceed"
    before, kept = contents(database), files(settings)
    during_search(raising(fault))
    for picture in (portrait(2, 1), STRANGER):
        assert_no_answer(post_check(client, headers, "T1", picture))
    assert contents(database) == before
    assert files(settings) == kept


@pytest.mark.usefixtures("enrolled")
def test_search_that_takes_too_long_is_no_answer_even_when_it_ends_later(
    client: TestClient,
    app: FastAPI,
    headers: Headers,
    database: Database,
    settings: Settings,
    during_search: Callable[[Hook], None],
) -> None:
    go = threading.Event()
    assert post_check(client, headers, "T0", STRANGER).status_code == 201
    before, kept = contents(database), files(settings)
    during_search(lambda: go.wait(20))
    app.state.settings = settings.model_copy(update={"search_timeout_s": 0.3})
    assert_no_answer(post_check(client, headers, "T1", portrait(2, 1)), code="search-timeout")
    go.set()
    app.state.engine.run(lambda: None, timeout_s=20)
    assert contents(database) == before
    assert files(settings) == kept
    app.state.settings = settings
    answer = post_check(client, headers, "T1", portrait(2, 1))
    assert answer.json()["instruction"] == "hold"


def test_database_that_goes_away_between_search_and_commit_is_no_answer(
    client: TestClient,
    headers: Headers,
    database: Database,
    settings: Settings,
    request: pytest.FixtureRequest,
    during_search: Callable[[Hook], None],
    enrolled: None,
) -> None:
    assert post_check(client, headers, "T-before", STRANGER).status_code == 201
    before, kept = contents(database), files(settings)
    away = _PostgresAway(request) if database.engine.dialect.name == "postgresql" else _SqliteFull(database)
    hooks = [away.begin]
    during_search(lambda: [hook() for hook in hooks])
    try:
        for number, picture in enumerate((portrait(2, 1), STRANGER)):
            assert_no_answer(post_check(client, headers, f"T{number}", picture), code="database-unavailable")
    finally:
        away.end()
        hooks.clear()
    assert contents(database) == before
    assert files(settings) >= kept  # A commit in doubt leaves the probe's file, which 'doctor' finds.
    assert post_check(client, headers, "T5", portrait(2, 1)).json()["instruction"] == "hold"


class _SqliteFull:
    """A disk without room for one more page of the database's log."""

    def __init__(self, database: Database) -> None:
        self._log = Path(f"{database.engine.url.database}-wal")
        self._before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def begin(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (self._log.stat().st_size, self._before[1]))

    def end(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, self._before)


class _PostgresAway:
    """A server that lets nobody into the database."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self._server: PostgresServer = request.getfixturevalue("postgres_server")
        self._name = request.getfixturevalue("database_address").split("@/")[1].split("?")[0]

    def begin(self) -> None:
        self._server.administer("ALTER DATABASE {} ALLOW_CONNECTIONS false", self._name)
        self._server.administer(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{self._name}'"
        )

    def end(self) -> None:
        self._server.administer("ALTER DATABASE {} ALLOW_CONNECTIONS true", self._name)


@pytest.mark.usefixtures("enrolled")
def test_commit_whose_answer_was_lost_keeps_the_probe_and_is_found_again(
    client: TestClient, headers: Headers, database: Database, settings: Settings
) -> None:
    kept = files(settings)

    def lose(session: Session) -> None:
        if any(isinstance(thing, Check) for thing in session.identity_map.values()):
            raise OperationalError("COMMIT", None, Exception("server closed the connection"))

    event.listen(Session, "after_commit", lose)
    try:
        lost = post_check(client, headers, "T1", portrait(2, 1))
    finally:
        event.remove(Session, "after_commit", lose)
    assert_no_answer(lost, code="database-unavailable")
    again = post_check(client, headers, "T1", portrait(2, 1))
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.json()["instruction"] == "hold"
    with database.read() as session:
        locations = set(session.scalars(select(Check.probe_location)))
    assert files(settings) - kept == locations


@pytest.mark.usefixtures("enrolled")
def test_full_portrait_store_stops_a_suspected_duplicate_but_needs_none_for_a_stranger(
    client: TestClient, app: FastAPI, headers: Headers, database: Database, tmp_path: Path
) -> None:
    assert post_check(client, headers, "T0", STRANGER).status_code == 201
    before = contents(database)
    (tmp_path / "in-the-way").touch()
    whole, app.state.portrait_store = (
        app.state.portrait_store,
        PortraitStore(tmp_path / "in-the-way", app.state.vault),
    )
    answer = post_check(client, headers, "T1", portrait(2, 1))
    assert_no_answer(answer, code="storage-unavailable")
    assert contents(database) == before
    assert post_check(client, headers, "T2", portrait(8)).json()["instruction"] == "proceed"
    app.state.portrait_store = whole
    assert post_check(client, headers, "T1", portrait(2, 1)).json()["instruction"] == "hold"


WIDTH = 64 * 4
DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda vector: b"",
    "one-byte-short": lambda vector: vector[:-1],
    "one-number-short": lambda vector: vector[:-4],
    "twice-as-long": lambda vector: vector * 2,
    "not-a-number": lambda vector: np.full(64, np.nan, "<f4").tobytes(),
    "infinite": lambda vector: np.full(64, np.inf, "<f4").tobytes(),
    "signalling": lambda vector: b"\x01\x00\xa0\x7f" * 64,
    "zero": lambda vector: bytes(WIDTH),
    "huge": lambda vector: (np.frombuffer(vector, "<f4") * 3e38).astype("<f4").tobytes(),
    "not-of-norm-1": lambda vector: (np.frombuffer(vector, "<f4") * 1.1).astype("<f4").tobytes(),
}


def damage(database: Database, how: Callable[[bytes], bytes], *, rank: int = 0) -> None:
    with database.write() as session:
        row = session.scalars(select(Template).order_by(Template.reference_id)).all()[rank]
        vault, place = vault_of(session), (row.reference_id, row.contract_id)
        with np.errstate(over="ignore"):
            spoilt = how(opened_template(vault, *place, row.vector))
        row.vector = sealed_template(vault, *place, spoilt)


@SQLITE_ONLY
@pytest.mark.parametrize("how", DAMAGES)
def test_damaged_template_stops_all_answers_until_it_is_made_again(
    settings: Settings, database: Database, headers: Headers, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "AGE_S", 0.0)  # What was found a moment ago is not good enough here.
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        for person in (1, 2):
            put_person(client, headers, f"P{person}", portrait(person))
        # A change of the person has the running gallery read the template anew.
        damage(database, DAMAGES[how])
        put_person(client, headers, "P1", portraits=None, sex="2")
        before = contents(database)
        for name, picture in (("T1", portrait(1, 1)), ("T2", portrait(2, 1)), ("T3", STRANGER)):
            assert_no_answer(post_check(client, headers, name, picture), code="gallery-not-ready")
        assert_no_answer(post_check(client, headers, "T4", person_id="P1"), code="gallery-not-ready")
        assert client.get("/readyz").status_code == 503
        assert contents(database) == before
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        assert_no_answer(post_check(client, headers, "T1", portrait(2, 1)), code="gallery-not-ready")
        store, pack = (
            PortraitStore(settings.portraits_dir, vault_of(database.info)),
            load_pack(Path(settings.pack)),
        )
        encoded = encode_all(database, store, pack)
        assert (encoded.done, encoded.failures) == (1, [])
        best = post_check(client, headers, "T1", portrait(1, 1)).json()["candidates"][0]
        assert best["person_id"] == "P1"


@SQLITE_ONLY
def test_damages_that_make_up_for_each_other_are_not_mistaken_for_whole_templates(
    settings: Settings, database: Database, headers: Headers
) -> None:
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        for person in (1, 2, 3):
            put_person(client, headers, f"P{person}", portrait(person))
    damage(database, DAMAGES["twice-as-long"], rank=0)
    damage(database, DAMAGES["empty"], rank=1)
    shutil.rmtree(settings.galleries_dir, ignore_errors=True)
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        assert_no_answer(post_check(client, headers, "T1", portrait(3, 1)), code="gallery-not-ready")


def test_portrait_of_the_request_is_searched_although_the_subjects_own_template_is_damaged(
    settings: Settings, database: Database, headers: Headers, client: TestClient
) -> None:
    for person in (1, 2):
        put_person(client, headers, f"P{person}", portrait(person))
    assert post_check(client, headers, "T0", STRANGER).status_code == 201
    damage(database, DAMAGES["one-byte-short"])
    assert_no_answer(post_check(client, headers, "T1", person_id="P1"), code="gallery-not-ready")
    check = post_check(client, headers, "T2", portrait(2, 1), person_id="P1").json()
    assert [candidate["person_id"] for candidate in check["candidates"]] == ["P2"]


def other_pack(source: Path, target: Path) -> Path:
    """The same weights with another preprocessing: another contract, so other templates."""
    shutil.copytree(source, target)
    manifest = target / "pack.toml"
    text = manifest.read_text(encoding="utf-8")
    changed = text.replace("127.5", "126.5")
    assert changed != text
    manifest.write_text(changed, encoding="utf-8")
    return target


def test_other_pack_answers_nothing_until_every_portrait_is_encoded_by_it(
    settings: Settings, database: Database, headers: Headers, synthetic_pack_dir: Path, tmp_path: Path
) -> None:
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        for person in (1, 2):
            put_person(client, headers, f"P{person}", portrait(person))
        first = post_check(client, headers, "T0", STRANGER).json()
    pack_dir = other_pack(synthetic_pack_dir, tmp_path / "other")
    swapped = settings.model_copy(update={"pack": str(pack_dir)})
    with TestClient(create_app(swapped), raise_server_exceptions=False) as client:
        assert client.get("/readyz").status_code == 503
        assert_no_answer(post_check(client, headers, "T1", portrait(2, 1)), code="gallery-not-ready")
        assert put_person(client, headers, "P3", portrait(3)).status_code == 201
        assert_no_answer(post_check(client, headers, "T1", portrait(3, 1)), code="gallery-not-ready")
        encode_all(
            database, PortraitStore(swapped.portraits_dir, vault_of(database.info)), load_pack(pack_dir)
        )
        check = post_check(client, headers, "T1", portrait(2, 1)).json()
        assert check["candidates"][0]["person_id"] == "P2"
        assert check["contract_id"] != first["contract_id"]
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        # The first pack has not encoded the person who was enrolled meanwhile.
        assert_no_answer(post_check(client, headers, "T2", portrait(3, 1)), code="gallery-not-ready")
