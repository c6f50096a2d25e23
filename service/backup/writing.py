"""Writes a backup while the service runs.

Order: one consistent view of the whole database first, then the encrypted files that its rows point to. Files
are written before the row that names them is committed, so every file is there unless it was erased
meanwhile; that is noted and fine. Last comes what the view could not show: keys made and erasures done
since. A restoration erases those again, so nobody who was erased while a backup was made comes back with it.
"""

import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import BinaryIO

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from index.pack_manifest import read_manifest
from service.audit.anchors import anchor_file
from service.audit.chain import read_head
from service.audit.keys import load_keys as load_audit_keys
from service.audit.service import Acting, AuditKind, record
from service.backup import rows
from service.backup.container import SealedWriter
from service.backup.errors import BackupError
from service.backup.items import ANCHORS, END, FILE, MANIFEST, ROWS, SINCE, TABLE, WEIGHTS, write_item
from service.backup.reading import check_backup
from service.database import Database
from service.encryption.algorithms import Algorithm
from service.encryption.blobs import BlobStore
from service.encryption.folder import sync_folder
from service.encryption.keys import KeyRing, MasterKey
from service.encryption.vault import vault_of
from service.engine import find_pack
from service.file_stores import evidence_store, portrait_store
from service.galleries.switches import in_force
from service.settings import Settings
from service.tables import Attachment, Check, DataKey, EncryptionState, Erasure, Portrait, now

WEIGHTS_PART_BYTES = 16 * 2**20
"""Bytes of one item of a model file."""

FILES_ASKED = 500
"""Missing files whose rows are looked for at once."""

Advance = Callable[[int], None]
"""Told how many more rows and files are done."""

STORES = {"portraits": Portrait.location, "probes": Check.probe_location, "evidence": Attachment.location}
"""What kinds of files there are, and which column points to them."""


@dataclass(slots=True)
class Backup:
    """What was written.

    Attributes:
        path: The file.
        size_bytes: Of it.
        rows: Of the database.
        files: Portraits, probes and evidence.
        erased: Files that were erased while it was made.
        missing: Files that rows point to but that are not in the store: the installation is damaged.
        unreadable: Files that were copied although no key of the installation opens them.
    """

    path: Path
    size_bytes: int = 0
    rows: int = 0
    files: int = 0
    erased: int = 0
    missing: list[str] = field(default_factory=list)
    unreadable: int = 0


class Backups:
    """Makes backups of one installation."""

    def __init__(self, database: Database, settings: Settings) -> None:
        """Work on this database, whose vault is open."""
        self._database = database
        self._settings = settings
        portraits, evidence = portrait_store(settings), evidence_store(settings)
        self._stores: dict[str, BlobStore] = {
            "portraits": portraits,
            "probes": portraits,
            "evidence": evidence,
        }

    def total(self) -> int:
        """Count rows and files, written and read back, for a progress bar."""
        with self._database.read() as session:
            counted = sum(rows.count_rows(session, stored) for stored in rows.all_tables())
            files = sum(
                session.scalar(select(func.count(column)).select_from(column.class_)) or 0
                for column in STORES.values()
            )
        return 2 * (counted + files)

    def write(self, path: Path, *, weights: bool, actor: Acting, advance: Advance) -> Backup:
        """Write a backup aside, read it back, rename it, and put it on record.

        Args:
            path: The file; there must be none.
            weights: Whether the pack's models go with it.
            actor: Who makes it.
            advance: Told what is done.

        Raises:
            BackupError: There is such a file, or what was read back is not what was written.
            OSError: The file cannot be written; nothing is left of it.
        """
        result = Backup(path)
        with _written_aside(path) as (file, aside):
            writer, counts = self._write(file, result, weights=weights, advance=advance)
            file.flush()
            os.fsync(file.fileno())
            checked = check_backup(aside, self._ring(), advance=advance)
            if (checked.rows, checked.files) != (counts, result.files):
                raise BackupError("the backup was not written as it should be; is the disk sound?")
            result.unreadable = checked.unreadable_files
            result.size_bytes = aside.stat().st_size
            if path.exists():
                raise BackupError(f"{path} was made by somebody else meanwhile; nothing was changed")
            aside.rename(path)
            sync_folder(path.absolute().parent)
        with self._database.write() as session:
            record(
                session,
                AuditKind.BACKUP_MADE,
                actor=actor,
                file=path.name,
                size_bytes=result.size_bytes,
                rows=result.rows,
                files=result.files,
                missing=len(result.missing),
                key=writer.header.key,
            )
        return result

    def _write(
        self, file: BinaryIO, result: Backup, *, weights: bool, advance: Advance
    ) -> tuple[SealedWriter, dict[str, int]]:
        with self._database.read() as session:
            directory = find_pack(in_force(session, self._settings).settings)
            writer = self._begin(session, file, directory, weights=weights)
            locations, counts = _write_tables(session, writer, advance)
            highest_key = session.scalar(select(func.max(DataKey.number))) or 0
            highest_erasure = session.scalar(select(func.max(Erasure.id))) or 0
        result.rows = sum(counts.values())
        unread = self._write_files(writer, locations, result, advance)
        gone = self._gone(unread, result)
        self._write_since(writer, highest_key, highest_erasure, gone)
        anchors = anchor_file(self._settings, load_audit_keys(self._settings)).path
        with suppress(FileNotFoundError):
            write_item(writer, ANCHORS, anchors.read_bytes())
        if weights:
            _write_weights(writer, directory)
        write_item(writer, END, rows=counts, files=result.files)
        writer.finish()
        return writer, counts

    def _begin(self, session: Session, file: BinaryIO, directory: Path, *, weights: bool) -> SealedWriter:
        state, head = session.scalars(select(EncryptionState)).one(), read_head(session)
        pack, revision, made_at = read_manifest(directory), self._database.revision(), now().isoformat()
        writer = SealedWriter(
            file,
            self._master(state.master_key_id),
            Algorithm(self._settings.encryption_algorithm),
            made_at=made_at,
            version=version("oneperson"),
            revision=str(revision),
        )
        write_item(
            writer,
            MANIFEST,
            made_at=made_at,
            database=self._database.engine.dialect.name,
            pack={"name": pack.name, "version": pack.version, "contract_id": pack.contract_id},
            pack_manifest=(directory / "pack.toml").read_text("utf-8"),
            has_weights=weights,
            settings=sorted(f"ONEPERSON_{name.upper()}" for name in self._settings.model_fields_set),
            audit=None if head is None else asdict(head),
            expected=self.total() // 2,
            sequences=rows.sequences(session),
        )
        return writer

    def _write_files(
        self, writer: SealedWriter, locations: dict[str, list[str]], result: Backup, advance: Advance
    ) -> list[tuple[str, str]]:
        """Copy the files as they are, encrypted; return what is not there."""
        unread = []
        for store, wanted in locations.items():
            for location, data in _contents(self._stores[store], wanted):
                if data is None:
                    unread.append((store, location))
                else:
                    write_item(writer, FILE, data, store=store, location=location)
                    result.files += 1
                advance(1)
        return unread

    def _gone(self, unread: list[tuple[str, str]], result: Backup) -> list[tuple[str, str]]:
        """Tell files that were erased with their rows from files that are lost."""
        gone = []
        for store, column in STORES.items():
            wanted = [location for one, location in unread if one == store]
            for first in range(0, len(wanted), FILES_ASKED):
                part = wanted[first : first + FILES_ASKED]
                with self._database.read() as session:
                    present = set(session.scalars(select(column).where(column.in_(part))))
                result.missing += [f"{store}/{location}" for location in part if location in present]
                gone += [(store, location) for location in part if location not in present]
        result.erased = len(gone)
        return gone

    def _write_since(
        self, writer: SealedWriter, highest_key: int, highest_erasure: int, gone: list[tuple[str, str]]
    ) -> None:
        """Add what happened since the view: keys that copied files may be sealed with, and erasures."""
        with self._database.read() as session:
            keys = session.scalars(select(DataKey).where(DataKey.number > highest_key)).all()
            erasures = session.execute(
                select(Erasure.key_tag, Erasure.mark).where(Erasure.id > highest_erasure)
            ).all()
        told = [
            {
                "number": key.number,
                "master_key_id": key.master_key_id,
                "algorithm": key.algorithm,
                "wrapped": key.wrapped.hex(),
                "created_at": key.created_at.isoformat(),
                "retired_at": None if key.retired_at is None else key.retired_at.isoformat(),
            }
            for key in keys
        ]
        write_item(writer, SINCE, keys=told, erasures=[tuple(row) for row in erasures], gone=gone)

    def _ring(self) -> KeyRing:
        return vault_of(self._database.info).ring

    def _master(self, key_id: str) -> MasterKey:
        master = self._ring().get(key_id)
        if master is None:
            raise BackupError(f"the encryption key {key_id} is not among those given")
        return master


def _contents(store: BlobStore, locations: Sequence[str]) -> Iterator[tuple[str, bytes | None]]:
    """Read files as they are, in their order, some at once; None for those that are not there."""
    at_once = store.medium.threads
    with ThreadPoolExecutor(at_once, thread_name_prefix="backup") as pool:
        for first in range(0, len(locations), at_once):
            part = locations[first : first + at_once]
            yield from zip(part, pool.map(store.read_sealed, part), strict=True)


def _write_tables(
    session: Session, writer: SealedWriter, advance: Advance
) -> tuple[dict[str, list[str]], dict[str, int]]:
    """Write every table and note the files that its rows point to."""
    locations: dict[str, list[str]] = {store: [] for store in STORES}
    counts: dict[str, int] = {}
    for stored in rows.all_tables():
        columns = rows.columns_of(stored)
        write_item(writer, TABLE, name=stored.name, columns=columns)
        counts[stored.name] = 0
        pointing = [(store, one.key) for store, one in STORES.items() if one.class_.__table__ is stored]
        for packed, count, batch in rows.packed_rows(session, stored):
            write_item(writer, ROWS, packed, table=stored.name, rows=count)
            counts[stored.name] += count
            for store, name in pointing:
                locations[store] += [row[name] for row in batch if row[name] is not None]
            advance(count)
    return locations, counts


def _write_weights(writer: SealedWriter, directory: Path) -> None:
    for path in sorted(one for one in directory.iterdir() if one.is_file()):
        with path.open("rb") as file:
            while part := file.read(WEIGHTS_PART_BYTES):
                write_item(writer, WEIGHTS, part, pack=directory.name, name=path.name)


@contextmanager
def _written_aside(path: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """Open `.NAME.part` alone; nothing is left of it unless it was renamed.

    Raises:
        BackupError: There is such a file, or another process writes it now.
    """
    if path.exists():
        raise BackupError(f"{path} exists already; give another name, backups are never overwritten")
    aside = path.with_name(f".{path.name}.part")
    handle = os.open(aside, os.O_RDWR | os.O_CREAT, 0o600)
    with os.fdopen(handle, "r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BackupError(f"{path} is being written by another process") from None
        try:
            file.truncate()  # What a process that was killed has left.
            yield file, aside
        finally:
            aside.unlink(missing_ok=True)
