"""Changes keys while the service runs: wraps data keys anew, or encrypts everything anew.

Both go in small transactions, may be interrupted at any instruction, and go on where they stopped
when they are begun again. Nobody who reads or writes meanwhile has to wait or to know.
"""

import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from threading import Lock

from sqlalchemy import func, select

from index.manifest import SEAL_NAME
from index.snapshot import discard
from service.database import Database
from service.encryption import columns, repository
from service.encryption.blobs import LOCATION, BlobStore
from service.encryption.files import StoredFile, hold, relocate, stored_files
from service.encryption.folder import Folder
from service.encryption.keys import MasterKey
from service.encryption.opening import check_value
from service.encryption.sealing import HEADER_BYTES, key_number
from service.encryption.vault import REFRESH_S, Vault, as_wrapped
from service.errors import DatabaseUnavailableError, SealBrokenError, SettingsError, StorageUnavailableError
from service.file_stores import evidence_store, portrait_store
from service.galleries.repository import is_template
from service.settings import Settings
from service.tables import Attachment, Check, DataKey, Portrait, Template, now

REWRAP_BATCH = 200
"""Data keys of one transaction."""

FILE_BATCH = 64
"""Files handed to the threads at once: what an interruption waits for."""

PASSES = 5
"""Passes after which what other processes still write with retired keys is left to the next run."""

PLAIN_LOCATION = re.compile(r"[0-9a-f]{2}/[0-9a-f]{32}\.(jpeg|png|webp|bmp)")
"""Portraits as versions before encryption stored them."""

Advance = Callable[[int], None]
"""Told how many more things are done."""


@dataclass(slots=True)
class Resealed:
    """What a re-encryption did.

    Attributes:
        done: Rows and files encrypted anew.
        broken: Of those that cannot be opened and stay as they are, what they are.
        generations: Generations deleted; they are written again from the database.
        left: Things that other processes wrote with retired keys while it ran.
    """

    done: int
    broken: list[str]
    generations: int
    left: int


class Rotation:
    """One change of keys."""

    def __init__(self, database: Database, settings: Settings, vault: Vault) -> None:
        """Work on this database with this vault, which is opened for encrypting."""
        self._database = database
        self._settings = settings
        self._vault = vault
        stores = (portrait_store(settings, vault), evidence_store(settings, vault))
        self._stores: dict[str, BlobStore] = {store.kind: store for store in stores}
        self._result = Resealed(0, [], 0, 0)
        self._lock = Lock()

    def rewrap(self, master: MasterKey, advance: Advance) -> int:
        """Make a master key the current one and wrap every data key with it; return how many were.

        Args:
            master: One of the ring.
            advance: Told after every transaction.

        Raises:
            KeyMissingError: A data key is wrapped by a key that is not given; it stays as it is.
        """
        self._vault.check()  # What cannot be opened must be known before anything is changed.
        with self._database.write() as session:
            state = repository.state(session, lock=True)
            if state is None:
                raise AssertionError("unreachable: the vault is open")
            if state.master_key_id != master.id:
                state.master_key_id, state.check_value = master.id, check_value(master)
        count = 0
        while True:
            with self._database.write() as session:
                rows = repository.wrapped_by_others(session, master.id, limit=REWRAP_BATCH)
                for row in rows:
                    self._rewrap_one(row, master)
            if not rows:
                return count
            count += len(rows)
            advance(len(rows))

    def total(self) -> int:
        """Count what a re-encryption will look at, for a progress bar."""
        highest, plain = self._aim()
        with self._database.read() as session:
            rows = sum(columns.count_older(session, c, highest, plain=plain) for c in columns.SEALED_COLUMNS)
            wanted = (
                select(func.count()).select_from(Portrait),
                select(func.count()).where(Check.probe_location.is_not(None)),
                select(func.count()).select_from(Attachment),
            )
            return rows + sum(session.scalar(query) or 0 for query in wanted)

    def begin(self) -> bool:
        """Retire all data keys; tell whether a re-encryption that was interrupted is gone on with."""
        with self._database.write() as session:
            state = repository.state(session, lock=True)
            if state is None:
                raise AssertionError("unreachable: the vault is open")
            goes_on = state.resealing_to is not None
            if not goes_on:
                state.resealing_to = repository.highest(session)
                repository.retire_up_to(session, state.resealing_to)
        self._vault.renew()
        return goes_on

    def reseal(self, advance: Advance) -> Resealed:
        """Encrypt everything anew that retired data keys or, in an earlier version, none have encrypted.

        Args:
            advance: Told after every transaction and every few files.

        Raises:
            ServiceError: The database or a store is away; what was done stays done.
        """
        highest, plain = self._aim()
        began = time.monotonic()
        for turn in range(PASSES):
            self._result.broken.clear()
            told = advance if turn == 0 else _nothing
            done = self._reseal_columns(highest, plain, told) + self._reseal_files(highest, plain, told)
            self._result.done += done
            if not done and time.monotonic() - began > 2 * REFRESH_S:
                break  # By now every other process has noticed that its data key is retired.
            if turn:
                time.sleep(REFRESH_S)
        else:
            self._result.left = done
        self._result.generations = self._discard_generations(highest)
        if plain:
            self._erase_plain_files()
        self._finish()
        return self._result

    def _rewrap_one(self, row: DataKey, master: MasterKey) -> None:
        fresh = as_wrapped(row).rewrapped(self._vault.ring, master)
        row.master_key_id, row.wrapped = fresh.master_key_id, fresh.wrapped

    def _aim(self) -> tuple[int, bool]:
        """Return the highest data key to be left unused, and whether plain content is encrypted."""
        with self._database.read() as session:
            state = repository.state(session)
            if state is None:
                raise AssertionError("unreachable: the vault is open")
            return state.resealing_to or 0, state.encrypted_at is None

    def _reseal_columns(self, highest: int, plain: bool, advance: Advance) -> int:
        done = 0
        for sealed in columns.SEALED_COLUMNS:
            after = None
            while True:
                with self._database.write() as session:
                    rows = columns.older(session, sealed, highest, plain=plain, after=after)
                    for row in rows:
                        opened = self._opened(sealed, row, plain)
                        if opened is None:
                            self._result.broken.append(f"{sealed.purpose} {sealed.row(*row[:-1])}")
                            continue
                        fresh = self._vault.seal(sealed.purpose, sealed.row(*row[:-1]), opened)
                        columns.replace(session, sealed, row, fresh)
                        done += 1
                if not rows:
                    break
                after = tuple(rows[-1])[:-1]
                advance(len(rows))
        return done

    def _opened(self, sealed: columns.SealedColumn, row: columns.SealedRow, plain: bool) -> bytes | None:
        """Open what stands in a row; None where it is neither sealed for it nor a plain template."""
        try:
            return columns.opened(self._vault, sealed, row)
        except SealBrokenError:
            content: bytes = row[-1]
            is_plain = plain and sealed.column is Template.vector and len(content) % 4 == 0 and content
            return content if is_plain and is_template(content, len(content) // 4) else None

    def _reseal_files(self, highest: int, plain: bool, advance: Advance) -> int:
        done = 0

        def work(file: StoredFile) -> int:
            return self._reseal_file(file, highest, plain)

        threads = min(store.medium.threads for store in self._stores.values())
        with ThreadPoolExecutor(threads, thread_name_prefix="reseal") as pool:
            for files in _batches(stored_files(self._database)):
                done += sum(pool.map(work, files))
                advance(len(files))
        return done

    def _reseal_file(self, file: StoredFile, highest: int, plain: bool) -> int:
        """Encrypt one file anew where it has to be; return how many were."""
        store = self._stores[file.store]
        try:
            if plain and PLAIN_LOCATION.fullmatch(file.location):
                return self._seal_file(store, file)
            if LOCATION.fullmatch(file.location) is None:
                raise SealBrokenError("A stored location is malformed.")
            number = store.key_number(file.location)
            if number is None or number > highest:
                return 0
            if not store.medium.needs_row_lock:
                return int(store.reseal(file.location, owner=file.owner))
            with self._database.write() as session:
                return int(hold(session, file) and store.reseal(file.location, owner=file.owner))
        except SealBrokenError:
            with self._lock:
                self._result.broken.append(f"{file.store} file of {file.owner}")
            return 0

    def _seal_file(self, store: BlobStore, file: StoredFile) -> int:
        """Put an encrypted file in the place of a plain one; only folders are that old."""
        if not isinstance(store.medium, Folder):
            raise SealBrokenError("A plain file cannot be in a bucket.")
        old = store.directory / file.location
        try:
            data = old.read_bytes()
        except FileNotFoundError:
            return 0  # Erased meanwhile, or lost before: `oneperson doctor` tells.
        except OSError as error:
            raise StorageUnavailableError(f"A portrait could not be read ({error.strerror}).") from error
        location = store.put(data, owner=file.owner)
        with self._database.write() as session:
            moved = relocate(session, file, location)
        if moved:
            old.unlink(missing_ok=True)
        else:
            store.delete(location)
        return 1

    def _discard_generations(self, highest: int) -> int:
        """Delete generations that are plain or under retired keys; they are only copies."""

        def unwanted(generation: Path) -> bool:
            try:
                with (generation / SEAL_NAME).open("rb") as file:
                    number = key_number(file.read(HEADER_BYTES))
            except OSError:
                return True
            return number is None or number <= highest

        folders = self._settings.galleries_dir.glob("*/*")
        return sum(len(discard(folder, unwanted=unwanted)) for folder in folders if folder.is_dir())

    def _erase_plain_files(self) -> None:
        """Delete portraits of earlier versions that no row points to any more."""
        directory = self._settings.portraits_dir
        for path in directory.glob("??/*"):
            if LOCATION.fullmatch(f"{path.parent.name}/{path.name}") is None:
                path.unlink(missing_ok=True)

    def _finish(self) -> None:
        with self._database.write() as session:
            state = repository.state(session, lock=True)
            if state is None:
                raise AssertionError("unreachable: the vault is open")
            state.resealing_to = None
            state.encrypted_at = state.encrypted_at or now()
        with suppress(DatabaseUnavailableError):
            self._database.forget_deleted()


def chosen_master(vault: Vault, wanted: str | None) -> MasterKey:
    """Return the key to rotate to: the one named, or the last one given.

    Raises:
        SettingsError: There is no such key.
    """
    if wanted is None:
        return list(vault.ring.values())[-1]
    if wanted not in vault.ring:
        raise SettingsError(f"there is no key {wanted}; 'oneperson key list' shows those that are given")
    return vault.ring[wanted]


def _batches(files: Iterator[StoredFile]) -> Iterator[list[StoredFile]]:
    while batch := list(islice(files, FILE_BATCH)):
        yield batch


def _nothing(_count: int) -> None:
    """Tell nobody."""
