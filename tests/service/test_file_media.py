"""What holds for every store of files, on whatever it lies: a folder, objects in memory, a bucket."""

import threading
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from service.database import Database
from service.encryption.blobs import BlobStore
from service.encryption.folder import Folder
from service.encryption.medium import Medium
from service.encryption.objects import Objects
from service.encryption.vault import vault_of
from service.errors import SealBrokenError, StorageUnavailableError
from service.file_stores import portrait_store
from service.portrait_store import LOCATION, PortraitStore
from service.settings import Settings
from service.tables import Person, Portrait
from tests.s3 import BucketSettings
from tests.service.conftest import SQLITE_ONLY

pytestmark = [
    SQLITE_ONLY,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # s3fs leaves its connections to the end.
]

PICTURE = bytes(range(256)) * 40

MEDIA = ["folder", "memory", pytest.param("s3", marks=pytest.mark.s3)]

Reopen = Callable[[], Medium]
"""Opens the same place as another process would."""


@pytest.fixture(params=MEDIA)
def reopen(request: pytest.FixtureRequest, tmp_path: Path, settings: Settings) -> Reopen:
    if request.param == "folder":
        return lambda: Folder(tmp_path / "var" / "portraits")
    if request.param == "memory":
        root = f"/{uuid4().hex}"
        return lambda: Objects(MemoryFileSystem(), root, name="memory")
    in_bucket: BucketSettings = request.getfixturevalue("in_bucket")
    chosen = in_bucket(settings)
    return lambda: portrait_store(chosen).medium


@pytest.fixture
def store(reopen: Reopen, database: Database) -> PortraitStore:
    return PortraitStore(reopen(), vault_of(database.info))


def put(store: PortraitStore, data: bytes = PICTURE) -> str:
    return store.put(data, owner="person:P1")


def get(store: PortraitStore, location: str) -> bytes:
    return store.get(location, owner="person:P1")


def point_to(database: Database, location: str) -> None:
    with database.write() as session:
        person = Person(person_id="P1", level_code="30")
        session.add(person)
        session.flush()
        facts = {"sha256": "0" * 64, "format": "jpeg", "quality": {}, "marks": [], "landmarks": []}
        session.add(Portrait(person_key=person.key, location=location, **facts))


def lose(medium: Medium) -> None:
    """Do what makes a medium look like another one: unmount a share, name a wrong bucket."""
    if isinstance(medium, Folder):
        medium.directory.rename(medium.directory.with_name("elsewhere"))
    elif isinstance(medium, Objects):
        medium.discard(".store")


def bring_back(medium: Medium) -> None:
    if isinstance(medium, Folder):
        medium.directory.with_name("elsewhere").rename(medium.directory)
    else:
        medium.begin()


def test_portrait_comes_back_as_it_was(store: PortraitStore) -> None:
    location = put(store)
    assert get(store, location) == PICTURE
    assert store.locations() == {location}


def test_equal_portraits_have_names_of_their_own_that_tell_nothing(store: PortraitStore) -> None:
    first, second = put(store), put(store)
    assert first != second
    assert LOCATION.fullmatch(first)
    store.delete(first)
    assert get(store, second) == PICTURE


def test_deleting_twice_is_no_error(store: PortraitStore) -> None:
    location = put(store)
    store.delete(location)
    store.delete(location)
    assert store.locations() == set()
    with pytest.raises(StorageUnavailableError):
        get(store, location)


@pytest.mark.parametrize(
    "location",
    [
        "",
        "x",
        "../secret.sealed",
        "ab/../../etc/passwd",
        "/etc/passwd",
        "ab/" + "0" * 32,
        "ab/" + "0" * 32 + ".sealed\n",
        "ab/" + "0" * 32 + ".jpeg",
        "ab/" + "0" * 31 + ".sealed",
        "AB/" + "0" * 32 + ".sealed",
        "ab//" + "0" * 32 + ".sealed",
        "ab/" + "0" * 32 + ".sealed/..",
        "ab\\" + "0" * 32 + ".sealed",
        "ab/" + "\u0660" * 32 + ".sealed",
    ],
)
def test_location_of_another_form_reaches_no_file(store: PortraitStore, location: str) -> None:
    with pytest.raises(StorageUnavailableError, match="doctor"):
        get(store, location)
    with pytest.raises(StorageUnavailableError, match="doctor"):
        store.delete(location)
    assert not store.exists(location)
    assert store.read_sealed(location) is None


def test_a_file_is_encrypted_and_opens_only_in_its_own_place(
    store: PortraitStore, database: Database
) -> None:
    mine, other = put(store), put(store, b"another's")
    stored = store.medium.read(mine)
    assert PICTURE[:64] not in stored
    with pytest.raises(SealBrokenError):
        store.get(mine, owner="person:P2")
    store.medium.put_in_place(other, stored)
    with pytest.raises(SealBrokenError):
        get(store, other)
    evidence = BlobStore(store.medium, vault_of(database.info), kind="evidence")
    with pytest.raises(SealBrokenError):
        evidence.get(mine, owner="person:P1")
    store.medium.put_in_place(mine, PICTURE)
    with pytest.raises(SealBrokenError, match="not encrypted"):
        get(store, mine)


def test_evidence_of_ten_megabytes_is_kept(reopen: Reopen, database: Database) -> None:
    evidence = BlobStore(reopen(), vault_of(database.info), kind="evidence")
    data = bytes(range(256)) * 40 * 1024
    assert evidence.get(evidence.put(data, owner="attachment:1"), owner="attachment:1") == data


def test_a_file_sealed_anew_keeps_its_name_and_one_that_was_deleted_stays_deleted(
    store: PortraitStore,
) -> None:
    location = put(store)
    before = store.medium.read(location)
    assert store.reseal(location, owner="person:P1")
    assert store.medium.read(location) != before
    assert get(store, location) == PICTURE
    store.delete(location)
    assert not store.reseal(location, owner="person:P1")
    assert store.locations() == set()


def test_many_writers_do_not_get_into_each_others_way(store: PortraitStore) -> None:
    stored: dict[str, bytes] = {}

    def write(number: int) -> None:
        for turn in range(20):
            data = f"{number}/{turn}".encode()
            stored[put(store, data)] = data

    writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(stored) == 80
    assert store.locations() == set(stored)
    assert all(get(store, location) == data for location, data in stored.items())


def test_what_is_away_is_not_empty(store: PortraitStore, reopen: Reopen, database: Database) -> None:
    location = put(store)
    point_to(database, location)
    lose(store.medium)
    fresh = PortraitStore(reopen(), vault_of(database.info))
    before = fresh.locations()
    attempts = (
        fresh.check_writable,
        fresh.require_present,
        lambda: put(fresh),
        lambda: fresh.delete("00/" + "0" * 32 + ".sealed"),
        lambda: fresh.key_number("00/" + "0" * 32 + ".sealed"),
    )
    for attempt in attempts:
        with pytest.raises(StorageUnavailableError, match="bring "):
            attempt()
    assert fresh.locations() == before
    bring_back(store.medium)
    fresh.check_writable()
    assert get(fresh, location) == PICTURE
    fresh.delete(location)
    assert fresh.locations() == set()


def test_sealed_bytes_go_over_as_they_are_and_gone_ones_are_told(store: PortraitStore) -> None:
    location = put(store)
    sealed = store.read_sealed(location)
    assert sealed is not None
    store.medium.put_in_place(location, sealed)
    assert get(store, location) == PICTURE
    assert store.key_number(location) is not None
    assert 0 <= store.age_s(location) < 600
    store.delete(location)
    assert store.read_sealed(location) is None
    assert store.key_number(location) is None
    assert not store.exists(location)
    assert store.age_s(location) == 0


def test_a_check_leaves_nothing_that_is_listed(store: PortraitStore) -> None:
    assert store.locations() == set()
    store.check_writable()
    store.check_writable()
    assert store.locations() == set()
    store.require_present()
