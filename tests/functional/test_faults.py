"""A bad day: every fault against the real process; each is told, decides nothing, and heals by itself."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import select

from scripts.storage import prepared_database
from service.encryption.keys import new_key
from service.settings import Settings
from service.tables import Person, Portrait
from tests.functional.faulty import (
    Receiver,
    Site,
    assert_no_answer,
    flip,
    full_disk,
    locked,
    moved_away,
    small_disk,
    until,
    write_targets,
)
from tests.postgres import PostgresServer
from tests.service.notices.receiving import issue_one
from tests.synthetic import synthetic_portrait

pytestmark = pytest.mark.enable_socket

NEED_DATABASE = {"database", "schema", "encryption", "gallery:flagged", "gallery:registered"}


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture(scope="module")
def is_mounted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, bool]]:
    """Where the installation is, and whether its data folder is a small disk."""
    folder = tmp_path_factory.mktemp("faults")
    with small_disk(folder / "var") as mounted:
        yield folder, mounted


@pytest.fixture(scope="module")
def site(is_mounted: tuple[Path, bool], synthetic_pack_dir: Path, receiver: Receiver) -> Iterator[Site]:
    """One service on SQLite for all these tests; each leaves it whole."""
    folder, _ = is_mounted
    write_targets(folder / "webhooks.toml", receiver.address)
    made = Site(
        folder,
        synthetic_pack_dir,
        {
            "ONEPERSON_WEBHOOKS_FILE": str(folder / "webhooks.toml"),
            "ONEPERSON_WEBHOOK_ALLOWED": f'["{receiver.address}"]',
            "ONEPERSON_WEBHOOK_PRIVATE": '["127.0.0.0/8"]',
            "ONEPERSON_WEBHOOK_TIMEOUT_S": "1",
            "ONEPERSON_WEBHOOK_RETRY_S": "1",
        },
    )
    yield made
    made.close()


@pytest.fixture
def settings(site: Site, synthetic_pack_dir: Path) -> Settings:
    """How this process opens what the service works with."""
    return Settings(data_dir=site.data_dir, pack=str(synthetic_pack_dir))


def portrait_of(settings: Settings, person_id: str) -> Path:
    """Where a person's portrait lies."""
    with prepared_database(settings) as database, database.read() as session:
        query = select(Portrait.location).join(Person).where(Person.person_id == person_id)
        return settings.portraits_dir / str(session.scalars(query).one())


def test_full_disk(site: Site, is_mounted: tuple[Path, bool]) -> None:
    known = site.check(2).json()
    with full_disk(site, is_mounted=is_mounted[1]):
        site.until_unready(
            {"database", "schema", "encryption", "portrait_store", "gallery:flagged", "gallery:registered"}
            if is_mounted[1]
            else {"portrait_store"}
        )
        for face in (2, None):
            answer = site.check(face)
            assert answer.status_code == 503, answer.text
            assert "instruction" not in answer.json()
        assert site.caller.send_person("P9", synthetic_portrait(9)).status_code == 503
        assert site.caller.delete_person("P1").status_code == 503
        assert site.is_alive()
    site.assert_whole()
    assert site.caller.get(f"/v1/checks/{known['check_id']}")["check_id"] == known["check_id"]
    assert site.caller.status_of("/v1/persons/P1") == 200
    assert site.caller.status_of("/v1/persons/P9") == 404
    assert "part-ready-again" in site.log()


def test_sqlite_locked_by_somebody_else(site: Site) -> None:
    answers: list[httpx.Response] = []
    with locked(site.database):
        asking = threading.Thread(target=lambda: answers.append(site.check()))
        asking.start()
        assert "locked" in site.until_unready(NEED_DATABASE)["database"]["detail"]
        assert site.is_alive()
        assert answers == []
    asking.join()
    assert answers[0].json()["instruction"] == "proceed"  # It waited for its turn.
    site.assert_whole()
    assert "part-not-ready" in site.log()


@pytest.mark.parametrize("empty_in_its_place", [False, True], ids=["missing", "not-mounted"])
def test_portrait_store_away(site: Site, settings: Settings, empty_in_its_place: bool) -> None:
    with moved_away(settings.portraits_dir, empty_in_its_place=empty_in_its_place):
        parts = site.until_unready({"portrait_store"})
        assert "bring its disk or share back" in parts["portrait_store"]["detail"]
        assert site.check().json()["instruction"] == "proceed"  # Nothing has to be stored for a stranger.
        assert_no_answer(site.check(2), "storage-unavailable")
        assert_no_answer(site.caller.send_person("P9", synthetic_portrait(9)), "storage-unavailable")
        assert_no_answer(site.caller.delete_person("P1"), "storage-unavailable")
        assert site.caller.status_of("/v1/persons/P1") == 200
        assert empty_in_its_place or not settings.portraits_dir.exists()
    site.assert_whole()
    assert "bring its disk or share back" in site.log()


def test_portrait_altered_on_the_disk(site: Site, settings: Settings) -> None:
    flip(portrait_of(settings, "P2"))
    assert_no_answer(site.check(person_id="P2"), "seal-broken")
    assert site.unready() == set()
    assert site.check(2).json()["instruction"] == "hold"  # The template is whole, and this probe is new.
    assert "seal-broken" in site.log()
    site.caller.put_person("P2", synthetic_portrait(2, 2))  # The population system sends it again.
    found = site.check(person_id="P2").json()
    assert [one["person_id"] for one in found["candidates"]] == ["P2-again"]
    site.assert_whole()


def test_hanging_webhook_target(site: Site, settings: Settings, receiver: Receiver) -> None:
    with prepared_database(settings) as database:
        issue_one(database)
    assert receiver.hung.wait(60)
    until(lambda: site.parts()["webhook:population"]["detail"].startswith("1 waiting"))
    site.assert_whole()  # A receiver keeps nobody from checking.
    receiver.answer()
    until(lambda: site.parts()["webhook:population"]["detail"].startswith("0 waiting"))
    assert '"outcome": "timeout"' in site.log()


def test_killed_with_a_corrupt_generation(site: Site, settings: Settings) -> None:
    site.service.kill()
    generations = list(settings.galleries_dir.glob("flagged/*/*/manifest.json"))
    if not generations:  # None was written while the gallery was empty: this start writes one.
        site.restart()
        site.service.kill()
        generations = list(settings.galleries_dir.glob("flagged/*/*/manifest.json"))
    for manifest in generations:
        flip(max(manifest.parent.iterdir(), key=lambda path: path.stat().st_size))
    site.restart()
    assert "generation-set-aside" in site.log()
    site.assert_whole()


def test_keys_that_are_missing_or_anothers_are_refused_and_change_nothing(
    tmp_path: Path, synthetic_pack_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ONEPERSON_ENCRYPTION_KEYS", "ONEPERSON_AUDIT_KEY"):
        monkeypatch.delenv(name)
    site = Site(tmp_path, synthetic_pack_dir)
    site.service.kill()
    for name, other in (("encryption.key", f"{new_key()}\n"), ("audit.key", f"{os.urandom(32).hex()}\n")):
        path, right = site.data_dir / name, (site.data_dir / name).read_text()
        for text in (None, other):
            path.unlink() if text is None else path.write_text(text)
            refused = site.installation.run("serve", "--port", "0")
            assert refused.returncode == 2, refused.stdout
            said = refused.stdout.strip().splitlines()[-1]
            assert said.startswith("oneperson: "), refused.stdout
            assert "key" in said
            assert right.strip().splitlines()[-1] not in refused.stdout
        path.write_text(right)
    site.restart()
    site.assert_whole()
    site.close()


@pytest.mark.postgres
def test_postgresql_stopped_started_and_only_reading(
    own_server: PostgresServer, tmp_path: Path, synthetic_pack_dir: Path
) -> None:
    with own_server.fresh() as address:
        name = address.split("@/")[1].split("?")[0]
        leave = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        site = Site(tmp_path, synthetic_pack_dir, {"ONEPERSON_DATABASE_URL": address})
        own_server.stop()
        site.until_unready(NEED_DATABASE)
        for face in (2, None):
            assert_no_answer(site.check(face), "database-unavailable")
        assert site.is_alive()
        refused = site.installation.run("serve", "--port", "0")  # As a supervisor would try again.
        assert refused.returncode == 1, refused.stdout
        assert "The database cannot be used now" in refused.stdout
        own_server.start()
        site.assert_whole()
        assert '"problem"' in site.log()
        own_server.administer("ALTER DATABASE {} SET default_transaction_read_only = on", name)
        own_server.administer(leave)
        assert "only reads" in site.until_unready(NEED_DATABASE)["database"]["detail"]
        assert_no_answer(site.check(), "database-unavailable")
        own_server.administer("ALTER DATABASE {} RESET default_transaction_read_only", name)
        own_server.administer(leave)
        site.assert_whole()
        site.close()
