"""Keeps files encrypted: portraits, probes, evidence. The database holds their locations."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

from service.encryption.carried import CarriedKeys
from service.encryption.folder import Folder
from service.encryption.medium import LOCATION, SUFFIX, Medium
from service.encryption.opener import Opener
from service.encryption.sealing import HEADER_BYTES, key_number
from service.encryption.vault import Vault, VaultMissingError
from service.errors import DatabaseUnavailableError, SealBrokenError, StorageUnavailableError
from service.part_times import timed

__all__ = ["LOCATION", "BlobStore"]

PRESENT_S = 5.0
"""Seconds for which a store that was there is taken to be there when a file is put into it."""


class BlobStore:
    """Encrypted files under names that say nothing about anybody, in a folder or a bucket.

    A file is durable before `put` returns, so a database row may point to it; one whose row was
    never committed is an orphan that `oneperson doctor` finds. Every file is bound to the kind of
    store, its name and its owner: put in another's place, or asked for by another row, it is refused.
    Where the medium is missing or empty although records point into it, a disk, a share or a bucket is not
    there: nothing is stored beside it, and nothing counts as erased.
    """

    def __init__(self, place: Path | Medium, vault: Opener | None, *, kind: str) -> None:
        """Use this place, made when the first file comes.

        Args:
            place: A folder, or another medium.
            vault: Seals and opens; None where files are only listed and deleted.
            kind: What is kept, such as `portrait` or `evidence`; never changed later.
        """
        self.medium: Medium = Folder(place) if isinstance(place, Path) else place
        self.kind = kind
        self._vault = vault

    @property
    def directory(self) -> Path:
        """The folder, of a store that is in one."""
        if not isinstance(self.medium, Folder):
            raise TypeError("this store is in no folder")
        return self.medium.directory

    def put(self, data: bytes, *, owner: str) -> str:
        """Encrypt and store a file durably and return its location.

        Args:
            data: The file's bytes.
            owner: Whose it is, such as `person:P1`; asked for again by `get`.

        Raises:
            StorageUnavailableError: The medium is away, cannot be written or is full.
            DatabaseUnavailableError: A data key is needed and the database is away.
        """
        if not isinstance(self._vault, Vault):
            raise VaultMissingError("this store was opened for reading")
        name = uuid4().hex
        location = f"{name[:2]}/{name}{SUFFIX}"
        sealed = self._vault.seal(self._purpose, _row(location, owner), data)
        try:
            with timed("files"):
                self._prepare(self._vault, within_s=PRESENT_S)
                self.medium.write(location, sealed)
        except OSError as error:
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
        try:
            sealed = self.medium.read(_checked(location))
        except OSError as error:
            raise StorageUnavailableError(f"A stored file could not be read ({error.strerror}).") from error
        return self._vault.open(self._purpose, _row(location, owner), sealed)

    def read_sealed(self, location: str) -> bytes | None:
        """Read a file as it is stored; None for one that is gone.

        Raises:
            StorageUnavailableError: It cannot be read, or whether it is there cannot be told.
        """
        if LOCATION.fullmatch(location) is None:
            return None
        try:
            return self.medium.read(location)
        except FileNotFoundError:
            if self.exists(location):
                raise StorageUnavailableError("A stored file could not be read; try again.") from None
            return None
        except OSError as error:
            raise StorageUnavailableError(f"A stored file could not be read ({error.strerror}).") from error

    def delete(self, location: str) -> None:
        """Remove a file; one that is gone already is no error.

        Raises:
            StorageUnavailableError: It is there but cannot be removed, or the whole store is away.
        """
        try:
            self.medium.remove(_checked(location))
        except FileNotFoundError:
            self.require_present()  # Not even the place that it would be in is there.
        except OSError as error:
            raise StorageUnavailableError(f"A file could not be removed ({error.strerror}).") from error

    def exists(self, location: str) -> bool:
        """Tell whether a file is there, whatever is in it.

        Raises:
            StorageUnavailableError: It cannot be told.
        """
        if LOCATION.fullmatch(location) is None:
            return False
        try:
            return self.medium.exists(location)
        except FileNotFoundError:
            self.require_present()
            return False
        except OSError as error:
            raise StorageUnavailableError(f"A stored file could not be read ({error.strerror}).") from error

    def each_location(self) -> Iterator[str]:
        """List every stored file, some thousands held at a time.

        Raises:
            StorageUnavailableError: They cannot be listed.
        """
        try:
            yield from self.medium.locations()
        except OSError as error:
            raise StorageUnavailableError(f"The files cannot be listed ({error.strerror}).") from error

    def locations(self) -> set[str]:
        """List every stored file at once."""
        return set(self.each_location())

    def age_s(self, location: str) -> float:
        """Return the seconds since a file was last written; 0 for one that is gone.

        Raises:
            StorageUnavailableError: It cannot be told.
        """
        try:
            return self.medium.age_s(location)
        except OSError as error:
            raise StorageUnavailableError(f"A stored file could not be read ({error.strerror}).") from error

    def require_present(self) -> None:
        """Make sure that the store is there; of one that holds, or has held, at least one file.

        Raises:
            StorageUnavailableError: It is missing, empty or without its mark, or cannot be reached.
        """
        try:
            is_present = self.medium.is_present()
        except OSError as error:
            raise StorageUnavailableError(
                f"The {self.kind} store cannot be reached ({error.strerror})."
            ) from error
        if not is_present:
            raise StorageUnavailableError(self.medium.away.format(kind=self.kind))

    def check_writable(self) -> None:
        """Prove that a file could be stored now, without keys and, once the store is known, the database.

        Raises:
            StorageUnavailableError: It could not.
        """
        try:
            if isinstance(self._vault, Vault):
                self._prepare(self._vault)
            self.medium.prove_writable()
        except OSError as error:
            raise StorageUnavailableError(f"No file can be stored ({error.strerror}).") from error

    def key_number(self, location: str) -> int | None:
        """Return the number of the data key that sealed a file; None for one that is gone.

        Raises:
            StorageUnavailableError: It cannot be read, or the whole store is away.
            SealBrokenError: It is not encrypted.
        """
        try:
            number = key_number(self.medium.read_head(_checked(location), HEADER_BYTES))
        except FileNotFoundError:
            self.require_present()
            return None
        except OSError as error:
            raise StorageUnavailableError(f"A file could not be read ({error.strerror}).") from error
        if number is None:
            raise SealBrokenError("A stored file is not encrypted; it is not used.")
        return number

    def reseal(self, location: str, *, owner: str) -> bool:
        """Encrypt a file anew with the present data key, unless it is gone; tell whether it was there.

        The file keeps its name and is replaced in one step. One that is deleted meanwhile stays deleted; if
        the medium needs it, the caller holds the record that points to the file, so nobody deletes it.

        Raises:
            StorageUnavailableError: It cannot be read or written; it stays as it was.
            SealBrokenError: It was altered, or is not this owner's.
        """
        vault = self._vault
        if not isinstance(vault, Vault):
            raise VaultMissingError("this store was opened for reading")
        row = _row(location, owner)

        def anew(sealed: bytes) -> bytes:
            return vault.seal(self._purpose, row, vault.open(self._purpose, row, sealed))

        try:
            return self.medium.replace(_checked(location), anew)
        except FileNotFoundError:
            self.require_present()
            return False
        except OSError as error:
            raise StorageUnavailableError(f"A file could not be replaced ({error.strerror}).") from error

    def carried_keys(self) -> CarriedKeys:
        """Return what another machine needs to read this store, beside the operator's keys."""
        if not isinstance(self._vault, Vault):
            raise VaultMissingError("this store was opened for listing")
        return self._vault.carried()

    @property
    def _purpose(self) -> str:
        return f"blob {self.kind}"

    def _prepare(self, vault: Vault, *, within_s: float = 0.0) -> None:
        """Make the medium unless there must be one.

        Raises:
            StorageUnavailableError: It is away.
            OSError: It cannot be made, or cannot be reached.
        """
        if self.medium.is_present(within_s=within_s):
            return
        try:
            is_known = vault.points_to_files(self.kind)
        except DatabaseUnavailableError:
            is_known = True  # Whether it is away cannot be told.
        if is_known:
            self.require_present()
        self.medium.begin()


def _row(location: str, owner: str) -> str:
    return f"{location}\0{owner}"


def _checked(location: str) -> str:
    """Let nothing but a location reach the medium.

    Raises:
        StorageUnavailableError: It has another form.
    """
    if LOCATION.fullmatch(location) is None:
        raise StorageUnavailableError("A stored location is malformed; run 'oneperson doctor'.")
    return location
