"""Where galleries live: in this process with generations on disk, or on a Milvus server."""

from typing import Protocol

from sqlalchemy.orm import Session

from index.errors import GenerationError
from index.snapshot import current, discard, rollback
from service.errors import SettingsError
from service.galleries.keeper import (
    GalleryPlace,
    Keeper,
    from_database,
    from_generation,
    open_keeper,
    write_from_database,
)
from service.settings import Settings


class Backend(Protocol):
    """Makes galleries equal to a view of the database."""

    def open(self, session: Session, place: GalleryPlace) -> Keeper:
        """Return a gallery from its newest generation and the changes since, or else from the database.

        Raises:
            GalleryError: The server behind it failed.
        """

    def from_database(self, session: Session, place: GalleryPlace) -> Keeper:
        """Return a gallery made anew from the stored templates.

        Raises:
            GalleryError: The server behind it failed.
        """

    def newer(self, session: Session, keeper: Keeper) -> Keeper | None:
        """Return a gallery from the current generation where another one, or none, is in use, else None.

        Raises:
            IncompleteError: There is no generation, and none can be written.
            GalleryError: It could not be written, or the server behind it failed.
        """

    def write(self, session: Session, place: GalleryPlace, *, switch: bool) -> str | None:
        """Write a fresh generation from the stored templates beside the one in use.

        Args:
            session: A consistent view of the database.
            place: Which gallery.
            switch: Whether it becomes the current one.

        Returns:
            Its name, or None where the gallery is empty.

        Raises:
            IncompleteError: Portraits lack a template of this pack.
            GalleryError: It could not be written or verified; the current one stays.
        """

    def roll_back(self, session: Session, place: GalleryPlace) -> str:
        """Make the generation before the current one the current one, and return its name.

        Raises:
            GenerationError: There is none.
            BackendError: The server behind it failed.
        """


class LocalBackend:
    """Galleries in this process's memory."""

    def __init__(self, settings: Settings) -> None:
        """Use the implementation that the settings name."""
        self._name = settings.gallery_backend
        self._keep = settings.keep_generations

    def open(self, session: Session, place: GalleryPlace) -> Keeper:
        """Load the generation and replay; see `Backend.open`."""
        return open_keeper(session, place, backend=self._name, keep=self._keep)

    def from_database(self, session: Session, place: GalleryPlace) -> Keeper:
        """Read all templates; see `Backend.from_database`."""
        return from_database(session, place, self._name)

    def newer(self, session: Session, keeper: Keeper) -> Keeper | None:
        """Open what another process has written, or write what is missing; see `Backend.newer`.

        A generation whose vectors turned out damaged goes first.
        """
        place = keeper.place
        if keeper.spoilt:
            discard(place.directory, unwanted=lambda path: path.name == keeper.generation)
        path = current(place.directory)
        if path is not None and path.name == keeper.generation:
            return None
        newer = from_generation(session, place, self._name)
        if newer is None and self.write(session, place, switch=True):
            newer = from_generation(session, place, self._name)
        return newer

    def write(self, session: Session, place: GalleryPlace, *, switch: bool) -> str | None:
        """Write the columns to files; see `Backend.write`."""
        return write_from_database(session, place, backend=self._name, keep=self._keep, switch=switch)

    def roll_back(self, session: Session, place: GalleryPlace) -> str:  # noqa: ARG002 - the folder says it
        """Switch the folder's pointer; see `Backend.roll_back`."""
        try:
            return rollback(place.directory).name
        except FileNotFoundError as error:
            raise GenerationError(f"The gallery '{place.name}' has no generation.") from error


def backend_of(settings: Settings) -> Backend:
    """Return the backend that the settings name; a server is not asked anything yet.

    Raises:
        SettingsError: The extra that it needs is not installed.
    """
    if settings.gallery_backend != "milvus":
        return LocalBackend(settings)
    try:
        from service.galleries.milvus_generations import MilvusGenerations  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"ONEPERSON_GALLERY_BACKEND=milvus needs the package {error.name}: pip install '.[milvus]'"
        ) from error
    return MilvusGenerations(settings)
