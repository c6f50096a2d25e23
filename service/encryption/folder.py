"""Keeps sealed bytes in a folder of this machine, or of a share."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from service.encryption.medium import Change

PROBE_BYTES = 4096
"""Written to see whether a file can be stored: a block of most file systems."""

_MARK = ".store"
_PROBE = ".writable-"
_ASIDE = ".rewriting-"


class Folder:
    """A folder; see `service.encryption.medium.Medium`."""

    away = (
        "The folder of the {kind} store is missing or empty, but records point to files in it: "
        "bring its disk or share back."
    )
    threads = 4  # Disks acknowledge several durable writes in the time of one.
    needs_row_lock = False  # A removal and a replacement both hold the file's folder.

    def __init__(self, directory: Path) -> None:
        """Use this folder, made when the first file comes."""
        self.directory = directory
        self.name = str(directory)

    def is_present(self, *, within_s: float = 0.0) -> bool:  # noqa: ARG002 - looking costs nothing
        """Tell whether it is there and holds anything but probes; an unmounted one is there and empty."""
        try:
            with os.scandir(self.directory) as entries:
                return any(not entry.name.startswith(_PROBE) for entry in entries)
        except FileNotFoundError:
            return False

    def begin(self) -> None:
        """Make it, and the mark in it."""
        _make_folder(self.directory)
        _make_folder(self.directory / _MARK)  # From now on the folder is known without asking.

    def prove_writable(self) -> None:
        """Write a file and remove it."""
        path = self.directory / f"{_PROBE}{uuid4().hex}"
        try:
            _write_durably(path, bytes(PROBE_BYTES))
        finally:
            path.unlink(missing_ok=True)

    def write(self, location: str, data: bytes) -> None:
        """Store a new file; its name is durable, too."""
        path = self.directory / location
        try:
            _make_folder(path.parent)
            _write_durably(path, data)
        except OSError:
            with suppress(OSError):
                path.unlink(missing_ok=True)
            raise

    def put_in_place(self, location: str, data: bytes) -> None:
        """Store a file aside and rename it."""
        path = self.directory / location
        if not self.is_present():
            _make_folder(self.directory)
        _make_folder(path.parent)
        with _held(path.parent):
            _replace(path, data)

    def read(self, location: str) -> bytes:
        """Return a file."""
        return (self.directory / location).read_bytes()

    def read_head(self, location: str, size: int) -> bytes:
        """Return at most the first bytes of a file."""
        with (self.directory / location).open("rb") as file:
            return file.read(size)

    def remove(self, location: str) -> None:
        """Remove a file.

        Raises:
            FileNotFoundError: Not even the folder that it would be in is there.
        """
        path = self.directory / location
        with _held(path.parent):
            path.unlink(missing_ok=True)

    def exists(self, location: str) -> bool:
        """Tell whether a file is there."""
        return (self.directory / location).is_file()

    def locations(self) -> Iterator[str]:
        """List what is stored, one folder after the other."""
        if not self.directory.is_dir():
            return
        for path in self.directory.glob("??/*.*"):
            if path.name[0] != ".":
                yield f"{path.parent.name}/{path.name}"

    def age_s(self, location: str) -> float:
        """Return the seconds since a file was last written; 0 for one that is gone."""
        try:
            return time.time() - (self.directory / location).stat().st_mtime
        except FileNotFoundError:
            return 0.0

    def replace(self, location: str, change: Change) -> bool:
        """Replace a file by one rename; one that is deleted meanwhile stays deleted: both hold the folder."""
        path = self.directory / location
        try:
            with _held(path.parent):
                if not path.exists():
                    return False
                _replace(path, change(path.read_bytes()))
        except FileNotFoundError:
            return False
        return True


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Keep a deletion and a replacement in one folder apart, across processes."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _replace(path: Path, data: bytes) -> None:
    """Write a file aside and put it in its place; its folder is held."""
    aside = path.with_name(f"{_ASIDE}{path.name}")
    aside.unlink(missing_ok=True)  # Left by a run that died.
    try:
        _write_durably(aside, data)
        aside.replace(path)
        sync_folder(path.parent)
    except OSError:
        with suppress(OSError):
            aside.unlink(missing_ok=True)
        raise


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
