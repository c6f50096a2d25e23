"""Keeps sealed bytes as objects of any file system that fsspec reaches."""

import errno
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from service.encryption.medium import Change

PROVE_EVERY_S = 60.0
"""Seconds for which a write that was done is taken for proof that files can be stored. Readiness asks every
second; a store that fills up is noticed by the first file that does not fit, which ends the proof."""

MARK = ".store"
PROBE = ".writable"
FILLING = ".restoring"

MARKED = b"OnePerson keeps encrypted files here. Without this object it takes them for lost.\n"


class Objects:
    """The objects under one path; see `service.encryption.medium.Medium`.

    An object is there whole or not at all, and durable once the store has acknowledged it. What tells a store
    that is there from one that is away is the mark: an object that is made before the first file.
    """

    away = (
        "The bucket of the {kind} store has lost its mark, but records point to files in it: bring the right "
        "bucket back, or correct ONEPERSON_FILES_URL."
    )
    threads = 16  # An answer takes milliseconds, nearly all of them on the way.
    needs_row_lock = True

    def __init__(self, files: Any, root: str, *, name: str) -> None:
        """Use what lies under a path.

        Args:
            files: A file system of fsspec that keeps no listings.
            root: The path, without a slash at its end.
            name: How operators know it.
        """
        self.name = name
        self._files = files
        self._root = root
        self._seen_at: float | None = None
        self._proved_at: float | None = None
        self._lock = threading.Lock()

    def is_present(self, *, within_s: float = 0.0) -> bool:
        """Tell whether the mark is there."""
        seen_at = self._seen_at
        if within_s and seen_at is not None and time.monotonic() - seen_at < within_s:
            return True
        found = self._changed_at(MARK) is not None
        self._seen_at = time.monotonic() if found else None
        return found

    def begin(self) -> None:
        """Put the mark.

        Raises:
            PermissionError: What is erased here would be kept.
        """
        keeps, remedy = self.keeps_erased()
        if keeps and remedy:
            raise PermissionError(errno.EPERM, f"{keeps}, so what is erased would stay: {remedy}")
        self._put(MARK, MARKED)

    def keeps_erased(self) -> tuple[str, str]:
        """Tell why erased files may stay, if so, and what must be done about it.

        Returns:
            What was found and a remedy: both empty if nothing stays; no remedy where it cannot be known.
        """
        return "", ""

    def prove_writable(self) -> None:
        """Write an object, unless one was written within the last minute."""
        with self._lock:
            proved_at = self._proved_at
            if proved_at is not None and time.monotonic() - proved_at < PROVE_EVERY_S:
                return
            self.write(PROBE, b"\0")

    def write(self, location: str, data: bytes) -> None:
        """Store an object; one whose acknowledgement was lost is an orphan at worst."""
        self._proved_at = None
        try:
            self._put(location, data)
        except OSError:
            self._seen_at = None
            raise
        self._proved_at = time.monotonic()

    def put_in_place(self, location: str, data: bytes) -> None:
        """Store an object."""
        self.write(location, data)

    def read(self, location: str) -> bytes:
        """Return an object."""
        return self._get(location)

    def read_head(self, location: str, size: int) -> bytes:
        """Return at most the first bytes of an object."""
        data: bytes = self._files.cat_file(self._path(location), start=0, end=size)
        return data

    def remove(self, location: str) -> None:
        """Remove an object.

        Raises:
            FileNotFoundError: The mark is not there: the object may lie in a bucket that is away.
        """
        self._require_mark()
        self.discard(location)

    def discard(self, location: str) -> None:
        """Remove an object, whether the mark is there or not."""
        with suppress(FileNotFoundError):
            self._delete(location)

    def exists(self, location: str) -> bool:
        """Tell whether an object is there; where the mark is not, nothing can be told."""
        if self._changed_at(location) is not None:
            return True
        self._require_mark()
        return False

    def locations(self) -> Iterator[str]:
        """List what is stored, one of at most 256 folders after the other."""
        for folder in self._list(""):
            if "." not in folder:
                for name in self._list(folder):
                    yield f"{folder}/{name}"

    def age_s(self, location: str) -> float:
        """Return the seconds since an object was last written; 0 for one that is gone."""
        changed_at = self._changed_at(location)
        return 0.0 if changed_at is None else time.time() - changed_at

    def replace(self, location: str, change: Change) -> bool:
        """Replace an object that is there; nobody else removes it meanwhile, see `needs_row_lock`."""
        try:
            data = self._get(location)
        except FileNotFoundError:
            self._require_mark()
            return False
        self.write(location, change(data))
        return True

    @property
    def is_filling(self) -> bool:
        """Whether a restoration into this place was begun and not ended."""
        return self._changed_at(FILLING) is not None

    def begin_filling(self) -> None:
        """Note that all that is here from now on is a restoration's."""
        self._put(FILLING, b"")

    def end_filling(self) -> None:
        """Note that what is here is somebody's."""
        self.discard(FILLING)

    def clear(self) -> None:
        """Remove everything, the mark before all else."""
        self._seen_at = None
        self.discard(MARK)
        for location in self.locations():
            self.discard(location)
        self.discard(PROBE)

    def _require_mark(self) -> None:
        if not self.is_present():
            raise FileNotFoundError(errno.ENOENT, "the mark of the store is not there")

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    def _put(self, name: str, data: bytes) -> None:
        self._files.pipe_file(self._path(name), data)

    def _get(self, name: str) -> bytes:
        data: bytes = self._files.cat_file(self._path(name))
        return data

    def _delete(self, name: str) -> None:
        self._files.rm_file(self._path(name))

    def _changed_at(self, name: str) -> float | None:
        """Return when an object was last written, in seconds since the epoch; None for one that is gone."""
        try:
            return float(self._files.modified(self._path(name)).timestamp())
        except FileNotFoundError:
            return None

    def _list(self, folder: str) -> list[str]:
        """Return the names of what is directly in a folder."""
        try:
            entries = self._files.ls(self._path(folder), detail=False)
        except FileNotFoundError:
            return []
        return [entry.rsplit("/", 1)[1] for entry in entries]
