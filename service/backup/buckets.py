"""Restores the files of a backup into a bucket: straight into place, a store only when all are there."""

import shutil
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from service.backup.errors import BackupError
from service.backup.target import require_empty_folder
from service.encryption.medium import LOCATION
from service.encryption.objects import Objects
from service.errors import StorageUnavailableError
from service.file_stores import evidence_store, portrait_store
from service.settings import Settings


class Buckets:
    """The stores of files in a bucket; see `service.backup.target.Target`.

    An object beside the files says that a restoration is under way. Only where it is does a later one remove
    what it finds, so no bucket that is in use is ever emptied. The mark that makes a store of the files is
    put last: a service that is started too early takes them for away.
    """

    def __init__(self, settings: Settings) -> None:
        """Look at the bucket that the settings name."""
        portraits, evidence = (
            _objects(portrait_store(settings).medium),
            _objects(evidence_store(settings).medium),
        )
        self._places = {"portraits": portraits, "probes": portraits, "evidence": evidence}
        self._all = (portraits, evidence)
        self._data_dir = settings.data_dir
        self._galleries = settings.galleries_dir
        self._pool: ThreadPoolExecutor | None = None
        self._waiting: list[Future[None]] = []
        self.made: list[Path] = []

    @contextmanager
    def filled(self) -> Iterator[None]:
        """Let the bucket be filled; on any failure it is as it was before.

        What a restoration that was killed has left is removed first.

        Raises:
            BackupError: It is not empty.
            StorageUnavailableError: It does not do what it is asked for.
        """
        with _told():
            for place in self._all:
                if place.is_filling:
                    place.clear()
            self.require_empty()
            self._data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            for place in self._all:
                place.begin_filling()
            try:
                with ThreadPoolExecutor(self._all[0].threads, thread_name_prefix="restore") as self._pool:
                    yield
            except BaseException:
                self._remove_all()
                raise
            for place in self._all:
                place.end_filling()

    def require_empty(self) -> None:
        """Make sure that nothing is stored.

        Raises:
            BackupError: Something is.
        """
        with _told():
            for place in self._all:
                if not place.is_filling and next(place.locations(), None) is not None:
                    raise BackupError(
                        f"{place.name} is not empty: a backup is restored into an empty installation only; "
                        "give another prefix in ONEPERSON_FILES_URL"
                    )
        require_empty_folder(self._galleries)

    def put(self, store: str, location: str, data: bytes) -> None:
        """Write a file as it was in the backup, encrypted; durable after `place`."""
        if LOCATION.fullmatch(location) is None:
            raise BackupError("the backup is damaged: a file has no place")
        place = self._places[store]
        if self._pool is None:
            raise AssertionError("unreachable: it is being filled")
        if len(self._waiting) >= place.threads:
            self._wait()
        self._waiting.append(self._pool.submit(place.write, location, data))

    def drop(self, location: str) -> None:
        """Remove a portrait that was put here and does not belong here any more."""
        self._wait()
        self._places["portraits"].discard(location)

    def place(self) -> None:
        """Make stores of what was written."""
        self._wait()
        for place in self._all:
            place.begin()

    def _wait(self) -> None:
        done, self._waiting = self._waiting, []
        for one in done:
            one.result()

    def _remove_all(self) -> None:
        self._waiting.clear()  # The pool has ended: nothing is written any more.
        for path in self.made:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        for place in self._all:
            place.clear()
            place.end_filling()


def _objects(medium: object) -> Objects:
    if not isinstance(medium, Objects):
        raise AssertionError("unreachable: the settings name a bucket")
    return medium


@contextmanager
def _told() -> Iterator[None]:
    """Turn what the bucket does not do into an error with a remedy; it names no file."""
    try:
        yield
    except OSError as error:
        if error.filename is not None:
            raise
        raise StorageUnavailableError(f"The bucket could not be used ({error.strerror}).") from error
