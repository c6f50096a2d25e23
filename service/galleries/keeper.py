"""Keeps one gallery in memory equal to the database."""

import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import structlog
from sqlalchemy.orm import Session

from index.columns import empty_references
from index.compact import Enrolled
from index.errors import GenerationError, OnePersonError
from index.gallery import ExactGallery, Gallery
from index.generation_files import Cipher
from index.manifest import GenerationManifest, Title
from index.recall import measure_recall
from index.snapshot import activate, clean, current, load_generation, open_generation, prune, write_stream
from index.types import Rate, Reference, References
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


def new_gallery(backend: str, dimension: int, references: Enrolled) -> Gallery:
    """Make a gallery of the backend that the settings name; the arrays are kept, not copied."""
    if backend == "exact" and isinstance(references, References):
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
        spoilt: Whether vectors that it keeps on disk turned out damaged; it must not answer either.
    """

    place: GalleryPlace
    gallery: Gallery
    generation: str
    position: int
    unencoded: set[int] = field(default_factory=set)
    spoilt: bool = False

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

    A generation that is damaged or of an older format, or that the change log no longer reaches back
    to, is only a copy: it is left aside and a new one is written from the database.

    Args:
        session: A consistent view of the database.
        place: Which gallery.
        backend: `exact` or `faiss`.
        keep: Generations kept on disk.
    """
    keeper = from_generation(session, place, backend)
    if keeper is None:
        try:
            if write_from_database(session, place, backend=backend, keep=keep, switch=True):
                keeper = from_generation(session, place, backend)
        except (IncompleteError, GenerationError) as error:
            log.warning("generation-not-written", gallery=place.name, reason=str(error))
    return keeper or from_database(session, place, backend)


def from_database(session: Session, place: GalleryPlace, backend: str) -> Keeper:
    """Build a gallery from the stored templates, all of it in memory."""
    position = repository.heads(session).get(place.name, 0)
    references, damaged = repository.load_references(session, place.name, place.contract_id, place.dimension)
    gallery = new_gallery(backend, place.dimension, references)
    keeper = Keeper(place, gallery, generation=f"database-{position}", position=position)
    if repository.count_portraits(session, place.name) != len(references):
        keeper.unencoded = damaged | repository.unencoded(session, place.name, place.contract_id)
    return keeper


@dataclass(frozen=True, slots=True)
class Frozen:
    """A gallery as one view of the database shows it, for work that goes through all of it.

    Attributes:
        enrolled: Everything enrolled; the vectors of many lie on disk, in the current generation or in a
            file that has no name any more.
        position: Last change contained.
    """

    enrolled: Enrolled
    position: int


def freeze(session: Session, place: GalleryPlace, *, aside: Path) -> Frozen:
    """Open what is enrolled: the current generation if nothing has changed since, or one made for this.

    Of that one nothing stays on disk: it is removed as soon as it is open, and here, before another
    one is written, where the process died before that.

    Args:
        session: A consistent view of the database.
        place: Which gallery.
        aside: A folder of this caller's own for the generation that is made, if one is.

    Raises:
        IncompleteError: Portraits lack an undamaged template of this pack.
        GenerationError: It could not be written or read back.
    """
    shutil.rmtree(aside, ignore_errors=True)
    position, cipher = repository.heads(session).get(place.name, 0), generation_cipher(session, place)
    try:
        path = current(place.directory)
        if path is not None:
            enrolled, manifest = open_generation(path, contract_id=place.contract_id, cipher=cipher)
            here = (position, repository.epoch(session, place.name))
            if (manifest.position, manifest.extra.get("epoch")) == here:
                return Frozen(enrolled, position)
    except GenerationError as error:
        log.warning("generation-set-aside", gallery=place.name, reason=str(error))
    try:
        name = write_from_database(
            session, replace(place, directory=aside), backend="exact", keep=0, switch=False
        )
        if name is None:
            return Frozen(empty_references(place.dimension), position)
        enrolled, _ = open_generation(aside / name, contract_id=place.contract_id, cipher=cipher)
        return Frozen(enrolled, position)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def write_from_database(
    session: Session, place: GalleryPlace, *, backend: str, keep: int, switch: bool
) -> str | None:
    """Write the stored templates as a generation, and return its name, or None where there are none.

    No more than one part of them is in memory at a time. The recall of a compressed gallery is
    measured against exact search and written down; below 1 the generation is not switched to.

    Args:
        session: A consistent view of the database.
        place: Which gallery.
        backend: `exact` or `faiss`.
        keep: Earlier generations kept for rollback.
        switch: Whether it becomes the current one.

    Raises:
        IncompleteError: Portraits lack an undamaged template of this pack.
        GenerationError: It could not be written or verified; the current one stays.
    """
    total = repository.count_portraits(session, place.name)
    if not total:
        return None
    missing = total - repository.count_templates(session, place.name, place.contract_id)
    if missing:
        raise IncompleteError(place.name, missing)
    path = write_stream(
        place.directory,
        _sound_parts(session, place),
        Title(
            gallery=place.name,
            contract_id=place.contract_id,
            position=repository.heads(session).get(place.name, 0),
            extra={"epoch": repository.epoch(session, place.name)},
            created_at=datetime.now(UTC),
        ),
        references=total,
        dimension=place.dimension,
        cipher=generation_cipher(session, place),
        recall=lambda enrolled: _recall(backend, place, enrolled),
    )
    if switch:
        activate(place.directory, path)
        prune(place.directory, keep=keep)
    clean(place.directory)
    return path.name


def _sound_parts(session: Session, place: GalleryPlace) -> Iterator[References]:
    """Read the stored templates part by part.

    Raises:
        IncompleteError: One of them is damaged.
    """
    parts = repository.stream_references(session, place.name, place.contract_id, place.dimension)
    for references, damaged in parts:
        if damaged:
            raise IncompleteError(place.name, len(damaged))
        yield references


def _recall(backend: str, place: GalleryPlace, enrolled: Enrolled) -> Rate | None:
    """Measure what a compressed gallery finds of what it holds; an exact one finds everything."""
    if backend == "exact":
        return None
    return measure_recall(new_gallery(backend, place.dimension, enrolled), enrolled)


def from_generation(session: Session, place: GalleryPlace, backend: str) -> Keeper | None:
    """Load a gallery's current generation and the changes since, or None where it cannot be used."""
    try:
        path = current(place.directory)
        if path is None:
            return None
        enrolled, manifest = _read(path, place, backend, generation_cipher(session, place))
        if manifest.extra.get("epoch") != repository.epoch(session, place.name):
            raise GenerationError(f"{path.name} was made from another database")
        keeper = Keeper(
            place,
            new_gallery(backend, place.dimension, enrolled),
            generation=path.name,
            position=manifest.position,
        )
        replay(session, keeper)
    except GenerationError as error:
        log.warning("generation-set-aside", gallery=place.name, reason=str(error))
        return None
    return keeper


def _read(
    path: Path, place: GalleryPlace, backend: str, cipher: Cipher
) -> tuple[Enrolled, GenerationManifest]:
    """Read of a generation what a backend keeps in memory.

    Raises:
        GenerationError: It is damaged or cannot be used here.
    """
    if backend == "exact":
        return load_generation(path, contract_id=place.contract_id, cipher=cipher)
    return open_generation(path, contract_id=place.contract_id, cipher=cipher)


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
