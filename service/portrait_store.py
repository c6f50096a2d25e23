"""Keeps portraits as files; the database holds their locations."""

import os
import re
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from service.errors import StorageUnavailableError

LOCATION = re.compile(r"[0-9a-f]{2}/[0-9a-f]{32}\.(jpeg|png|webp|bmp)")


class PortraitStore:
    """A folder of portraits under names that say nothing about anybody.

    A portrait is durable before `put` returns, so a database row may point to
    it; one whose row was never committed is an orphan that `oneperson doctor` finds.
    """

    def __init__(self, directory: Path) -> None:
        """Use this folder, made when the first portrait comes."""
        self.directory = directory

    def put(self, data: bytes, form: str) -> str:
        """Store a portrait durably and return its location.

        Args:
            data: The file's bytes.
            form: `jpeg`, `png`, `webp` or `bmp`.

        Raises:
            StorageUnavailableError: The folder cannot be written or is full.
        """
        name = uuid4().hex
        location = f"{name[:2]}/{name}.{form}"
        path = self._path(location)
        try:
            _make_folder(self.directory)
            _make_folder(path.parent)
            _write_durably(path, data)
        except OSError as error:
            with suppress(OSError):
                path.unlink(missing_ok=True)
            raise StorageUnavailableError(
                f"A portrait could not be stored ({error.strerror}); nothing was changed."
            ) from error
        return location

    def get(self, location: str) -> bytes:
        """Read a portrait.

        Raises:
            StorageUnavailableError: It is not there or cannot be read.
        """
        try:
            return self._path(location).read_bytes()
        except OSError as error:
            raise StorageUnavailableError(f"A portrait could not be read ({error.strerror}).") from error

    def delete(self, location: str) -> None:
        """Remove a portrait; one that is gone already is no error.

        Raises:
            StorageUnavailableError: It is there but cannot be removed.
        """
        try:
            self._path(location).unlink(missing_ok=True)
        except OSError as error:
            raise StorageUnavailableError(f"A portrait could not be removed ({error.strerror}).") from error

    def locations(self) -> set[str]:
        """List every stored portrait."""
        if not self.directory.is_dir():
            return set()
        return {f"{path.parent.name}/{path.name}" for path in self.directory.glob("??/*.*")}

    def check_writable(self) -> None:
        """Prove that a portrait could be stored now.

        Raises:
            StorageUnavailableError: It could not.
        """
        self.delete(self.put(b"probe", "bmp"))

    def _path(self, location: str) -> Path:
        if LOCATION.fullmatch(location) is None:
            raise StorageUnavailableError("A stored location is malformed; run 'oneperson doctor'.")
        return self.directory / location


def _make_folder(folder: Path) -> None:
    """Make a folder that only we may enter, its entry in the one above durable, too."""
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        return
    except FileNotFoundError:
        folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.mkdir(exist_ok=True, mode=0o700)
    _sync_folder(folder.parent)


def _write_durably(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
