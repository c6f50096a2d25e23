"""What callers of a service that may die at any moment have been told, and what must therefore be true."""

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
from sqlalchemy import select

from index.pack import Pack
from service.database import Database
from service.galleries.keeper import open_keeper
from service.galleries.repository import load_references
from service.galleries.service import Galleries
from service.portrait_store import PortraitStore, owner_of_check, owner_of_person
from service.settings import Settings
from service.tables import Check, Person
from tests.functional.callers import Caller
from tests.synthetic import synthetic_portrait

Act = Callable[[Caller, random.Random], None]

State = frozenset[str] | None
"""SHA-256 of a person's portraits; None when there is no registration."""

ABSENT: State = None


def sha256(picture: bytes) -> str:
    """Identify a picture."""
    return hashlib.sha256(picture).hexdigest()


@dataclass
class Ledger:
    """What one caller has sent, and what was acknowledged.

    Attributes:
        people: Whose registrations the caller keeps; nobody else touches them.
        pictures: All pictures of a person.
        possible: States that a person may be in: the acknowledged one, and the one asked for last.
        answered: Acknowledged checks, id by transaction.
        unanswered: Transactions sent whose answer never came, with the picture.
        faults: Answers that should not have come.
        acknowledged: Number of answers that came as they should.
    """

    people: dict[str, int]
    pictures: dict[str, list[bytes]] = field(repr=False)
    possible: dict[str, set[State]] = field(default_factory=dict)
    answered: dict[str, str] = field(default_factory=dict)
    unanswered: dict[str, bytes] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    acknowledged: int = 0

    @classmethod
    def of(cls, people: dict[str, int], *, shots: int) -> "Ledger":
        """A ledger of persons who are not registered yet."""
        pictures = {
            name: [synthetic_portrait(face, shot) for shot in range(shots)] for name, face in people.items()
        }
        return cls(people, pictures, {name: {ABSENT} for name in people})

    def work(self, caller: Caller, dice: random.Random) -> None:
        """Send requests until the service dies."""
        acts: list[Callable[[Caller, random.Random], None]] = [
            self._put,
            self._put,
            self._delete,
            self._check,
        ]
        try:
            while True:
                dice.choice(acts)(caller, dice)
        except httpx.TransportError:
            return

    def _put(self, caller: Caller, dice: random.Random) -> None:
        name = dice.choice(list(self.people))
        pictures = dice.sample(self.pictures[name], dice.randint(1, 2))
        wanted = frozenset(map(sha256, pictures))
        self.possible[name].add(wanted)
        answer = caller.send_person(name, *pictures)
        self._expect(answer, {200, 201})
        self.possible[name] = {wanted}

    def _delete(self, caller: Caller, dice: random.Random) -> None:
        name = dice.choice(list(self.people))
        self.possible[name].add(ABSENT)
        self._expect(caller.delete_person(name), {204, 404})
        self.possible[name] = {ABSENT}

    def _check(self, caller: Caller, dice: random.Random) -> None:
        name = dice.choice(list(self.people))
        transaction, picture = f"T-{dice.getrandbits(64):016x}", dice.choice(self.pictures[name])
        self.unanswered[transaction] = picture
        answer = caller.send_check(transaction, picture)
        self._expect(answer, {201})
        del self.unanswered[transaction]
        self.answered[transaction] = answer.json()["check_id"]

    def _expect(self, answer: httpx.Response, statuses: set[int]) -> None:
        self.acknowledged += 1
        if answer.status_code not in statuses:
            self.faults.append(f"{answer.request.method} {answer.status_code}: {answer.text[:300]}")

    def settle(self, stored: dict[str, frozenset[str]]) -> None:
        """Compare with what the database holds; from now on that is the truth.

        Raises:
            AssertionError: Something acknowledged is lost, or something is there that was never sent.
        """
        assert self.faults == []
        for name, possible in self.possible.items():
            assert stored.get(name) in possible, f"{name} is in a state that was neither kept nor asked for"
            self.possible[name] = {stored.get(name)}


def registrations(database: Database) -> dict[str, frozenset[str]]:
    """The portraits of every stored person."""
    with database.read() as session:
        return {
            person.person_id: frozenset(portrait.sha256 for portrait in person.portraits)
            for person in session.scalars(select(Person))
        }


def assert_files_agree(database: Database, store: PortraitStore) -> None:
    """Every row's file is there and whole; files without a row are all that a crash may leave."""
    with database.read() as session:
        for person in session.scalars(select(Person)):
            for portrait in person.portraits:
                owner = owner_of_person(person.person_id)
                assert sha256(store.get(portrait.location, owner=owner)) == portrait.sha256
        probes = select(Check.transaction_id, Check.probe_location).where(Check.probe_location.is_not(None))
        for transaction_id, location in session.execute(probes):
            assert location is not None
            assert store.get(location, owner=owner_of_check(transaction_id))


def assert_gallery_agrees(database: Database, settings: Settings, pack: Pack) -> None:
    """What a starting service would load from disk is, to the bit, what the database holds."""
    place = Galleries(database=database, settings=settings, pack=pack).place("flagged")
    with database.read() as session:
        keeper = open_keeper(session, place, backend="exact", keep=settings.keep_generations)
        truth, damaged = load_references(session, "flagged", pack.contract_id, pack.dimension)
    assert not damaged
    assert not keeper.unencoded
    loaded = keeper.gallery.references()
    for column in ("reference_ids", "person_keys", "sexes", "birth_years", "vectors"):
        assert np.array_equal(getattr(loaded, column), getattr(truth, column)), column


def folder_of_pictures(folder: Path, pictures: dict[str, bytes]) -> Path:
    """Write pictures as files for an import."""
    folder.mkdir()
    for name, picture in pictures.items():
        (folder / f"{name}.jpg").write_bytes(picture)
    return folder
