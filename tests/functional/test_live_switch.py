"""Running services take over another pack while somebody keeps asking: every check is answered rightly."""

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from index.pack import read_manifest
from scripts.installation import Installation, Serving
from tests.functional.callers import Caller, calling
from tests.synthetic import make_synthetic_pack, synthetic_portrait

pytestmark = pytest.mark.enable_socket

PERSONS = 6
PATIENCE_S = 60.0


@pytest.fixture
def other_pack(tmp_path: Path) -> Path:
    directory = make_synthetic_pack(tmp_path / "other-pack")
    manifest = directory / "pack.toml"
    manifest.write_text(manifest.read_text(encoding="utf-8").replace("127.5", "126.5"), encoding="utf-8")
    return directory


@pytest.fixture
def installation(tmp_path: Path, synthetic_pack_dir: Path) -> Installation:
    return Installation(tmp_path / "town", pack=str(synthetic_pack_dir))


@pytest.fixture
def services(installation: Installation) -> Iterator[tuple[Caller, Caller]]:
    """Two service processes over one database, and a caller of each."""
    key = installation.add_client("persons", "checks")
    started: list[Serving] = []
    try:
        started.append(installation.start())
        started.append(installation.start())
        with calling(started[0].address, key) as one, calling(started[1].address, key) as two:
            yield one, two
    finally:
        for service in started:
            service.stop()


@dataclass
class Asking:
    """Asks about one person after the other until told to stop, and enrols somebody new now and then."""

    caller: Caller
    name: str
    answers: list[dict[str, Any]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    enrolled: int = 0
    stopping: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        turn = 0
        while not self.stopping.is_set() and not self.failures:
            turn += 1
            try:
                self._turn(turn)
            except Exception as error:  # Whatever it is, the test tells it.
                self.failures.append(repr(error))

    def _turn(self, turn: int) -> None:
        person = turn % PERSONS
        check = self.caller.check(f"{self.name}-{turn}", synthetic_portrait(person, shot=1))
        found = [candidate["person_id"] for candidate in check["candidates"]]
        if not found or found[0] != f"P{person}":
            self.failures.append(f"{check['contract_id'][:8]}: {person} gave {found}")
        self.answers.append(check)
        if turn % 5 == 0:  # Enrolled with whatever pack is in force here; to be found by everybody.
            self.enrolled += 1
            newcomer = 1000 * (1 + ord(self.name[0])) + self.enrolled
            self.caller.put_person(f"N{newcomer}", synthetic_portrait(newcomer))
            found_new = self.caller.check(f"{self.name}-new-{turn}", synthetic_portrait(newcomer, shot=1))
            if f"N{newcomer}" not in [one["person_id"] for one in found_new["candidates"]]:
                self.failures.append(f"the newcomer {newcomer} was not found")
            self.answers.append(found_new)


def wait_for(is_so: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < until, f"{what} has not come"
        time.sleep(0.05)


def test_packs_are_switched_and_rolled_back_without_a_wrong_or_a_refused_answer(
    installation: Installation,
    services: tuple[Caller, Caller],
    synthetic_pack_dir: Path,
    other_pack: Path,
) -> None:
    old, new = (read_manifest(folder).contract_id for folder in (synthetic_pack_dir, other_pack))
    for person in range(PERSONS):
        services[0].put_person(f"P{person}", synthetic_portrait(person))
    asking = [Asking(caller, name) for caller, name in zip(services, "ab", strict=True)]
    threads = [threading.Thread(target=one.run) for one in asking]
    for thread in threads:
        thread.start()

    def all_use(contract_id: str) -> Callable[[], bool]:
        marks = [len(one.answers) for one in asking]
        return lambda: (
            any(one.failures for one in asking)
            or all(
                len(one.answers) > mark and one.answers[-1]["contract_id"] == contract_id
                for one, mark in zip(asking, marks, strict=True)
            )
        )

    try:
        wait_for(all_use(old), "an answer with the old pack")
        done = installation.run("rebuild", "--pack", str(other_pack))
        assert done.returncode == 0, done.stdout
        wait_for(all_use(new), "an answer with the new pack")
        done = installation.run("rollback")
        assert done.returncode == 0, done.stdout
        wait_for(all_use(old), "an answer with the old pack again")
    finally:
        for one in asking:
            one.stopping.set()
        for thread in threads:
            thread.join()
    assert [one.failures for one in asking] == [[], []]
    for one in asking:
        used = [check["contract_id"] for check in one.answers]
        turns = [now for before, now in zip([None, *used], used, strict=False) if now != before]
        assert turns == [old, new, old]  # Never to and fro.
        generations = {check["generation"] for check in one.answers if check["contract_id"] == new}
        assert all(name.startswith("generation-") for name in generations)


def test_the_pack_that_was_switched_to_stays_in_force_after_a_restart(
    installation: Installation, synthetic_pack_dir: Path, other_pack: Path, tmp_path: Path
) -> None:
    new = read_manifest(other_pack).contract_id
    (tmp_path / "1.jpg").write_bytes(synthetic_portrait(1))
    installation.import_portraits([{"person_id": "P1", "level_code": "30", "portrait": "1.jpg"}], tmp_path)
    assert installation.run("rebuild", "--pack", str(other_pack)).returncode == 0
    with installation.serving() as (address, key), calling(address, key) as caller:
        check = caller.check("T1", synthetic_portrait(1, shot=1))
        assert check["contract_id"] == new
        assert check["candidates"][0]["person_id"] == "P1"
        caller.put_person("P2", synthetic_portrait(2))
    shutil.move(other_pack, other_pack.with_name("gone"))
    refused = installation.run("rebuild")
    assert refused.returncode != 0
    assert "other-pack" in refused.stdout
    back = installation.run("rollback")
    assert back.returncode == 0, back.stdout
    assert "1 portraits were encoded" in back.stdout
    with installation.serving() as (address, key), calling(address, key) as caller:
        check = caller.check("T2", synthetic_portrait(2, shot=1))
        assert check["contract_id"] == read_manifest(synthetic_pack_dir).contract_id
        assert check["candidates"][0]["person_id"] == "P2"
