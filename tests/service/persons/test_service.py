"""Registrations under fire: races, full disks, commits in doubt; rows and files stay together."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from index.pack import load_pack
from service.auth.service import Actor
from service.database import Database
from service.encryption.vault import vault_of
from service.engine import Engine
from service.errors import (
    DatabaseUnavailableError,
    NotFoundError,
    RegistrationChangedError,
    StorageUnavailableError,
)
from service.persons.enrolment import PortraitFile, Prepared
from service.persons.schemas import PersonStored, RegistrationFields
from service.persons.service import Persons
from service.portrait_store import PortraitStore
from service.settings import Settings
from service.tables import Person, Portrait, Template
from tests.service.calls import contents, portrait

CLIENT = Actor(kind="system", id=None, name="test")
FLAGGED = RegistrationFields(level_code="30", division_code="530102")
SETTLED = RegistrationFields(level_code="10")


@pytest.fixture(scope="module")
def engine(synthetic_pack_dir: Path) -> Iterator[Engine]:
    opened = Engine(load_pack(synthetic_pack_dir), threads=2, queue_limit=64)
    yield opened
    opened.close()


@pytest.fixture
def store(settings: Settings, database: Database) -> PortraitStore:
    return PortraitStore(settings.portraits_dir, vault_of(database.info))


Making = Callable[..., Persons]


@pytest.fixture
def making(database: Database, engine: Engine, store: PortraitStore, settings: Settings) -> Making:
    def make(**others: Any) -> Persons:
        parts: dict[str, Any] = {"database": database, "engine": engine, "store": store}
        return Persons(**{**parts, "settings": settings, **others})

    return make


@pytest.fixture
def persons(making: Making) -> Persons:
    return making()


def files(*pictures: bytes) -> list[PortraitFile]:
    return [PortraitFile(picture) for picture in pictures]


def put(persons: Persons, person_id: str, *pictures: bytes) -> PersonStored:
    return persons.store(person_id, FLAGGED, files(*pictures), actor=CLIENT)


def assert_rows_and_files_agree(database: Database, store: PortraitStore) -> None:
    with database.read() as session:
        locations = session.scalars(select(Portrait.location)).all()
    assert len(set(locations)) == len(locations)
    assert set(locations) == store.locations()


def test_portrait_that_was_erased_while_the_request_was_examined_is_not_taken_for_stored(
    persons: Persons, database: Database, store: PortraitStore
) -> None:
    put(persons, "P1", portrait(1), portrait(1, 1))
    prepared = persons.prepare("P1", FLAGGED, files(portrait(1), portrait(1, 2)))
    put(persons, "P1", portrait(1, 1))
    before, kept = contents(database), store.locations()
    with pytest.raises(RegistrationChangedError):
        persons.store_prepared([prepared], actor=CLIENT)
    assert contents(database) == before
    assert store.locations() == kept
    assert put(persons, "P1", portrait(1), portrait(1, 2)).enrolment.references == 2
    assert_rows_and_files_agree(database, store)


def test_person_who_was_erased_while_the_request_was_examined_does_not_come_back_half(
    persons: Persons, database: Database, store: PortraitStore
) -> None:
    put(persons, "P1", portrait(1))
    prepared = persons.prepare("P1", FLAGGED, files(portrait(1)))
    persons.erase("P1", actor=CLIENT)
    with pytest.raises(RegistrationChangedError):
        persons.store_prepared([prepared], actor=CLIENT)
    with database.read() as session:
        assert session.scalars(select(Person)).all() == []
    assert store.locations() == set()


def test_one_changed_registration_of_a_batch_refuses_the_whole_batch(
    persons: Persons, database: Database, store: PortraitStore
) -> None:
    put(persons, "P1", portrait(1))
    batch = [
        persons.prepare("P0", FLAGGED, files(portrait(5))),
        persons.prepare("P1", FLAGGED, files(portrait(1))),
        persons.prepare("P2", FLAGGED, files(portrait(6), portrait(6, 1))),
    ]
    persons.erase("P1", actor=CLIENT)
    before = contents(database)
    with pytest.raises(RegistrationChangedError):
        persons.store_prepared(batch, actor=CLIENT)
    assert contents(database) == before
    assert store.locations() == set()


def test_portrait_that_two_requests_bring_at_once_is_stored_once(
    persons: Persons, database: Database, store: PortraitStore
) -> None:
    first = persons.prepare("P1", FLAGGED, files(portrait(1)))
    second = persons.prepare("P1", FLAGGED, files(portrait(1)))
    assert persons.store_prepared([first], actor=CLIENT)[0].created
    again = persons.store_prepared([second], actor=CLIENT)[0]
    assert (again.created, again.enrolment.references) == (False, 1)
    assert_rows_and_files_agree(database, store)
    with database.read() as session:
        assert len(session.scalars(select(Template)).all()) == 1


def test_answers_come_in_the_order_of_the_batch(persons: Persons) -> None:
    names = ["P3", "P1", "P2"]
    batch = [persons.prepare(name, FLAGGED, files(portrait(int(name[1])))) for name in names]
    assert [stored.person_id for stored in persons.store_prepared(batch, actor=CLIENT)] == names


def test_batches_in_opposite_order_do_not_wait_for_each_other(
    persons: Persons, database: Database, store: PortraitStore
) -> None:
    names = [f"P{number}" for number in range(6)]
    shots = [[persons.prepare(name, FLAGGED, files(portrait(at))) for at, name in enumerate(names)]]
    persons.store_prepared(shots[0], actor=CLIENT)
    ready = threading.Barrier(2)

    def change(order: Sequence[str], sex: str) -> None:
        fields = FLAGGED.model_copy(update={"sex": sex})
        for _turn in range(5):
            batch = [persons.prepare(name, fields, None) for name in order]
            ready.wait(20)
            persons.store_prepared(batch, actor=CLIENT)

    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(change, names, "1"), pool.submit(change, names[::-1], "2")]
        for future in both:
            future.result(60)
    assert_rows_and_files_agree(database, store)


def test_many_requests_for_few_persons_leave_rows_and_files_in_step(
    persons: Persons, database: Database, store: PortraitStore
) -> None:
    """Upserts, flag changes and erasures of the same persons from several threads at once."""

    def work(worker: int) -> None:
        for turn in range(8):
            name = f"P{(worker + turn) % 2}"
            try:
                if turn % 4 == 3:
                    persons.erase(name, actor=CLIENT)
                elif turn % 4 == 2:
                    persons.store(name, SETTLED, None, actor=CLIENT)
                else:
                    put(persons, name, portrait(1, turn % 3), portrait(1, worker % 3))
            except (NotFoundError, RegistrationChangedError):
                continue

    with ThreadPoolExecutor(3) as pool:
        for future in [pool.submit(work, worker) for worker in range(3)]:
            future.result(60)
    assert_rows_and_files_agree(database, store)
    with database.read() as session:
        for person in session.scalars(select(Person)):
            assert bool(person.portraits) == (person.gallery is not None)
        templates = set(session.scalars(select(Template.reference_id)))
        assert templates == set(session.scalars(select(Portrait.reference_id)))


def test_full_portrait_store_changes_nothing(
    making: Making, database: Database, store: PortraitStore, tmp_path: Path
) -> None:
    put(making(), "P1", portrait(1))
    before, kept = contents(database), store.locations()
    (tmp_path / "in-the-way").touch()
    full = making(store=PortraitStore(tmp_path / "in-the-way", vault_of(database.info)))
    batch = [full.prepare(f"P{at}", FLAGGED, files(portrait(at, 1), portrait(at, 2))) for at in (1, 2, 3)]
    with pytest.raises(StorageUnavailableError):
        full.store_prepared(batch, actor=CLIENT)
    assert contents(database) == before
    assert store.locations() == kept


class FillingUp(PortraitStore):
    """A store that becomes full after some portraits."""

    def __init__(self, whole: PortraitStore, *, room: int) -> None:
        super().__init__(whole.directory, whole._vault)
        self._room = room
        self._lock = threading.Lock()

    def put(self, data: bytes, *, owner: str) -> str:
        """Store a portrait while there is room."""
        with self._lock:
            self._room -= 1
            if self._room < 0:
                raise StorageUnavailableError("A portrait could not be stored (No space left on device).")
        return super().put(data, owner=owner)


@pytest.mark.parametrize("room", [0, 1, 3, 5])
def test_store_that_fills_up_in_the_middle_of_a_batch_is_left_as_it_was(
    making: Making, database: Database, store: PortraitStore, room: int
) -> None:
    filling = making(store=FillingUp(store, room=room))
    batch = [filling.prepare(f"P{at}", FLAGGED, files(portrait(at, 1), portrait(at, 2))) for at in (1, 2, 3)]
    with pytest.raises(StorageUnavailableError):
        filling.store_prepared(batch, actor=CLIENT)
    assert store.locations() == set()
    with database.read() as session:
        assert session.scalars(select(Person)).all() == []


def test_fault_inside_the_transaction_removes_its_files(
    persons: Persons, database: Database, store: PortraitStore
) -> None:
    put(persons, "P1", portrait(1))
    kept = store.locations()
    prepared = persons.prepare("P1", FLAGGED, files(portrait(1), portrait(1, 1)))

    def fail(session: Session, _context: object, _instances: object) -> None:
        if any(isinstance(thing, Portrait) for thing in session.new):
            raise OperationalError("INSERT", None, Exception("server closed the connection"))

    event.listen(Session, "before_flush", fail)
    try:
        with pytest.raises(DatabaseUnavailableError):
            persons.store_prepared([prepared], actor=CLIENT)
    finally:
        event.remove(Session, "before_flush", fail)
    assert store.locations() == kept
    assert_rows_and_files_agree(database, store)


def test_commit_whose_answer_was_lost_keeps_the_files_that_its_rows_point_to(
    persons: Persons, database: Database, store: PortraitStore
) -> None:
    put(persons, "P1", portrait(1))
    prepared: list[Prepared] = [persons.prepare("P1", FLAGGED, files(portrait(1, 1)))]

    def lose(_session: Session) -> None:
        raise OperationalError("COMMIT", None, Exception("server closed the connection"))

    event.listen(Session, "after_commit", lose)
    try:
        with pytest.raises(DatabaseUnavailableError):
            persons.store_prepared(prepared, actor=CLIENT)
    finally:
        event.remove(Session, "after_commit", lose)
    with database.read() as session:
        recorded = set(session.scalars(select(Portrait.location)))
    assert len(recorded) == 1
    assert recorded < store.locations()  # The replaced portrait's file is left over, never the reverse.
    assert put(persons, "P1", portrait(1, 1)).enrolment.references == 1


def test_file_that_cannot_be_removed_does_not_keep_a_person_in_the_gallery(
    making: Making, database: Database, store: PortraitStore
) -> None:
    class Stuck(PortraitStore):
        def delete(self, location: str) -> None:
            raise StorageUnavailableError("A portrait could not be removed (Read-only file system).")

    put(making(), "P1", portrait(1))
    with pytest.raises(StorageUnavailableError):
        making(store=Stuck(store.directory)).erase("P1", actor=CLIENT)
    with database.read() as session:
        assert session.scalars(select(Person)).all() == []
        assert session.scalars(select(Template)).all() == []
    assert len(store.locations()) == 1
