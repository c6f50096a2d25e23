"""Keeps files encrypted: portraits, probes, evidence. The database holds their locations."""

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from service.encryption.carried import CarriedKeys
from service.encryption.opener import Opener
from service.encryption.sealing import HEADER_BYTES, key_number
from service.encryption.vault import Vault, VaultMissingError
from service.errors import DatabaseUnavailableError, SealBrokenError, StorageUnavailableError
from service.part_times import timed

LOCATION = re.compile(r"[0-9a-f]{2}/[0-9a-f]{32}\.sealed")

PROBE_BYTES = 4096
"""Written to see whether a file can be stored: a block of most file systems."""

_MARK = ".store"
_PROBE = ".writable-"
_SUFFIX = ".sealed"
_ASIDE = ".rewriting-"


class BlobStore:
    """A folder of encrypted files under names that say nothing about anybody.

    A file is durable before `put` returns, so a database row may point to it; one whose row was
    never committed is an orphan that `oneperson doctor` finds. Every file is bound to the kind of
    store, its name and its owner: put in another's place, or asked for by another row, it is refused.
    Where the folder is missing or empty although records point into it, a disk or a share is not there:
    nothing is stored beside it, and nothing counts as erased.
    """

    def __init__(self, directory: Path, vault: Opener | None, *, kind: str) -> None:
        """Use this folder, made when the first file comes.

        Args:
            directory: The folder.
            vault: Seals and opens; None where files are only listed and deleted.
            kind: What is kept, such as `portrait` or `evidence`; never changed later.
        """
        self.directory = directory
        self.kind = kind
        self._vault = vault

    def put(self, data: bytes, *, owner: str) -> str:
        """Encrypt and store a file durably and return its location.

        Args:
            data: The file's bytes.
            owner: Whose it is, such as `person:P1`; asked for again by `get`.

        Raises:
            StorageUnavailableError: The folder is away, cannot be written or is full.
            DatabaseUnavailableError: A data key is needed and the database is away.
        """
        if not isinstance(self._vault, Vault):
            raise VaultMissingError("this store was opened for reading")
        name = uuid4().hex
        location = f"{name[:2]}/{name}{_SUFFIX}"
        sealed = self._vault.seal(self._purpose, _row(location, owner), data)
        path = self._path(location)
        try:
            with timed("files"):
                self._prepare_folder(self._vault)
                _make_folder(path.parent)
                _write_durably(path, sealed)
        except OSError as error:
            with suppress(OSError):
                path.unlink(missing_ok=True)
            raise StorageUnavailableError(
                f"A file could not be stored ({error.strerror}); nothing was changed."
            ) from error
        return location

    def get(self, location: str, *, owner: str) -> bytes:
        """Read and decrypt a file.

        Raises:
            StorageUnavailableError: It is not there or cannot be read.
            SealBrokenError: It was altered, or is not this owner's.
        """
        if self._vault is None:
            raise VaultMissingError("this store was opened for listing")
        return self._vault.open(self._purpose, _row(location, owner), self._read(location))

    def delete(self, location: str) -> None:
        """Remove a file; one that is gone already is no error.

        Raises:
            StorageUnavailableError: It is there but cannot be removed, or the whole store is away.
        """
        path = self._path(location)
        try:
            with _held(path.parent):
                path.unlink(missing_ok=True)
        except FileNotFoundError:
            self.require_present()  # Not even its folder is there.
        except OSError as error:
            raise StorageUnavailableError(f"A file could not be removed ({error.strerror}).") from error

    def exists(self, location: str) -> bool:
        """Tell whether a file is there, whatever is in it."""
        return LOCATION.fullmatch(location) is not None and (self.directory / location).is_file()

    def locations(self) -> set[str]:
        """List every stored file."""
        if not self.directory.is_dir():
            return set()
        return {
            f"{path.parent.name}/{path.name}" for path in self.directory.glob("??/*.*") if path.name[0] != "."
        }

    def require_present(self) -> None:
        """Make sure that the folder is there; of a store that holds, or has held, at least one file.

        Raises:
            StorageUnavailableError: It is missing or empty.
        """
        if not _has_content(self.directory):
            raise StorageUnavailableError(
                f"The folder of the {self.kind} store is missing or empty, but records point to files in it: "
                "bring its disk or share back."
            )

    def check_writable(self) -> None:
        """Prove that a file could be stored now, without keys and, once the folder is known, the database.

        Raises:
            StorageUnavailableError: It could not.
        """
        name = f"{_PROBE}{uuid4().hex}"
        try:
            if isinstance(self._vault, Vault):
                self._prepare_folder(self._vault)
            path = self.directory / name
            try:
                _write_durably(path, bytes(PROBE_BYTES))
            finally:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise StorageUnavailableError(f"No file can be stored ({error.strerror}).") from error

    def key_number(self, location: str) -> int | None:
        """Return the number of the data key that sealed a file; None for one that is gone.

        Raises:
            SealBrokenError: It is not encrypted.
        """
        try:
            with self._path(location).open("rb") as file:
                number = key_number(file.read(HEADER_BYTES))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageUnavailableError(f"A file could not be read ({error.strerror}).") from error
        if number is None:
            raise SealBrokenError("A stored file is not encrypted; it is not used.")
        return number

    def reseal(self, location: str, *, owner: str) -> bool:
        """Encrypt a file anew with the present data key, unless it is gone; tell whether it was there.

        The file keeps its name and is replaced by one rename. One that is deleted meanwhile stays
        deleted: both hold the folder.

        Raises:
            StorageUnavailableError: It cannot be read or written; it stays as it was.
            SealBrokenError: It was altered, or is not this owner's.
        """
        if not isinstance(self._vault, Vault):
            raise VaultMissingError("this store was opened for reading")
        path = self._path(location)
        aside = path.with_name(f"{_ASIDE}{path.name}")
        try:
            with _held(path.parent):
                if not path.exists():
                    return False
                plain = self.get(location, owner=owner)
                aside.unlink(missing_ok=True)  # Left by a run that died.
                _write_durably(aside, self._vault.seal(self._purpose, _row(location, owner), plain))
                aside.replace(path)
                sync_folder(path.parent)
        except FileNotFoundError:
            return False
        except OSError as error:
            with suppress(OSError):
                aside.unlink(missing_ok=True)
            raise StorageUnavailableError(f"A file could not be replaced ({error.strerror}).") from error
        return True

    def carried_keys(self) -> CarriedKeys:
        """Return what another machine needs to read this store, beside the operator's keys."""
        if not isinstance(self._vault, Vault):
            raise VaultMissingError("this store was opened for listing")
        return self._vault.carried()

    @property
    def _purpose(self) -> str:
        return f"blob {self.kind}"

    def _prepare_folder(self, vault: Vault) -> None:
        """Make the folder unless there must be one.

        Raises:
            StorageUnavailableError: It is away.
            OSError: It is no folder, or cannot be made.
        """
        if _has_content(self.directory):
            return
        try:
            is_known = vault.points_to_files(self.kind)
        except DatabaseUnavailableError:
            is_known = True  # Whether it is away cannot be told.
        if is_known:
            self.require_present()
        _make_folder(self.directory)
        _make_folder(self.directory / _MARK)  # From now on the folder is known without asking.

    def _read(self, location: str) -> bytes:
        try:
            return self._path(location).read_bytes()
        except OSError as error:
            raise StorageUnavailableError(f"A stored file could not be read ({error.strerror}).") from error

    def _path(self, location: str) -> Path:
        if LOCATION.fullmatch(location) is None:
            raise StorageUnavailableError("A stored location is malformed; run 'oneperson doctor'.")
        return self.directory / location


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _row(location: str, owner: str) -> str:
    return f"{location}\0{owner}"


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Keep a deletion and a replacement in one folder apart, across processes."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _has_content(folder: Path) -> bool:
    """Tell whether a folder is there and holds anything but probes; an unmounted one is there and empty."""
    try:
        with os.scandir(folder) as entries:
            return any(not entry.name.startswith(_PROBE) for entry in entries)
    except FileNotFoundError:
        return False


def _make_folder(folder: Path) -> None:
    """Make a folder that only we may enter, its entry in the one above durable, too."""
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        return
    except FileNotFoundError:
        folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.mkdir(exist_ok=True, mode=0o700)
    sync_folder(folder.parent)


def _write_durably(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    sync_folder(path.parent)
