"""An installation moves into a bucket, lives there, is backed up, restored beside, and moves back."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import select

from index.pack import load_pack
from service.audit.chain import sealed_database
from service.audit.opening import open_audit
from service.auth.service import SYSTEM
from service.backup.errors import BackupError
from service.backup.restoring import Restoration
from service.backup.writing import Backups
from service.database import Database
from service.encryption import rotation
from service.encryption import vault as vault_module
from service.encryption.objects import Objects
from service.encryption.opening import open_vault
from service.encryption.rotation import Rotation
from service.encryption.vault import vault_of
from service.engine import Engine
from service.erasures import Erasures
from service.errors import SettingsError, StorageUnavailableError
from service.examination_data import file_findings, store_finding
from service.file_copy import Copied, copy_files
from service.file_stores import portrait_store
from service.persons.enrolment import PortraitFile
from service.persons.schemas import RegistrationFields
from service.persons.service import Persons
from service.portrait_store import owner_of_person
from service.settings import Settings
from service.stored_files import damaged_files, erase_orphans
from service.tables import AuditEvent, Person, Portrait
from tests.s3 import BucketSettings, bucket_of
from tests.service.conftest import SQLITE_ONLY
from tests.synthetic import synthetic_portrait

pytestmark = [
    pytest.mark.s3,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

PERSONS = 3


@pytest.fixture(scope="module")
def engine(synthetic_pack_dir: Path) -> Iterator[Engine]:
    opened = Engine(load_pack(synthetic_pack_dir), threads=1, queue_limit=8)
    yield opened
    opened.close()


@pytest.fixture
def enrolled(settings: Settings, database: Database, engine: Engine) -> Persons:
    """Flagged persons with a portrait each, in the folder."""
    settings.data_dir.mkdir(parents=True)
    open_audit(database, settings)
    Erasures(settings).prepare(database)
    persons = persons_at(settings, database, engine)
    for at in range(PERSONS):
        enrol(persons, at)
    return persons


def persons_at(settings: Settings, database: Database, engine: Engine) -> Persons:
    store = portrait_store(settings, vault_of(database.info))
    return Persons(database=database, engine=engine, store=store, settings=settings)


def enrol(persons: Persons, at: int) -> None:
    fields, picture = RegistrationFields(level_code="30"), PortraitFile(synthetic_portrait(at))
    persons.store(f"P{at}", fields, [picture], actor=SYSTEM)


def copied(database: Database, settings: Settings, target: Settings) -> Copied:
    return copy_files(database, settings, target, advance=lambda _count: None)


def assert_sound(database: Database, settings: Settings, *, persons: int) -> None:
    """Everything is where the records say, can be opened, and nothing is there besides."""
    assert all(finding.ok for finding in file_findings(database, settings))
    assert store_finding(settings).ok
    vault = vault_of(database.info)
    assert list(damaged_files(database, settings, vault)) == []
    store = portrait_store(settings, vault)
    with database.read() as session:
        rows = session.execute(select(Person.person_id, Portrait.location).join(Portrait)).all()
    assert len(rows) == persons == len(store.locations())
    for person_id, location in rows:
        assert store.get(location, owner=owner_of_person(person_id))[:2] in {b"\xff\xd8", b"\x89P"}


@SQLITE_ONLY
def test_an_installation_moves_into_a_bucket_and_back(
    settings: Settings,
    database: Database,
    enrolled: Persons,
    engine: Engine,
    in_bucket: BucketSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    there = in_bucket(settings)
    monkeypatch.setattr("service.stored_files.ORPHAN_AGE_S", -5.0)  # As if an hour had passed.
    interrupted = RuntimeError("stopped here")

    def stop(_count: int) -> None:
        raise interrupted

    with pytest.raises(RuntimeError, match="stopped here"):
        copy_files(database, settings, there, advance=stop)
    with pytest.raises(StorageUnavailableError, match="bring the right bucket back"):
        persons_at(there, database, engine).erase("P0", actor=SYSTEM)  # Somebody switched too early.
    assert copied(database, settings, there) == Copied(0, PERSONS, [])
    enrolled.erase("P0", actor=SYSTEM)  # Only the folder knows of both: the service still runs on it.
    enrol(enrolled, 7)
    assert copied(database, settings, there) == Copied(1, PERSONS - 1, [])
    with database.read() as session:
        told = select(AuditEvent.details).where(AuditEvent.kind == "files-copied").order_by(AuditEvent.id)
        assert [details["copied"] for details in session.scalars(told)] == [0, 1]
    assert erase_orphans(database, there) == {"portrait": 1}
    assert_sound(database, there, persons=PERSONS)

    moved = persons_at(there, database, engine)
    moved.erase("P1", actor=SYSTEM)
    enrol(moved, 8)
    assert_sound(database, there, persons=PERSONS)
    with pytest.raises(SettingsError, match="there already"):
        copied(database, there, there)
    foreign = in_bucket(settings)
    portrait_store(foreign, vault_of(database.info)).medium.put_in_place("ab/" + "ab" * 16 + ".sealed", b"x")
    with pytest.raises(SettingsError, match="none of them is this installation's"):
        copied(database, there, foreign)
    other = portrait_store(foreign).medium
    other.begin()
    for number in range(PERSONS):
        other.put_in_place(f"cd/{number:032x}.sealed", b"x")
    with pytest.raises(SettingsError, match="another installation's bucket"):
        erase_orphans(database, foreign)
    assert len(list(other.locations())) == PERSONS + 1
    assert copied(database, there, settings).missing == []
    erase_orphans(database, settings)
    assert_sound(database, settings, persons=PERSONS)


def test_files_in_a_bucket_are_encrypted_anew(
    settings: Settings,
    database: Database,
    enrolled: Persons,
    in_bucket: BucketSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On both databases: the record is held while its file is replaced."""
    monkeypatch.setattr(vault_module, "REFRESH_S", 0.0)
    monkeypatch.setattr(rotation, "REFRESH_S", 0.01)
    there = in_bucket(settings)
    copied(database, settings, there)
    store = portrait_store(there, vault_of(database.info))
    before = {location: store.key_number(location) for location in store.locations()}
    changing = Rotation(database, there, vault_of(database.info))
    changing.begin()
    result = changing.reseal(lambda _count: None)
    assert (result.broken, result.left) == ([], 0)
    assert all((store.key_number(location) or 0) > (number or 0) for location, number in before.items())
    assert_sound(database, there, persons=PERSONS)
    medium: Any = store.medium
    medium.discard(".store")
    with pytest.raises(StorageUnavailableError, match="bring the right bucket back"):
        store.delete(next(iter(before)))


@SQLITE_ONLY
def test_a_backup_is_made_from_a_bucket_and_restored_into_another(
    settings: Settings, database: Database, enrolled: Persons, in_bucket: BucketSettings, tmp_path: Path
) -> None:
    there = in_bucket(settings)
    copied(database, settings, there)
    path = tmp_path / "backup"
    made = Backups(database, there).write(path, weights=False, actor=SYSTEM, advance=lambda _count: None)
    assert (made.files, made.missing, made.unreadable) == (PERSONS, [], 0)

    folder = tmp_path / "other"
    other = in_bucket(
        settings,
        data_dir=folder,
        database_url=SecretStr(f"sqlite:///{folder / 'oneperson.db'}"),
        erasures=settings.erasures_file,
    )
    place: Any = portrait_store(other).medium
    place.begin_filling()  # A restoration that was killed has left this.
    place.write("ab/" + "ab" * 16 + ".sealed", b"half")
    broken = Restoration(path, other)
    checked = broken.check(advance=lambda _count: None)
    failing = iter([None, None])

    def fail(_count: int) -> None:
        if next(failing, "done") == "done":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken.run(checked, actor=SYSTEM, advance=fail, forget_erasures=False)
    assert not place.is_filling
    assert not place.is_present()
    assert list(place.locations()) == []
    restoration = Restoration(path, other)
    restoration.require_empty()
    restoration.run(checked, actor=SYSTEM, advance=lambda _count: None, forget_erasures=False)
    fresh = sealed_database(other)
    open_vault(fresh, other)
    assert_sound(fresh, other, persons=PERSONS)
    fresh.close()
    with pytest.raises(BackupError, match="not empty"):
        Restoration(path, other).require_empty()
    assert not place.is_filling


@SQLITE_ONLY
def test_doctor_tells_of_a_bucket_that_keeps_versions_or_is_not_there(
    settings: Settings, in_bucket: BucketSettings, s3_client: Any
) -> None:
    there = in_bucket(settings)
    finding = store_finding(there)
    assert (finding.ok, finding.detail) == (True, f"s3://{bucket_of(there)}/province/portraits")
    rule = {"Status": "Enabled"}
    s3_client.put_bucket_versioning(Bucket=bucket_of(there), VersioningConfiguration=rule)
    assert "keeps versions" in store_finding(there).detail
    assert not store_finding(there).ok
    s3_client.put_bucket_versioning(Bucket=bucket_of(there), VersioningConfiguration={"Status": "Suspended"})
    assert store_finding(there).ok
    assert "versioning was on once" in store_finding(there).detail
    with pytest.raises(OSError, match="no such object or bucket"):
        store_finding(there.model_copy(update={"files_url": "s3://there-is-none/x"}))
    medium = portrait_store(there).medium
    assert isinstance(medium, Objects)
    assert medium._files._pid == os.getpid()
