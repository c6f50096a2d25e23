"""The store in a folder: durable before it answers, whole or not at all, and known when it is away."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from service.database import Database
from service.encryption.sealing import OVERHEAD_BYTES
from service.encryption.vault import vault_of
from service.errors import StorageUnavailableError
from service.portrait_store import PortraitStore
from service.tables import Person, Portrait
from tests.service.conftest import SQLITE_ONLY

PICTURE = bytes(range(256)) * 40


pytestmark = SQLITE_ONLY


@pytest.fixture
def store(tmp_path: Path, database: Database) -> PortraitStore:
    return PortraitStore(tmp_path / "var" / "portraits", vault_of(database.info))


def put(store: PortraitStore, data: bytes = PICTURE) -> str:
    return store.put(data, owner="person:P1")


def get(store: PortraitStore, location: str) -> bytes:
    return store.get(location, owner="person:P1")


@contextmanager
def largest_file(size_bytes: int) -> Iterator[None]:
    """Let the system refuse larger files, as a full disk would: in the middle of a write."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_only_we_may_read_what_is_stored(store: PortraitStore) -> None:
    location = put(store)
    path = store.directory / location
    assert path.stat().st_mode & 0o077 == 0
    for folder in (path.parent, store.directory):
        assert folder.stat().st_mode & 0o077 == 0


def test_store_that_nothing_was_put_into_is_empty(store: PortraitStore) -> None:
    assert store.locations() == set()
    assert not store.directory.exists()


def test_file_and_every_new_folder_are_durable_before_the_location_is_given_out(
    store: PortraitStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    sizes: list[int] = []
    real = os.fsync

    def noted(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        sizes.append(os.fstat(descriptor).st_size)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    path = store.directory / put(store)
    made = [store.directory.parent, store.directory, store.directory]  # The folder, its mark, the file's.
    assert synced == [*made, path, path.parent]
    assert sizes[3] == len(PICTURE) + OVERHEAD_BYTES
    while True:
        synced.clear()
        path = store.directory / put(store)
        if path.parent in synced and len(synced) == 2:
            break  # Into a folder that was there: the file, then its name.
    assert synced == [path, path.parent]


def test_portrait_that_does_not_fit_leaves_nothing_behind(store: PortraitStore) -> None:
    kept = put(store)
    with largest_file(4096), pytest.raises(StorageUnavailableError, match="nothing was changed"):
        put(store)
    assert store.locations() == {kept}
    assert get(store, kept) == PICTURE
    assert get(store, put(store)) == PICTURE


def test_full_store_is_noticed_before_anything_is_lost(store: PortraitStore) -> None:
    store.check_writable()
    assert store.locations() == set()
    with largest_file(1), pytest.raises(StorageUnavailableError):
        store.check_writable()
    assert store.locations() == set()


def test_file_in_the_place_of_the_folder_is_an_error(store: PortraitStore) -> None:
    store.directory.parent.mkdir(parents=True)
    store.directory.write_bytes(b"in the way")
    with pytest.raises(StorageUnavailableError):
        put(store)
    with pytest.raises(StorageUnavailableError):
        get(store, "ab/" + "0" * 32 + ".sealed")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_folder_that_may_not_be_written_is_an_error(store: PortraitStore) -> None:
    location = put(store)
    folder = (store.directory / location).parent
    folder.chmod(0o500)
    try:
        with pytest.raises(StorageUnavailableError, match="could not be removed"):
            store.delete(location)
    finally:
        folder.chmod(0o700)


def test_folder_that_vanished_is_made_again(store: PortraitStore) -> None:
    location = put(store)
    store.delete(location)
    for folder in [*store.directory.iterdir(), store.directory]:
        folder.rmdir()
    assert get(store, put(store)) == PICTURE


@pytest.mark.parametrize("is_there", [False, True], ids=["missing", "empty"])
def test_a_folder_that_is_away_is_neither_replaced_nor_taken_for_erased(
    store: PortraitStore, database: Database, is_there: bool
) -> None:
    location = put(store)
    with database.write() as session:
        person = Person(person_id="P1", level_code="30")
        session.add(person)
        session.flush()
        facts = {"sha256": "0" * 64, "format": "jpeg", "quality": {}, "marks": [], "landmarks": []}
        session.add(Portrait(person_key=person.key, location=location, **facts))
    elsewhere = store.directory.with_name("elsewhere")
    store.directory.rename(elsewhere)
    if is_there:
        store.directory.mkdir()
    for attempt in (store.check_writable, lambda: put(store), lambda: store.delete(location)):
        with pytest.raises(StorageUnavailableError, match="bring its disk or share back"):
            attempt()
    assert store.directory.exists() is is_there
    if is_there:
        store.directory.rmdir()
    elsewhere.rename(store.directory)
    store.check_writable()
    assert get(store, location) == PICTURE
    store.delete(location)
    assert store.locations() == set()
