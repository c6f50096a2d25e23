"""Templates of erased persons leave the generations on disk, and change logs that nobody needs are cut.

A generation is a copy of a moment. What was erased since is taken out of memory at once, but its bytes stay
in the generation's files, sealed, until the generation goes. So generations that hold what the database no
longer has are deleted, the one in use after a fresh one has taken its place.
"""

from collections.abc import Iterator, Set
from dataclasses import dataclass
from pathlib import Path

import structlog
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from index.errors import OnePersonError
from index.generation_files import read_array
from index.manifest import GenerationManifest, check_seal, read_manifest
from index.pack_manifest import PackManifest
from index.pack_manifest import read_manifest as read_pack
from index.snapshot import current, discard, generations
from service.database import Database
from service.encryption.generations import GenerationCipher
from service.encryption.vault import vault_of
from service.engine import find_pack
from service.errors import ServiceError, SettingsError
from service.galleries import repository
from service.galleries.backends import backend_of
from service.galleries.keeper import GalleryPlace, gallery_place
from service.galleries.switches import settings_in_force
from service.persons.enrolment import FLAGGED, REGISTERED
from service.settings import Settings
from service.tables import GalleryChange, Person, Portrait

CHANGES_KEPT = 10_000
"""Changes kept behind the newest: another process that is further behind loads its gallery anew."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class StaleGeneration:
    """A generation that holds what the database no longer has.

    Attributes:
        gallery: Its gallery.
        path: Its folder.
        references: How many such references; 0 where it cannot be read, so that nobody knows.
    """

    gallery: str
    path: Path
    references: int


def stale_generations(session: Session, settings: Settings) -> Iterator[StaleGeneration]:
    """Yield the generations of any pack that hold templates which are erased or replaced."""
    for name in (FLAGGED, REGISTERED):
        present: Set[int] | None = None
        for directory in _folders(settings, name):
            for path in generations(directory):
                if present is None:
                    present = present_references(session, name)
                gone = _gone(session, path, name, present)
                if gone is None or gone:
                    yield StaleGeneration(name, path, gone or 0)


def purge(database: Database, settings: Settings) -> int:
    """Delete those generations, after fresh ones have taken the place of those in use; return how many.

    Where no fresh one can be written the stale one goes nevertheless: a gallery without one is loaded from
    the stored templates.
    """
    with database.read() as session:
        stale = list(stale_generations(session, settings))
    if not stale:
        return 0
    _replace_current(database, settings, {one.path for one in stale})
    condemned = {one.path for one in stale}
    for directory in {path.parent for path in condemned}:
        discard(directory, unwanted=lambda path: path in condemned)
    for one in stale:
        log.info("generation-deleted", gallery=one.gallery, generation=one.path.name, erased=one.references)
    return len(condemned)


def cut_changes(session: Session, settings: Settings) -> int:
    """Delete the changes that every generation here has passed, but the newest ones; return how many."""
    cut = 0
    for name, head in repository.heads(session).items():
        floor = head - CHANGES_KEPT
        for directory in _folders(settings, name):
            for path in generations(directory):
                manifest = _manifest(path)
                if manifest is not None:
                    floor = min(floor, manifest.position)
        passed = (GalleryChange.gallery == name, GalleryChange.position <= floor)
        count = session.scalar(select(func.count()).select_from(GalleryChange).where(*passed)) or 0
        if count:
            session.execute(delete(GalleryChange).where(*passed))
            cut += count
    return cut


def _folders(settings: Settings, name: str) -> list[Path]:
    """Return the folders of generations, one for each pack that ever made this gallery."""
    folder = settings.galleries_dir / name
    return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def present_references(session: Session, name: str) -> Set[int]:
    """Return the references that belong into a gallery according to the database."""
    query = select(Portrait.reference_id).join(Person, Person.key == Portrait.person_key)
    return set(session.scalars(query.where(Person.gallery == name)))


def _gone(session: Session, path: Path, name: str, present: Set[int]) -> int | None:
    """Count the references that the database no longer has; None where the generation cannot be read."""
    try:
        manifest = read_manifest(path)
        cipher = None
        if manifest.sealed:
            cipher = GenerationCipher(vault_of(session), f"{name}:{manifest.contract_id}")
            check_seal(path, cipher)
        record = manifest.files["reference_ids.npy"]
        ids = read_array(path / "reference_ids.npy", record, cipher=cipher, mark=manifest.mark)
    except FileNotFoundError:
        return 0  # Another process has deleted it meanwhile.
    except (OnePersonError, KeyError, OSError):
        return None if path.is_dir() else 0
    return sum(int(reference) not in present for reference in ids)


def _manifest(path: Path) -> GenerationManifest | None:
    try:
        return read_manifest(path)
    except OnePersonError:
        return None


def _replace_current(database: Database, settings: Settings, stale: Set[Path]) -> None:
    """Write fresh generations where the current one of the pack in use is stale."""
    if settings.gallery_backend == "milvus":
        return
    try:
        pack = read_pack(find_pack(settings_in_force(database, settings)))
    except (SettingsError, OnePersonError) as error:
        log.warning("no fresh generation", reason=type(error).__name__)
        return
    for name in (FLAGGED, REGISTERED):
        place = _place(settings, name, pack)
        try:
            if current(place.directory) in stale:
                with database.read() as session:
                    backend_of(settings).write(session, place, switch=True)
        except (ServiceError, OnePersonError, OSError) as error:
            log.warning("no fresh generation", gallery=name, reason=type(error).__name__)


def _place(settings: Settings, name: str, pack: PackManifest) -> GalleryPlace:
    return gallery_place(settings, name, contract_id=pack.contract_id, dimension=pack.encoder.dimension)
