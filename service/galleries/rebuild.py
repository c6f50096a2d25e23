"""Re-encodes what a pack has not encoded yet, and writes fresh generations."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from index.encoder import align
from index.errors import OnePersonError
from index.extraction import Extractor
from index.pack import Pack
from index.types import Points, Vectors
from service.audit.service import AuditKind, record
from service.auth.service import SYSTEM
from service.database import Database
from service.errors import StorageUnavailableError
from service.galleries import repository
from service.galleries.backends import backend_of
from service.galleries.keeper import gallery_place
from service.persons.enrolment import FLAGGED, REGISTERED
from service.portrait_store import PortraitStore
from service.settings import Settings
from service.tables import Portrait, Template

BATCH = 256
"""Portraits encoded between two transactions: what an interruption may cost."""

Advance = Callable[[int], None]
"""Told how many more portraits are done."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A portrait that could not be encoded, and why."""

    person_id: str
    reference_id: int
    reason: str


@dataclass(slots=True)
class Encoded:
    """What re-encoding did.

    Attributes:
        done: Portraits encoded now.
        by_old_landmarks: Of them, those in which this pack's detector found no single face, so that
            the points found at enrolment were used.
        failures: Portraits without a template; the galleries stay incomplete while there are any.
    """

    done: int = 0
    by_old_landmarks: int = 0
    failures: list[Failure] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Task:
    person_id: str
    reference_id: int
    location: str
    landmarks: Points


def count_missing(database: Database, contract_id: str) -> int:
    """Count the enrolled portraits that a pack has not encoded yet."""
    with database.read() as session:
        return sum(len(repository.unencoded(session, name, contract_id)) for name in (FLAGGED, REGISTERED))


def encode_missing(
    database: Database, store: PortraitStore, pack: Pack, *, threads: int, advance: Advance
) -> Encoded:
    """Encode every enrolled portrait that the pack has not encoded yet, or whose template is damaged.

    Committed batch by batch: after an interruption the next call goes on where this one stopped.

    Args:
        database: The truth.
        store: Where the portraits are.
        pack: Whose templates are wanted.
        threads: Portraits encoded at once.
        advance: Told after every batch.
    """
    encoded = Encoded()
    extractor = Extractor(pack)
    with database.write() as session:
        repository.discard_damaged(session, pack.contract_id, pack.dimension)
    with ThreadPoolExecutor(threads, thread_name_prefix="rebuild") as pool:
        for batch in _batches(database, pack.contract_id):
            results = list(pool.map(lambda task: _encode(extractor, store, task), batch))
            _store(database, pack, results, encoded)
            advance(len(batch))
    return encoded


def write_generations(
    database: Database, settings: Settings, pack: Pack, *, activate: bool
) -> dict[str, str]:
    """Build every gallery from the stored templates and write it as a generation.

    Args:
        database: The truth.
        settings: Folders and numbers of generations.
        pack: Whose templates the galleries hold.
        activate: Whether the new generations become the current ones.

    Returns:
        Name of each gallery's new generation; galleries without references are left out.

    Raises:
        GenerationError: A generation could not be verified; the current one stays.
        IncompleteError: Portraits lack a template of this pack.
    """
    written = {}
    backend = backend_of(settings)
    for name in (FLAGGED, REGISTERED):
        place = gallery_place(settings, name, contract_id=pack.contract_id, dimension=pack.dimension)
        with database.read() as session:
            generation = backend.write(session, place, switch=activate)
        if generation is not None:
            written[name] = generation
    with database.write() as session:
        record(
            session,
            AuditKind.GALLERY_REBUILT,
            actor=SYSTEM,
            contract_id=pack.contract_id,
            generations=written,
        )
    return written


def _batches(database: Database, contract_id: str) -> Iterator[list[_Task]]:
    after = 0
    while True:
        with database.read() as session:
            rows = repository.portraits_without_template(session, contract_id, after=after, limit=BATCH)
            tasks = [
                _Task(row.person_id, row.reference_id, row.location, np.array(row.landmarks, np.float32))
                for row in rows
            ]
        if not tasks:
            return
        yield tasks
        after = tasks[-1].reference_id


@dataclass(frozen=True, slots=True)
class _Result:
    task: _Task
    vector: Vectors | None = None
    by_old_landmarks: bool = False
    reason: str = ""


def _encode(extractor: Extractor, store: PortraitStore, task: _Task) -> _Result:
    try:
        data = store.get(task.location)
        extraction = extractor.extract(data)
        if extraction.template is not None:
            return _Result(task, extraction.template)
        crop = align(extraction.portrait.pixels, task.landmarks)
        return _Result(task, extractor.pack.encoder.encode([crop])[0], by_old_landmarks=True)
    except (StorageUnavailableError, OnePersonError) as error:
        return _Result(task, reason=str(error))


def _store(database: Database, pack: Pack, results: Sequence[_Result], encoded: Encoded) -> None:
    with database.write() as session:
        present = _still_stored(session, [result.task.reference_id for result in results])
        for result in results:
            if result.task.reference_id not in present:
                continue
            if result.vector is None:
                task = result.task
                encoded.failures.append(Failure(task.person_id, task.reference_id, result.reason))
                continue
            vector = result.vector.astype("<f4").tobytes()
            session.merge(
                Template(reference_id=result.task.reference_id, contract_id=pack.contract_id, vector=vector)
            )
            encoded.done += 1
            encoded.by_old_landmarks += result.by_old_landmarks


def _still_stored(session: Session, reference_ids: Sequence[int]) -> set[int]:
    """Return those that were not erased while they were encoded, and keep them from being."""
    query = select(Portrait.reference_id).where(Portrait.reference_id.in_(reference_ids)).with_for_update()
    return set(session.scalars(query))
