"""Killed at any moment: what was acknowledged is there, what was never sent is not, and copies agree.

CRASH_ROUNDS=200 runs for long; CRASH_SEED chooses other moments.
"""

import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from index.pack import Pack, load_pack
from scripts.installation import Installation, Serving
from scripts.storage import prepared_database
from service.auth.accounts import register_client
from service.auth.service import Scope
from service.encryption.vault import vault_of
from service.galleries.switches import in_force
from service.portrait_store import PortraitStore
from service.settings import Settings
from tests.functional.callers import calling
from tests.functional.crash import (
    ABSENT,
    Ledger,
    assert_files_agree,
    assert_gallery_agrees,
    folder_of_pictures,
    registrations,
    sha256,
)
from tests.synthetic import make_synthetic_pack, synthetic_portrait

pytestmark = pytest.mark.enable_socket

ROUNDS = int(os.environ.get("CRASH_ROUNDS", "5"))
SEED = int(os.environ.get("CRASH_SEED", "20261123"))
CALLERS = 2
PERSONS_EACH = 4
IMPORTED = 40
PATIENCE_S = 60.0
"""Seconds until a command's work must have begun, or a few requests must have been answered, however busy
the machine is."""

ANSWERS = (5, 15)
"""Least and most answers after which the service is killed in the middle of the next requests."""


class Town:
    """An installation that is killed again and again, and everybody who remembers what it said."""

    def __init__(self, folder: Path, pack_dir: Path, other_pack_dir: Path) -> None:
        self.installation = Installation(folder, pack=str(pack_dir))
        self.settings = Settings(data_dir=self.installation.data_dir, pack=str(pack_dir))
        self.pack, self.other_pack = load_pack(pack_dir), load_pack(other_pack_dir)
        self.other_pack_dir = other_pack_dir
        self.open = ExitStack()
        self.database = self.open.enter_context(prepared_database(self.settings))
        self.store = PortraitStore(self.settings.portraits_dir, vault_of(self.database.info))
        with self.database.write() as session:
            self.key = register_client(session, "population-system", scopes=frozenset(Scope), days=None)
        numbers = iter(range(1, 1000))
        self.ledgers = [
            Ledger.of({f"C{caller}-{at}": next(numbers) for at in range(PERSONS_EACH)}, shots=3)
            for caller in range(CALLERS)
        ]
        self.imported = {f"I{at}": synthetic_portrait(next(numbers)) for at in range(IMPORTED)}
        self.pictures = folder_of_pictures(folder / "pictures", self.imported)
        self.import_begun = False
        self.log = folder / "killed.log"

    def rows(self) -> list[dict[str, str]]:
        """The lines of the import file."""
        return [{"person_id": name, "level_code": "30", "portrait": f"{name}.jpg"} for name in self.imported]

    @property
    def acknowledged(self) -> int:
        """How many requests were answered as they should be."""
        return sum(ledger.acknowledged for ledger in self.ledgers)

    def said(self) -> bytes:
        """What the command that runs has written."""
        return self.log.read_bytes()

    def check_truth(self) -> None:
        """Compare database, files and gallery with each other and with what was acknowledged."""
        stored = registrations(self.database)
        for ledger in self.ledgers:
            ledger.settle(stored)
        sent = {name for ledger in self.ledgers for name in ledger.people}
        brought = set(self.imported) if self.import_begun else set()
        assert set(stored) <= sent | brought
        for name in brought & set(stored):
            assert stored[name] == {sha256(self.imported[name])}
        assert_files_agree(self.database, self.store)
        assert_gallery_agrees(self.database, *self.in_force())

    def in_force(self) -> tuple[Settings, Pack]:
        """The settings and pack that a service would take: a rebuild may have come as far as to switch."""
        with self.database.read() as session:
            found = in_force(session, self.settings)
        is_other = found.contract_id == self.other_pack.contract_id
        return found.settings, self.other_pack if is_other else self.pack

    def check_answers(self, service: Serving, dice: random.Random) -> None:
        """Ask the restarted service about everybody, and about the checks of before."""
        with calling(service.address, self.key) as caller:
            for ledger in self.ledgers:
                for transaction, picture in ledger.unanswered.items():
                    ledger.answered[transaction] = caller.check(transaction, picture)["check_id"]
                ledger.unanswered.clear()
                kept = sorted(ledger.answered.items())
                for transaction, check_id in dice.sample(kept, min(5, len(kept))):
                    assert caller.get("/v1/checks", transaction_id=transaction)["check_id"] == check_id
                for name, picture, state in enrolled(ledger):
                    check = caller.check(f"Q-{name}-{dice.getrandbits(64):016x}", picture)
                    found = [candidate["person_id"] for candidate in check["candidates"]]
                    assert (name in found) == (state is not ABSENT)
                    assert state is ABSENT or found[0] == name


def enrolled(ledger: Ledger) -> Iterator[tuple[str, bytes, frozenset[str] | None]]:
    """Every person with the settled state, and a picture that is enrolled where one is."""
    for name, (state,) in ledger.possible.items():
        pictures = ledger.pictures[name]
        yield name, next((p for p in pictures if state and sha256(p) in state), pictures[0]), state


def while_callers_write(town: Town, dice: random.Random) -> None:
    """The service dies in the middle of requests."""
    service = town.installation.start()
    town.check_answers(service, dice)
    seeds = [dice.getrandbits(64) for _ledger in town.ledgers]

    def call(ledger: Ledger, seed: int) -> None:
        with calling(service.address, town.key) as caller:
            ledger.work(caller, random.Random(seed))

    threads = [threading.Thread(target=call, args=pair) for pair in zip(town.ledgers, seeds, strict=True)]
    wanted = town.acknowledged + dice.randint(*ANSWERS)
    for thread in threads:
        thread.start()
    until = time.monotonic() + PATIENCE_S
    while town.acknowledged < wanted and time.monotonic() < until:
        time.sleep(0.001)
    time.sleep(dice.uniform(0.0, 0.3))
    service.kill()
    for thread in threads:
        thread.join()


def while_it_starts(town: Town, dice: random.Random) -> None:
    """The service dies before it was ready: while the galleries are loaded or a generation is written."""
    killed(town, dice, lambda: b"gallery-loaded" in town.said(), "serve", "--port", "0")


def during_an_import(town: Town, dice: random.Random) -> None:
    """An import dies, and the same command is killed or finished later."""
    town.import_begun = True
    path = town.installation.write_rows(town.rows())
    before = town.store.locations()
    command = ("import", str(path), "--portraits", str(town.pictures))
    killed(town, dice, lambda: town.store.locations() != before, *command)


def during_a_rebuild(town: Town, dice: random.Random) -> None:
    """A rebuild for the pack that is not in force dies while it encodes or writes, or after its switch."""
    _, pack = town.in_force()
    other = town.other_pack_dir if pack is town.pack else Path(town.settings.pack)
    command = ("rebuild", "--pack", str(other))
    killed(town, dice, lambda: b"Encoded" in town.said(), *command)


def killed(town: Town, dice: random.Random, begun: Callable[[], bool], *command: str) -> None:
    """Kill a command: every other time at any moment, else soon after its work has begun to show."""
    with town.log.open("wb") as out:
        process = town.installation.begin(*command, out=out)
    if dice.random() < 0.5:
        time.sleep(dice.uniform(0.5, 2.5))
    else:
        until = time.monotonic() + PATIENCE_S
        while not begun() and process.poll() is None and time.monotonic() < until:
            time.sleep(0.001)
        time.sleep(dice.uniform(0.0, 0.1))
    process.kill()
    process.wait()


WAYS: list[Callable[[Town, random.Random], None]] = [
    while_callers_write,
    during_an_import,
    while_callers_write,
    during_a_rebuild,
    while_it_starts,
    while_callers_write,
]


@pytest.fixture(scope="module")
def other_pack_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = make_synthetic_pack(tmp_path_factory.mktemp("packs") / "other")
    manifest = directory / "pack.toml"
    manifest.write_text(manifest.read_text(encoding="utf-8").replace("127.5", "126.5"), encoding="utf-8")
    return directory


def test_kill_at_any_moment_loses_and_invents_nothing(
    tmp_path: Path, synthetic_pack_dir: Path, other_pack_dir: Path
) -> None:
    town = Town(tmp_path / "town", synthetic_pack_dir, other_pack_dir)
    dice = random.Random(SEED)
    try:
        for number in range(ROUNDS):
            WAYS[number % len(WAYS)](town, dice)
            town.check_truth()
        assert town.acknowledged >= 2 * ROUNDS
        # In the end everything that was begun can be finished.
        town.installation.import_portraits(town.rows(), town.pictures)
        town.import_begun = True
        assert set(town.imported) <= set(registrations(town.database))
        done = town.installation.run("rebuild", "--pack", str(other_pack_dir))
        assert done.returncode == 0, done.stdout
        town.check_truth()
        assert town.in_force()[1] is town.other_pack
        service = town.installation.start()
        town.check_answers(service, dice)
        service.stop()
    finally:
        town.open.close()
