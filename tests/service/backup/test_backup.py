"""Backups: what they hold, what is refused, what happens while one is made, and that nothing is half done."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import select, text

from index.pack import load_pack
from service.audit.chain import sealed_database
from service.audit.opening import open_audit
from service.auth.service import SYSTEM
from service.backup import rows, writing
from service.backup.container import FRAME_BYTES, MAGIC, SealedReader, SealedWriter
from service.backup.errors import BackupError
from service.backup.items import read_items
from service.backup.reading import check_backup
from service.backup.restoring import Restoration, Restored
from service.backup.writing import Backup, Backups
from service.database import Database
from service.encryption.algorithms import Algorithm
from service.encryption.keys import KeyRing, load_keys, new_key
from service.encryption.opening import open_vault
from service.encryption.vault import vault_of
from service.engine import Engine
from service.erasures import Erasures
from service.persons.enrolment import PortraitFile
from service.persons.schemas import RegistrationFields
from service.persons.service import Persons
from service.portrait_store import PortraitStore, owner_of_person
from service.settings import Settings
from service.tables import AuditEvent, Base, Erasure, Person, Portrait
from tests.postgres import PostgresServer
from tests.service.conftest import SQLITE_ONLY
from tests.synthetic import synthetic_portrait

PERSONS = 4

PLACES = select(Person.person_id, Portrait.location).join(Portrait, Portrait.person_key == Person.key)
"""Whose portrait lies where."""


@pytest.fixture(scope="module")
def engine(synthetic_pack_dir: Path) -> Iterator[Engine]:
    opened = Engine(load_pack(synthetic_pack_dir), threads=1, queue_limit=8)
    yield opened
    opened.close()


@dataclass(frozen=True)
class Place:
    """An installation with its parts."""

    settings: Settings
    database: Database
    persons: Persons
    store: PortraitStore

    def back_up(self, path: Path) -> Backup:
        backups = Backups(self.database, self.settings)
        return backups.write(path, weights=False, actor=SYSTEM, advance=lambda _count: None)

    def erase(self, person_id: str) -> None:
        self.persons.erase(person_id, actor=SYSTEM)


@pytest.fixture
def place(settings: Settings, database: Database, engine: Engine) -> Place:
    """Flagged persons with a portrait each, on record."""
    settings.data_dir.mkdir(parents=True)
    open_audit(database, settings)
    Erasures(settings).prepare(database)
    store = PortraitStore(settings.portraits_dir, vault_of(database.info))
    persons = Persons(database=database, engine=engine, store=store, settings=settings)
    for at in range(PERSONS):
        fields, picture = RegistrationFields(level_code="30"), PortraitFile(synthetic_portrait(at))
        persons.store(f"P{at}", fields, [picture], actor=SYSTEM)
    return Place(settings, database, persons, store)


def target_of(place: Place, folder: Path, address: str | None = None) -> Settings:
    """Settings of an empty installation with the same keys and the same list of erasures."""
    return place.settings.model_copy(
        update={
            "data_dir": folder,
            "database_url": SecretStr(address or f"sqlite:///{folder / 'oneperson.db'}"),
            "erasures": place.settings.erasures_file,
        }
    )


def restore(path: Path, settings: Settings) -> Restored:
    restoration = Restoration(path, settings)
    checked = restoration.check(advance=lambda _count: None)
    return restoration.run(checked, actor=SYSTEM, advance=lambda _count: None, forget_erasures=False)


def tables(database: Database) -> dict[str, list[str]]:
    """Everything that a restoration leaves as it was."""
    changed = {"audit_events", "audit_heads", "gallery_heads", "data_keys", "erasures"}
    with database.read() as session:
        return {
            one.name: sorted(map(repr, session.execute(select(one)).all()))
            for one in Base.metadata.sorted_tables
            if one.name not in changed
        }


def test_every_row_and_file_comes_back_and_numbers_go_on(
    place: Place, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """From each database into the other."""
    place.erase("P3")
    before, path = tables(place.database), tmp_path / "backup"
    assert place.back_up(path).files == PERSONS - 1
    if place.database.engine.dialect.name == "postgresql":
        assert_restored(place, target_of(place, tmp_path / "other"), path, before)
        return
    server: PostgresServer | None
    try:
        server = request.getfixturevalue("postgres_server")
    except pytest.skip.Exception:
        server = None
    if server is None:
        assert_restored(place, target_of(place, tmp_path / "other"), path, before)
        return
    with server.fresh() as address:
        assert_restored(place, target_of(place, tmp_path / "other", address), path, before)


def assert_restored(place: Place, target: Settings, path: Path, before: object) -> None:
    restored = restore(path, target)
    assert (restored.persons_erased, restored.portraits_erased) == (0, 0)
    database = sealed_database(target)
    vault = open_vault(database, target)
    assert tables(database) == before
    store = PortraitStore(target.portraits_dir, vault)
    with database.read() as session:
        for person_id, location in session.execute(
            select(Person.person_id, Portrait.location).join(Portrait)
        ):
            plain = store.get(location, owner=owner_of_person(person_id))
            assert plain == place.store.get(location, owner=owner_of_person(person_id))
        assert store.locations() == set(session.scalars(select(Portrait.location)))
        assert session.scalars(select(AuditEvent.kind).order_by(AuditEvent.id.desc())).first() == "restored"
    with database.write() as session:
        person = Person(person_id="new", level_code="30")
        session.add(person)
        session.flush()
        assert person.key == PERSONS + 1  # P3's number is never given out again.
    database.close()


def test_who_is_erased_afterwards_or_meanwhile_does_not_come_back(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Backups._write_files

    def meanwhile(self: Backups, *others: object) -> object:
        place.erase("P0")  # Its row is in the view, its file is gone.
        fields, picture = RegistrationFields(level_code="30"), PortraitFile(synthetic_portrait(9))
        place.persons.store("P9", fields, [picture], actor=SYSTEM)  # Came too late for the view.
        return whole(self, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(Backups, "_write_files", meanwhile)
    made = place.back_up(tmp_path / "backup")
    assert (made.erased, made.missing) == (1, [])
    place.erase("P1")
    place.persons.store("P2", RegistrationFields(level_code="10"), None, actor=SYSTEM)  # No longer enrolled.
    target = target_of(place, tmp_path / "other")
    restored = restore(tmp_path / "backup", target)
    assert (restored.persons_erased, restored.portraits_erased) == (2, 1)
    database = Database(target.database_address)
    with database.read() as session:
        assert set(session.scalars(select(Person.person_id))) == {"P2", "P3"}
        kept = set(session.scalars(select(Portrait.location)))
        erased = session.scalars(select(AuditEvent).where(AuditEvent.result == "restored")).all()
    assert PortraitStore(target.portraits_dir).locations() == kept
    assert len(kept) == 1
    assert {event.subject for event in erased} == {"person:P0", "person:P1", "person:P2"}
    database.close()


@SQLITE_ONLY
def test_registered_anew_after_an_erasure_somebody_is_not_erased_by_a_restoration(
    place: Place, tmp_path: Path
) -> None:
    place.erase("P1")
    fields, picture = RegistrationFields(level_code="30"), PortraitFile(synthetic_portrait(1))
    place.persons.store("P1", fields, [picture], actor=SYSTEM)
    place.back_up(tmp_path / "backup")
    assert restore(tmp_path / "backup", target_of(place, tmp_path / "other")).persons_erased == 0


Harm = Callable[[bytes], bytes]


HARMS: Sequence[tuple[Callable[[bytes], bytes], str]] = [
    (lambda data: b"PK" + data[2:], "no backup of OnePerson"),
    (lambda data: data[: len(data) // 2], "truncated"),
    (lambda data: data[:-1], "truncated"),
    (lambda data: data[:10], "no backup"),
    (lambda data: data + b"\0", "goes on after its end"),
    (lambda data: data[:-200] + bytes([data[-200] ^ 1]) + data[-199:], "was altered"),
    (lambda data: data.replace(b'"revision": "0', b'"revision": "9'), "does not know"),
    (lambda data: data.replace(b'"format": 1', b'"format": 2'), "a later version"),
    (lambda data: data.replace(b'"made_at": "2', b'"made_at": "1'), "was altered"),
]


@SQLITE_ONLY
def test_a_backup_that_is_not_as_it_was_written_is_refused_and_nothing_is_done(
    place: Place, tmp_path: Path
) -> None:
    path, target = tmp_path / "backup", target_of(place, tmp_path / "other")
    place.back_up(path)
    whole = path.read_bytes()
    for harm, reason in HARMS:
        path.write_bytes(harm(whole))
        with pytest.raises(BackupError, match=reason):
            restore(path, target)
    assert not target.data_dir.exists()


@SQLITE_ONLY
def test_other_keys_a_full_installation_and_an_old_backup_are_refused(place: Place, tmp_path: Path) -> None:
    path, target = tmp_path / "backup", target_of(place, tmp_path / "other")
    place.back_up(path)
    foreign = target.model_copy(update={"encryption_keys": SecretStr(new_key())})
    with pytest.raises(BackupError, match="needs the encryption key"):
        restore(path, foreign)
    with pytest.raises(BackupError, match="audit log was kept with the key"):
        restore(path, target.model_copy(update={"audit_key": SecretStr("77" * 32)}))
    with pytest.raises(BackupError, match="not empty"):
        restore(path, place.settings)
    with pytest.raises(BackupError, match="no list of erasures"):
        restore(path, target.model_copy(update={"erasures": tmp_path / "nowhere"}))
    with pytest.raises(BackupError, match="exists already"):
        place.back_up(path)
    assert not target.data_dir.exists()


def test_a_restoration_that_fails_or_is_killed_leaves_an_empty_installation(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, target = tmp_path / "backup", target_of(place, tmp_path / "other")
    place.back_up(path)

    def interrupted(*_others: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(rows, "restore_sequences", interrupted)
        with pytest.raises(KeyboardInterrupt):
            restore(path, target)
    assert [one for one in target.data_dir.rglob("*") if one.is_file() and ".db" not in one.name] == []
    (target.data_dir / ".restoring" / "portraits" / "ab").mkdir(parents=True)  # As after 'kill -9'.
    (target.data_dir / ".restoring" / "portraits" / "ab" / "left").write_bytes(b"left")
    assert restore(path, target).checked.files == PERSONS
    assert not (target.data_dir / ".restoring").exists()
    assert len(PortraitStore(target.portraits_dir).locations()) == PERSONS


@SQLITE_ONLY
def test_an_interrupted_backup_leaves_no_file_and_no_record(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()

    def interrupted(*_others: object, **_more: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(writing, "check_backup", interrupted)
    with pytest.raises(KeyboardInterrupt):
        place.back_up(folder / "backup")
    assert list(folder.iterdir()) == []
    with place.database.read() as session:
        assert session.scalars(select(AuditEvent).where(AuditEvent.kind == "backup-made")).all() == []


@SQLITE_ONLY
def test_nothing_readable_and_no_secret_is_in_a_backup(place: Place, tmp_path: Path) -> None:
    path = tmp_path / "backup"
    place.back_up(path)
    data, ring = path.read_bytes(), load_keys(place.settings)
    assert path.stat().st_mode & 0o777 == 0o600
    assert all(
        word not in data for word in (b"level_code", b"person", b"INSERT", synthetic_portrait(1)[100:140])
    )
    with path.open("rb") as file:
        content = b"".join(repr(item).encode() for item in read_items(SealedReader(file, ring)))
    for secret in (place.settings.encryption_keys, place.settings.audit_key):
        assert secret is not None
        assert secret.get_secret_value().encode() not in content
    assert b"ONEPERSON_AUDIT_KEY" in content


def read_whole(path: Path, ring: KeyRing) -> None:
    with path.open("rb") as file:
        reader = SealedReader(file, ring)
        reader.read(2 * FRAME_BYTES + 5)
        reader.require_end()


@SQLITE_ONLY
@pytest.mark.parametrize("algorithm", list(Algorithm))
def test_frames_cannot_be_exchanged_left_out_or_ended_early(
    tmp_path: Path, settings: Settings, algorithm: Algorithm
) -> None:
    path, ring = tmp_path / "sealed", load_keys(settings)
    with path.open("wb") as file:
        master = next(iter(ring.values()))
        writer = SealedWriter(file, master, algorithm, made_at="2026-01-01", version="1", revision="0008")
        writer.write(bytes(2 * FRAME_BYTES + 5))
        writer.finish()
    data = path.read_bytes()
    begin = len(MAGIC) + 4 + int.from_bytes(data[len(MAGIC) : len(MAGIC) + 4], "big")
    size = 4 + FRAME_BYTES + 16
    first, second, last = (
        data[begin : begin + size],
        data[begin + size : begin + 2 * size],
        data[begin + 2 * size :],
    )
    assert last
    for wrong in (second + first + last, first + last, first + second, first + second + last + last):
        path.write_bytes(data[:begin] + wrong)
        with pytest.raises(BackupError):
            read_whole(path, ring)


@SQLITE_ONLY
def test_an_altered_list_of_erasures_is_found(place: Place, tmp_path: Path) -> None:
    for at in range(3):
        place.erase(f"P{at}")
    erasures = Erasures(place.settings)
    assert len(erasures.read()) == 3
    lines = erasures.path.read_bytes().splitlines(keepends=True)
    place.back_up(tmp_path / "backup")
    for wrong in (
        [lines[0], lines[2]],
        [lines[1], lines[0], lines[2]],
        [lines[0], lines[1].replace(b"person", b"nobody")],
    ):
        erasures.path.write_bytes(b"".join(wrong))
        with pytest.raises(BackupError, match="not as it was written"):
            restore(tmp_path / "backup", target_of(place, tmp_path / "other"))
    erasures.path.unlink()  # The database knows them all.
    erasures.prepare(place.database)
    assert len(erasures.read()) == 3
    with place.database.read() as session:
        assert all(session.scalars(select(Erasure.written)))


@SQLITE_ONLY
def test_files_sealed_with_a_key_made_meanwhile_can_be_restored(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Backups._write_files

    def meanwhile(self: Backups, *others: object) -> object:
        vault_of(place.database.info).renew()
        for location in place.store.locations():
            with place.database.read() as session:
                owner = session.scalar(
                    select(Person.person_id).join(Portrait).where(Portrait.location == location)
                )
            assert place.store.reseal(location, owner=owner_of_person(str(owner)))
        return whole(self, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(Backups, "_write_files", meanwhile)
    place.back_up(tmp_path / "backup")
    checked = check_backup(tmp_path / "backup", load_keys(place.settings), advance=lambda _count: None)
    assert checked.unreadable_files == 0
    target = target_of(place, tmp_path / "other")
    restore(tmp_path / "backup", target)
    database = sealed_database(target)
    store = PortraitStore(target.portraits_dir, open_vault(database, target))
    with database.read() as session:
        for person_id, location in session.execute(
            select(Person.person_id, Portrait.location).join(Portrait)
        ):
            assert store.get(location, owner=owner_of_person(person_id))
        assert session.scalar(text("SELECT count(*) FROM data_keys"))
    database.close()
