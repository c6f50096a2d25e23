"""Keeps one gallery in memory equal to the database."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import structlog
from sqlalchemy.orm import Session

from index.errors import GenerationError, OnePersonError
from index.gallery import ExactGallery, Gallery
from index.generation_files import Cipher
from index.recall import measure_recall
from index.snapshot import activate, clean, current, load_generation, prune, write_generation
from index.types import Reference, References
from service.encryption.generations import GenerationCipher
from service.encryption.vault import vault_of
from service.galleries import repository
from service.galleries.repository import Change
from service.settings import Settings

log = structlog.get_logger(__name__)


class IncompleteError(OnePersonError):
    """Portraits of a gallery lack a template, so no complete generation can be written."""

    def __init__(self, gallery: str, missing: int) -> None:
        """Say how many."""
        super().__init__(
            f"{missing} portraits of the gallery '{gallery}' have no template of this pack; "
            "see the report, replace those portraits, and rebuild again"
        )


@dataclass(frozen=True, slots=True)
class GalleryPlace:
    """Which gallery, made by which pack, and where its generations lie.

    Attributes:
        name: `flagged` or `registered`.
        contract_id: Of the pack.
        dimension: Of its templates.
        directory: Folder of the generations that this pack made of this gallery.
    """

    name: str
    contract_id: str
    dimension: int
    directory: Path


@runtime_checkable
class KeepsPosition(Protocol):
    """A gallery that outlives the process, and so has to know how far it has come."""

    def record_position(self, position: int) -> None:
        """Write down that every change up to a position is in.

        Raises:
            GalleryError: It could not be written.
        """


def gallery_place(settings: Settings, name: str, *, contract_id: str, dimension: int) -> GalleryPlace:
    """Return where a gallery's generations lie; packs never share a folder."""
    directory = settings.galleries_dir / name / contract_id[:16]
    return GalleryPlace(name, contract_id, dimension, directory)


def new_gallery(backend: str, dimension: int, references: References) -> Gallery:
    """Make a gallery of the backend that the settings name; the arrays are kept, not copied."""
    if backend == "exact":
        return ExactGallery(dimension, references)
    from index.faiss_gallery import FaissGallery  # noqa: PLC0415 - FAISS loads only where it is used

    return FaissGallery(dimension, references)


def generation_cipher(session: Session, place: GalleryPlace) -> Cipher:
    """Return what encrypts the generations of one gallery made by one pack, and of no other."""
    return GenerationCipher(vault_of(session), f"{place.name}:{place.contract_id}")


@dataclass(slots=True)
class Keeper:
    """One gallery, the generation it began from and the position it has reached.

    Attributes:
        place: Which gallery.
        gallery: The searchable set.
        generation: Name of the generation that it was loaded from.
        position: Last change applied.
        unencoded: Enrolled references that lack an undamaged template of this pack; while
            there are any, the gallery is incomplete and must not answer.
    """

    place: GalleryPlace
    gallery: Gallery
    generation: str
    position: int
    unencoded: set[int] = field(default_factory=set)

    def apply(self, changes: Iterable[Change]) -> None:
        """Bring the gallery to the state that the changes' view of the database shows.

        Each reference's present state counts, not the history, so applying a
        change twice does no harm. What is new is enrolled before what is gone is
        removed: at no moment is a person missing who was there before and after.
        """
        latest = {change.reference_id: change for change in changes if change.position > self.position}
        if not latest:
            return
        enrolled = [change for change in latest.values() if change.reference is not None]
        self._enrol(enrolled)
        self.gallery.remove([c.reference_id for c in latest.values() if not c.stored])
        for change in latest.values():
            if change.stored and change.reference is None:
                self.unencoded.add(change.reference_id)
            else:
                self.unencoded.discard(change.reference_id)
        position = max(change.position for change in latest.values())
        if isinstance(self.gallery, KeepsPosition):
            self.gallery.record_position(position)
        self.position = position

    def _enrol(self, changes: list[Change]) -> None:
        if not changes:
            return
        references: list[Reference] = [c.reference for c in changes if c.reference is not None]
        data = b"".join(c.vector for c in changes if c.vector is not None)
        vectors = np.frombuffer(data, dtype="<f4").reshape(len(references), self.place.dimension)
        self.gallery.enrol(references, vectors)


def open_keeper(session: Session, place: GalleryPlace, *, backend: str, keep: int) -> Keeper:
    """Load a gallery: its newest generation and the changes since, or all of it from the database.

    A generation that is damaged, or that the change log no longer reaches back to,
    is only a copy: it is left aside and a new one is written from the database.

    Args:
        session: A consistent view of the database.
        place: Which gallery.
        backend: `exact` or `faiss`.
        keep: Generations kept on disk.
    """
    keeper = _from_generation(session, place, backend)
    if keeper is None:
        keeper = from_database(session, place, backend)
        if not keeper.unencoded and len(keeper.gallery):
            keeper.generation = save_generation(
                keeper,
                epoch=repository.epoch(session, place.name),
                keep=keep,
                cipher=generation_cipher(session, place),
            )
    return keeper


def from_database(session: Session, place: GalleryPlace, backend: str) -> Keeper:
    """Build a gallery from the stored templates."""
    position = repository.heads(session).get(place.name, 0)
    references, damaged = repository.load_references(session, place.name, place.contract_id, place.dimension)
    gallery = new_gallery(backend, place.dimension, references)
    keeper = Keeper(place, gallery, generation=f"database-{position}", position=position)
    if repository.count_portraits(session, place.name) != len(references):
        keeper.unencoded = damaged | repository.unencoded(session, place.name, place.contract_id)
    return keeper


def save_generation(keeper: Keeper, *, epoch: str, keep: int, cipher: Cipher, switch: bool = True) -> str:
    """Write the gallery as a generation, switch to it and return its name.

    The recall of a compressed gallery is measured against exact search and written down; below
    1 the generation is not switched to.

    Args:
        keeper: A complete gallery.
        epoch: The mark of the database that it is a copy of.
        keep: Earlier generations kept for rollback.
        cipher: Encrypts its files.
        switch: Whether it becomes the current one.

    Raises:
        GenerationError: It could not be written or verified; the current one stays.
    """
    directory = keeper.place.directory
    references = keeper.gallery.references()
    is_exact = isinstance(keeper.gallery, ExactGallery)
    path = write_generation(
        directory,
        references,
        contract_id=keeper.place.contract_id,
        position=keeper.position,
        gallery=keeper.place.name,
        extra={"epoch": epoch},
        recall=None if is_exact else measure_recall(keeper.gallery, references),
        cipher=cipher,
    )
    if switch:
        activate(directory, path)
        prune(directory, keep=keep)
    clean(directory)
    return path.name


def _from_generation(session: Session, place: GalleryPlace, backend: str) -> Keeper | None:
    try:
        path = current(place.directory)
        if path is None:
            return None
        references, manifest = load_generation(
            path, contract_id=place.contract_id, cipher=generation_cipher(session, place)
        )
        if manifest.extra.get("epoch") != repository.epoch(session, place.name):
            raise GenerationError(f"{path.name} was made from another database")
        keeper = Keeper(
            place,
            new_gallery(backend, place.dimension, references),
            generation=path.name,
            position=manifest.position,
        )
        replay(session, keeper)
    except GenerationError as error:
        log.warning("generation-set-aside", gallery=place.name, reason=str(error))
        return None
    return keeper


def missed_changes(session: Session, keeper: Keeper) -> list[Change]:
    """List the changes that this view shows and the gallery has not seen."""
    place = keeper.place
    return list(
        repository.changes_after(
            session,
            place.name,
            position=keeper.position,
            contract_id=place.contract_id,
            dimension=place.dimension,
        )
    )


def replay(session: Session, keeper: Keeper) -> None:
    """Apply all changes that this view shows and the gallery has not seen.

    Raises:
        GenerationError: The change log does not reach back to the gallery's position, or the
            database is behind it (another or an older database).
    """
    head = repository.heads(session).get(keeper.place.name, 0)
    if head < keeper.position:
        raise GenerationError(
            f"position {keeper.position} lies past the database's {head}: an older backup was restored"
        )
    changes = missed_changes(session, keeper)
    if len(changes) != head - keeper.position:
        raise GenerationError(f"the change log no longer reaches back to position {keeper.position}")
    keeper.apply(changes)
