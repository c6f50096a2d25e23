"""The installation that a backup is restored into: empty at the beginning, and again if that fails."""

import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from sqlalchemy import inspect, text
from sqlalchemy.orm import Session

from service.backup.errors import BackupError
from service.encryption.folder import sync_folder
from service.encryption.medium import LOCATION
from service.settings import Settings

SEEDED = frozenset({"alembic_version", "gallery_heads", "audit_heads"})
"""Tables in which the migrations themselves put rows."""

ASIDE = ".restoring"


class Target(Protocol):
    """The stores of files of an installation, empty and to be filled.

    Attributes:
        made: What else was put into the installation; removed again on failure.
    """

    made: list[Path]

    def filled(self) -> AbstractContextManager[None]:
        """Let the stores be filled; on any failure everything is as it was before."""

    def require_empty(self) -> None:
        """Make sure that nothing is stored."""

    def put(self, store: str, location: str, data: bytes) -> None:
        """Write a file as it was in the backup, encrypted; durable after `place`."""

    def drop(self, location: str) -> None:
        """Remove a portrait that was put here and does not belong here any more."""

    def place(self) -> None:
        """Put the files in their places, durably."""


class Folders:
    """The stores of files, filled aside and put in place by renames."""

    def __init__(self, settings: Settings) -> None:
        """Look at the folders that the settings name."""
        self._aside = settings.data_dir / ASIDE
        self._places = {
            "portraits": settings.portraits_dir,
            "probes": settings.portraits_dir,
            "evidence": settings.evidence_dir,
        }
        self._data_dir = settings.data_dir
        self._galleries = settings.galleries_dir
        self.made: list[Path] = []  # What else was put here; removed again on failure.

    @contextmanager
    def filled(self) -> Iterator[None]:
        """Let the folders be filled; on any failure everything is as it was before.

        What a restoration that was killed has left, by the folder that it worked in, is removed first.

        Raises:
            BackupError: They are not empty.
        """
        if self._aside.exists():
            self._remove_all()
        self.require_empty()
        try:
            self._data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            for name in {place.name for place in self._places.values()}:
                (self._aside / name).mkdir(parents=True, mode=0o700)
            yield
        except BaseException:
            self._remove_all()
            raise
        shutil.rmtree(self._aside, ignore_errors=True)

    def require_empty(self) -> None:
        """Make sure that nothing is stored.

        Raises:
            BackupError: Something is.
        """
        if self._aside.exists():
            return  # Of a restoration that was killed; it began with empty folders.
        for folder in {*self._places.values(), self._galleries}:
            require_empty_folder(folder)

    def put(self, store: str, location: str, data: bytes) -> None:
        """Write a file as it was in the backup, encrypted; durable after `place`."""
        if LOCATION.fullmatch(location) is None:
            raise BackupError("the backup is damaged: a file has no place")
        path = self._aside / self._places[store].name / location
        path.parent.mkdir(exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)

    def drop(self, location: str) -> None:
        """Remove a portrait that was put here and does not belong here any more."""
        (self._aside / self._places["portraits"].name / location).unlink(missing_ok=True)

    def place(self) -> None:
        """Put the folders in their places, durably."""
        os.sync()  # One wait for all files instead of one for each.
        for place in {*self._places.values()}:
            if place.is_dir():
                shutil.rmtree(place)  # It holds no file.
            place.parent.mkdir(parents=True, exist_ok=True)
            (self._aside / place.name).rename(place)
            sync_folder(place.parent)

    def _remove_all(self) -> None:
        for place in {*self._places.values()}:
            shutil.rmtree(place, ignore_errors=True)
        for path in self.made:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        shutil.rmtree(self._aside, ignore_errors=True)


def require_empty_folder(folder: Path) -> None:
    """Make sure that there is no file in a folder.

    Raises:
        BackupError: There is one.
    """
    if folder.is_dir() and any(path.is_file() for path in folder.rglob("*")):
        raise BackupError(
            f"{folder} is not empty: a backup is restored into an empty installation only; give "
            "another ONEPERSON_DATA_DIR, or move the folder away"
        )


def require_empty_database(session: Session) -> None:
    """Make sure that a database holds nothing but what an empty schema holds.

    Raises:
        BackupError: It holds more.
    """
    connection = session.connection()
    for name in inspect(connection).get_table_names():
        if name in SEEDED:
            continue
        if connection.execute(text(f'SELECT 1 FROM "{name}" LIMIT 1')).first() is not None:  # noqa: S608
            raise BackupError(
                f"the database is not empty (there are rows in {name}): a backup is restored into an empty "
                "installation only; give another ONEPERSON_DATABASE_URL, or make an empty database"
            )
