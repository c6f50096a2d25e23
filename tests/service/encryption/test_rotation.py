"""Changing keys: while others write, interrupted and resumed, from plain, and what cannot be opened."""

import threading
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest
from pydantic import SecretStr
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from index.pack import Pack, load_pack
from index.types import Vectors
from service.database import Database
from service.encryption import columns, rotation
from service.encryption import vault as vault_module
from service.encryption.keys import new_key
from service.encryption.opening import open_vault
from service.encryption.rotation import Rotation, chosen_master
from service.encryption.sealing import key_number
from service.encryption.templates import sealed_template
from service.encryption.vault import Vault, vault_of
from service.errors import SealBrokenError, SettingsError
from service.galleries.service import Galleries
from service.portrait_store import PortraitStore, owner_of_person
from service.settings import Settings
from service.tables import Base, DataKey, EncryptionState, Person, Portrait, Template
from tests.service.conftest import SQLITE_ONLY
from tests.service.galleries.filling import fill, unit_vectors

COUNT = 40


@pytest.fixture(scope="module")
def pack(synthetic_pack_dir: Path) -> Pack:
    return load_pack(synthetic_pack_dir)


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let processes notice a retired data key at once, so that no test waits."""
    monkeypatch.setattr(vault_module, "REFRESH_S", 0.0)
    monkeypatch.setattr(rotation, "REFRESH_S", 0.01)
    monkeypatch.setattr(columns, "BATCH", 7)


@pytest.fixture
def vectors(pack: Pack) -> Vectors:
    return unit_vectors(COUNT, pack.dimension)


@pytest.fixture
def store(database: Database, settings: Settings, pack: Pack, vectors: Vectors) -> PortraitStore:
    """Persons with templates, and a portrait file each."""
    store = PortraitStore(settings.portraits_dir, vault_of(database.info))
    store.delete(store.put(b"", owner="nobody"))  # Makes the folder, while no record points into it yet.
    fill(database, vectors, contract_id=pack.contract_id)
    with database.write() as session:
        for portrait in session.scalars(select(Portrait)):
            portrait.location = store.put(picture(portrait.reference_id), owner=owner(portrait))
    return store


def picture(reference_id: int) -> bytes:
    return b"\xff\xd8\xff" + reference_id.to_bytes(4, "big") * 100


def owner(portrait: Portrait) -> str:
    return owner_of_person(portrait.person.person_id)


def enrolled(session: Session, store: PortraitStore, name: str, pack: Pack, vector: Vectors) -> Portrait:
    """Store a person with a portrait and a template, as a service does it while keys are changed."""
    person = Person(person_id=name, level_code="30")
    session.add(person)
    session.flush()
    portrait = Portrait(
        person_key=person.key, sha256="0" * 64, format="jpeg", location="", quality={}, marks=[], landmarks=[]
    )
    session.add(portrait)
    session.flush()
    portrait.location = store.put(picture(portrait.reference_id), owner=owner_of_person(name))
    plain = vector.astype("<f4").tobytes()
    sealed = sealed_template(vault_of(session), portrait.reference_id, pack.contract_id, plain)
    session.add(Template(reference_id=portrait.reference_id, contract_id=pack.contract_id, vector=sealed))
    return portrait


def two_keys(database: Database, settings: Settings) -> tuple[Settings, Vault]:
    given = settings.encryption_keys.get_secret_value() if settings.encryption_keys else ""
    both = settings.model_copy(update={"encryption_keys": SecretStr(f"{given},{new_key()}")})
    return both, open_vault(database, both)


def assert_all_readable(database: Database, store: PortraitStore, settings: Settings, pack: Pack) -> None:
    """Open every portrait and find every person by the template."""
    with database.read() as session:
        for portrait in session.scalars(select(Portrait)):
            assert store.get(portrait.location, owner=owner(portrait)) == picture(portrait.reference_id)
        for row in session.scalars(select(Template)):
            assert vault_of(session).open("template", f"{row.reference_id}:{row.contract_id}", row.vector)


def numbers(database: Database, store: PortraitStore) -> set[int | None]:
    """Return the data keys that anything stored uses."""
    with database.read() as session:
        sealed = {key_number(vector) for vector in session.scalars(select(Template.vector))}
    return sealed | {store.key_number(location) for location in store.locations()}


def test_rotation_wraps_data_keys_anew_and_frees_the_old_key(
    database: Database, settings: Settings, store: PortraitStore, pack: Pack
) -> None:
    both, vault = two_keys(database, settings)
    told: list[int] = []
    count = Rotation(database, both, vault).rewrap(chosen_master(vault, None), told.append)
    assert count == sum(told) >= 1
    only_new = both.model_copy(
        update={"encryption_keys": SecretStr(str(both.encryption_keys.get_secret_value()).split(",")[1])}  # type: ignore[union-attr]
    )
    fresh = open_vault(database, only_new)
    assert fresh.check() >= count
    assert_all_readable(database, PortraitStore(store.directory, fresh), settings, pack)
    with pytest.raises(SettingsError, match="wrong encryption key"):
        open_vault(database, settings)


def test_everything_is_encrypted_anew_beside_a_service_that_writes_and_erases(
    database: Database, settings: Settings, store: PortraitStore, pack: Pack, vectors: Vectors
) -> None:
    serving = Database(database.engine.url.render_as_string(hide_password=False))
    open_vault(serving, settings)
    served = PortraitStore(store.directory, vault_of(serving.info))
    stop, faults = threading.Event(), list[BaseException]()
    written: list[str] = []

    def serve() -> None:
        try:
            while not stop.is_set():
                names = (f"stays-{uuid4().hex}", f"goes-{uuid4().hex}")
                with serving.write() as session:
                    rows = [enrolled(session, served, name, pack, vectors[0]) for name in names]
                with serving.write() as session:
                    session.delete(session.get_one(Person, rows[1].person_key))
                served.delete(rows[1].location)
                written.append(names[0])
        except BaseException as error:
            faults.append(error)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        both, vault = two_keys(database, settings)
        work = Rotation(database, both, vault)
        before = numbers(database, store)
        assert not work.begin()
        result = work.reseal(lambda _count: None)
    finally:
        stop.set()
        thread.join(60)
        serving.close()
    assert not faults, faults
    assert written
    assert result.broken == []
    assert result.done >= 2 * COUNT
    assert not before & numbers(database, store)
    assert_all_readable(database, PortraitStore(store.directory, vault), settings, pack)


@SQLITE_ONLY
def test_an_interrupted_re_encryption_goes_on_where_it_stopped(
    database: Database, settings: Settings, store: PortraitStore, pack: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    both, vault = two_keys(database, settings)

    def interrupt_after(steps: int) -> Callable[[int], None]:
        left = iter(range(steps))

        def advance(_count: int) -> None:
            if next(left, None) is None:
                raise KeyboardInterrupt

        return advance

    for steps in (0, 2, 2):
        work = Rotation(database, both, vault)
        work.begin()
        with pytest.raises(KeyboardInterrupt):
            work.reseal(interrupt_after(steps))
        assert_all_readable(database, store, settings, pack)
    work = Rotation(database, both, open_vault(database, both))
    assert work.begin()
    assert work.total() < 2 * COUNT
    work.reseal(lambda _count: None)
    with database.read() as session:
        assert session.scalars(select(EncryptionState.resealing_to)).one() is None
        retired = set(session.scalars(select(DataKey.number).where(DataKey.retired_at.is_not(None))))
    assert not retired & numbers(database, store)
    assert_all_readable(database, store, settings, pack)


def test_an_installation_of_an_earlier_version_is_encrypted(
    database: Database, settings: Settings, store: PortraitStore, pack: Pack, vectors: Vectors, tmp_path: Path
) -> None:
    plain = {}
    with database.write() as session:  # As the earlier version left it.
        session.execute(update(EncryptionState).values(encrypted_at=None))
        for number, portrait in enumerate(session.scalars(select(Portrait).order_by(Portrait.reference_id))):
            store.delete(portrait.location)
            portrait.location = f"{number:02x}/{number:032x}.jpeg"
            path = store.directory / portrait.location
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(picture(portrait.reference_id))
            vector = vectors[number].astype("<f4").tobytes()
            plain[portrait.reference_id] = vector
            session.get_one(Template, (portrait.reference_id, pack.contract_id)).vector = vector
    orphan = store.directory / "00" / f"{'f' * 32}.png"
    orphan.write_bytes(b"nobody's")
    vault = open_vault(database, settings, encrypting=True)
    work = Rotation(database, settings, vault)
    work.begin()
    result = work.reseal(lambda _count: None)
    assert (result.done, result.broken) == (2 * COUNT, [])
    assert not orphan.exists()
    assert_all_readable(
        database, PortraitStore(store.directory, open_vault(database, settings)), settings, pack
    )
    galleries = Galleries(database=database, settings=settings, pack=pack)
    galleries.open()
    assert galleries.states()[0].ready
    with database.write() as session:  # From now on nothing plain is taken.
        session.get_one(Template, (1, pack.contract_id)).vector = plain[1]
    with database.read() as session:
        stored, vault = session.get_one(Template, (1, pack.contract_id)).vector, vault_of(session)
    with pytest.raises(SealBrokenError):
        vault.open("template", f"1:{pack.contract_id}", stored)


@SQLITE_ONLY
def test_what_cannot_be_opened_is_told_and_left_as_it_is(
    database: Database, settings: Settings, store: PortraitStore, pack: Pack
) -> None:
    with database.write() as session:
        rows = session.scalars(select(Template).order_by(Template.reference_id)).all()
        rows[3].vector, kept = rows[4].vector, rows[4].vector
        store_path = store.directory / session.get_one(Portrait, 8).location
    store_path.write_bytes(store_path.read_bytes()[:-1] + b"\0\0")
    work = Rotation(database, settings, vault_of(database.info))
    work.begin()
    result = work.reseal(lambda _count: None)
    assert sorted(result.broken) == ["portrait file of person:P7", f"template 4:{pack.contract_id}"]
    with database.read() as session:
        assert session.get_one(Template, (4, pack.contract_id)).vector == kept


def test_every_column_of_bytes_is_known_to_the_rotation() -> None:
    held = {
        f"{table.name}.{column.name}"
        for table in Base.metadata.sorted_tables
        for column in table.columns
        if "BLOB" in str(column.type).upper()
    }
    sealed = {f"{known.column.class_.__tablename__}.{known.column.key}" for known in columns.SEALED_COLUMNS}
    assert held - sealed == {"data_keys.wrapped", "encryption_state.check_value"}
