"""Restores a backup into an empty installation: all of it or nothing.

The rows are inserted into the schema that they were written from, then migrated, and what was erased since is
erased again, all in one transaction that ends with the record of the restoration. The files are written aside
and take their places just before it commits.
"""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from service.audit.anchors import anchor_file
from service.audit.chain import sealed_database
from service.audit.keys import key_file as audit_key_file
from service.audit.keys import load_keys as load_audit_keys
from service.audit.opening import note_restoration
from service.audit.service import AuditKind, record
from service.auth.service import Actor
from service.backup import rows
from service.backup.buckets import Buckets
from service.backup.container import SealedReader
from service.backup.errors import BackupError
from service.backup.items import ANCHORS, FILE, ROWS, SINCE, TABLE, WEIGHTS, Item, read_items
from service.backup.reading import Checked, check_backup
from service.backup.target import Folders, require_empty_database
from service.database import Database
from service.encryption.keys import KeyRing, load_keys
from service.erasures import ErasureListError, Erasures, Marks, marks_in, named_person, named_portrait
from service.persons.enrolment import ChangeBook
from service.persons.erasing import erase_in
from service.settings import Settings
from service.tables import Attachment, Check, Erasure, GalleryHead, PageSession, Person, Portrait

Advance = Callable[[int], None]
"""Told how many more rows and files were looked at or restored."""

CHUNK = 2000
"""Rows fetched at a time."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restoration did.

    Attributes:
        checked: What the backup holds.
        persons_erased: Persons of the backup who were erased since.
        portraits_erased: Single portraits likewise.
    """

    checked: Checked
    persons_erased: int
    portraits_erased: int


class Restoration:
    """One backup and one installation."""

    def __init__(self, path: Path, settings: Settings) -> None:
        """Read this file into what the settings name."""
        self._path = path
        self._settings = settings
        self._folders = Buckets(settings) if settings.files_url else Folders(settings)
        self._erasures = Erasures(settings)
        self._since: dict[str, Any] = {"keys": [], "erasures": [], "gone": []}
        self._tables: dict[str, rows.Columns] = {}

    def check(self, *, advance: Advance, allow_old: bool = False) -> Checked:
        """Read the whole backup with the keys of the settings; nothing is changed.

        Raises:
            BackupError: It cannot be restored here; the message says why.
            SettingsError: The keys cannot be read.
        """
        checked = check_backup(self._path, self._ring(), advance=advance)
        self._require_audit_key(checked)
        age = datetime.now(UTC) - datetime.fromisoformat(checked.header.made_at)
        if age > timedelta(days=self._settings.backup_days) and not allow_old:
            raise BackupError(
                f"the backup is {age.days} days old and backups are kept {self._settings.backup_days} days "
                "(ONEPERSON_BACKUP_DAYS): it should have been destroyed; say --old to restore it nevertheless"
            )
        return checked

    def run(self, checked: Checked, *, actor: Actor, advance: Advance, forget_erasures: bool) -> Restored:
        """Restore.

        Args:
            checked: What `check` returned.
            actor: Who restores.
            advance: Told what is restored.
            forget_erasures: Whether to go on without the list of erasures.

        Raises:
            BackupError: The installation is not empty, or the list of erasures is missing or altered.
            DatabaseUnavailableError: The database is away.
            OSError: A file cannot be written; nothing is left behind.
        """
        listed = self._listed(forget=forget_erasures)
        database = sealed_database(self._settings)
        try:
            with self._folders.filled(), database.write_unprepared() as session:
                require_empty_database(session)
                self._fill(database, session, checked, advance)
                restored = self._settle(session, checked, listed, actor)
                self._folders.place()
            note_restoration(database, self._settings)
            self._erasures.prepare(database)
        finally:
            database.close()
        return restored

    def require_empty(self) -> None:
        """Say before anything is read whether this installation can take a backup.

        Raises:
            BackupError: It cannot: it is not empty.
            DatabaseUnavailableError: The database is away.
        """
        self._folders.require_empty()
        database = Database(self._settings.database_address)
        try:
            with database.read() as session:
                require_empty_database(session)
        finally:
            database.close()

    def _fill(self, database: Database, session: Session, checked: Checked, advance: Advance) -> None:
        database.migrate_within(session, checked.header.revision)
        connection = session.connection()
        for name, columns in reversed(checked.tables.items()):
            connection.execute(delete(rows.light_table(name, columns)))  # What the migrations put there.
        with self._path.open("rb") as file:
            for item in read_items(SealedReader(file, self._ring())):
                self._take(session, item, advance)
        self._add_keys(session)
        rows.restore_sequences(connection, dict(checked.manifest["sequences"]), list(checked.tables))
        database.migrate_within(session, "head")

    def _take(self, session: Session, item: Item, advance: Advance) -> None:
        facts = item.facts
        if item.kind == TABLE:
            self._tables[facts["name"]] = facts["columns"]
        elif item.kind == ROWS:
            columns = self._tables[facts["table"]]
            unpacked = rows.unpacked_rows(item.data, columns)
            rows.insert_rows(session.connection(), facts["table"], columns, unpacked)
            advance(facts["rows"])
        elif item.kind == FILE:
            self._folders.put(facts["store"], facts["location"], item.data)
            advance(1)
        elif item.kind == SINCE:
            self._since = dict(facts)
        elif item.kind == ANCHORS:
            self._put_anchors(item.data)
        elif item.kind == WEIGHTS:
            self._put_weights(facts["pack"], facts["name"], item.data)

    def _settle(self, session: Session, checked: Checked, listed: Marks, actor: Actor) -> Restored:
        """Bring what was restored to what holds now, and put it on record."""
        for tag, mark in self._since["erasures"]:
            listed.add(tag, mark)
            session.add(Erasure(kind="since", mark=mark, key_tag=tag))
        session.flush()
        for tag, marks in marks_in(session).by_tag.items():
            for mark in marks:
                listed.add(tag, mark)
        self._forget_gone(session)
        persons, portraits = self._erase_again(session, listed, actor)
        session.execute(delete(PageSession))  # Browsers that were signed in then are strangers now.
        for gallery in session.scalars(select(GalleryHead.gallery)).all():
            fresh = update(GalleryHead).where(GalleryHead.gallery == gallery)
            session.execute(fresh.values(epoch=secrets.token_hex(16)))  # No generation is a copy of this.
        record(
            session,
            AuditKind.RESTORED,
            actor=actor,
            made_at=checked.header.made_at,
            version=checked.header.version,
            revision=checked.header.revision,
            rows=sum(checked.rows.values()),
            files=checked.files,
            persons_erased=persons,
            portraits_erased=portraits,
            erasures_known=len(listed),
            restoration=str(uuid4()),
        )
        return Restored(checked, persons, portraits)

    def _forget_gone(self, session: Session) -> None:
        """Take away what points to files that were erased while the backup was made.

        A portrait without its file stays searchable: others took its place then, and will again.
        """
        for store, location in self._since["gone"]:
            if store == "probes":
                found = update(Check).where(Check.probe_location == location)
                session.execute(found.values(probe_location=None, probe_format=None, probe_landmarks=None))
            elif store == "evidence":
                session.execute(delete(Attachment).where(Attachment.location == location))

    def _erase_again(self, session: Session, listed: Marks, actor: Actor) -> tuple[int, int]:
        """Erase whoever was erased after the backup was made."""
        if not len(listed):
            return 0, 0
        keys = self._erasures.keys
        query = select(Person.key, Person.person_id, Person.created_at)
        gone = [
            key
            for key, person_id, created_at in session.execute(query.execution_options(yield_per=CHUNK))
            if listed.has(keys, named_person(person_id, created_at))
        ]
        for key in gone:
            person = session.get_one(Person, key)
            dropped = erase_in(
                session,
                person,
                settings=self._settings,
                erasures=self._erasures,
                actor=actor,
                reason="restored",
            )
            for location in dropped:
                self._folders.drop(location)
        return len(gone), self._erase_portraits(session, listed, actor)

    def _erase_portraits(self, session: Session, listed: Marks, actor: Actor) -> int:
        keys = self._erasures.keys
        query = select(Portrait.reference_id, Portrait.sha256, Portrait.created_at, Person.person_id)
        query = query.join(Person, Person.key == Portrait.person_key)
        gone = [
            reference_id
            for reference_id, sha256, created_at, person_id in session.execute(
                query.execution_options(yield_per=CHUNK)
            )
            if listed.has(keys, named_portrait(person_id, sha256, created_at))
        ]
        book = ChangeBook()
        for reference_id in gone:
            portrait = session.get_one(Portrait, reference_id)
            person = portrait.person
            self._erasures.note_portrait(session, person.person_id, portrait)
            if person.gallery is not None:
                book.remove(person.gallery, reference_id, person.key)
            self._folders.drop(portrait.location)
            person.portraits.remove(portrait)
            if not person.portraits:
                person.gallery = None
            subject = f"person:{person.person_id}"
            record(
                session, AuditKind.PERSON_ERASED, actor=actor, subject=subject, result="restored", portraits=1
            )
        session.flush()
        book.record(session)
        return len(gone)

    def _add_keys(self, session: Session) -> None:
        """Add the data keys that were made while the backup was: files may be sealed with them."""
        told: Sequence[dict[str, Any]] = self._since["keys"]
        late = [
            key
            | {
                "wrapped": bytes.fromhex(key["wrapped"]),
                "created_at": datetime.fromisoformat(key["created_at"]),
                "retired_at": datetime.fromisoformat(key["retired_at"]) if key["retired_at"] else None,
            }
            for key in told
        ]
        rows.insert_rows(session.connection(), "data_keys", self._tables["data_keys"], late)

    def _listed(self, *, forget: bool) -> Marks:
        """Read the list of erasures outside the database.

        Raises:
            BackupError: It is missing or altered, and nobody said to go on without it.
        """
        if forget:
            return Marks({})
        try:
            return self._erasures.read()
        except FileNotFoundError:
            raise BackupError(
                f"there is no list of erasures at {self._erasures.path}: persons erased since the backup was "
                "made would come back; set ONEPERSON_ERASURES to the list, or say --without-erasures and "
                "repeat the erasures yourself"
            ) from None
        except ErasureListError as error:
            raise BackupError(
                f"{error}: find out why, or say --without-erasures and repeat the erasures yourself"
            ) from None

    def _ring(self) -> KeyRing:
        return load_keys(self._settings)

    def _require_audit_key(self, checked: Checked) -> None:
        """Make sure that the audit log can go on, without making a key.

        Raises:
            BackupError: Its key is not known here.
        """
        head = checked.manifest.get("audit")
        if head is None:
            return
        tag = head["key_tag"]
        missing = self._settings.audit_key is None and not audit_key_file(self._settings).exists()
        if missing or load_audit_keys(self._settings).find(tag) is None:
            raise BackupError(
                f"the backup's audit log was kept with the key {tag}, which is not known here: give it with "
                "ONEPERSON_AUDIT_KEY or ONEPERSON_AUDIT_KEY_FILE"
            )

    def _put_anchors(self, data: bytes) -> None:
        """Put the anchors of then in place, unless later ones are there."""
        path = anchor_file(self._settings, load_audit_keys(self._settings)).path
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._folders.made.append(path)
            path.touch(mode=0o600)
            path.write_bytes(data)

    def _put_weights(self, pack: str, name: str, data: bytes) -> None:
        """Put the pack where packs are looked for, unless one of that name was there before."""
        folder = self._settings.packs_dir / Path(pack).name
        if folder not in self._folders.made:
            if folder.exists():
                return
            folder.mkdir(parents=True)
            self._folders.made.append(folder)
        with (folder / Path(name).name).open("ab") as file:
            file.write(data)
