"""Re-encodes what a pack has not encoded yet, and writes fresh generations."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

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
from service.encryption.templates import sealed_template
from service.encryption.vault import vault_of
from service.errors import StorageUnavailableError
from service.galleries import repository
from service.galleries.backends import backend_of
from service.galleries.keeper import gallery_place
from service.persons.enrolment import FLAGGED, REGISTERED
from service.portrait_store import PortraitStore, owner_of_person
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
class Task:
    """A portrait to be encoded.

    Attributes:
        person_id: Whose it is.
        reference_id: Which one.
        location: Where the portrait store has it.
        landmarks: The points found at enrolment.
    """

    person_id: str
    reference_id: int
    location: str
    landmarks: Points


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a task.

    Attributes:
        task: The portrait.
        vector: Shape (d,), or None where it could not be encoded.
        by_old_landmarks: Whether the points found at enrolment had to do.
        reason: Why it could not be encoded, empty otherwise.
    """

    task: Task
    vector: Vectors | None = None
    by_old_landmarks: bool = False
    reason: str = ""


class EngineError(OnePersonError):
    """The machines that encode failed or cannot be reached."""


class Engine(Protocol):
    """Where portraits are encoded.

    Attributes:
        window: Portraits handed over at once.
    """

    window: int

    def __call__(self, tasks: Sequence[Task]) -> Iterator[Sequence[Result]]:
        """Encode portraits; results come in any order, in parts to be committed one by one.

        Raises:
            EngineError: It failed.
        """


class LocalEngine:
    """Encodes in threads of this process."""

    def __init__(self, pack: Pack, store: PortraitStore, pool: ThreadPoolExecutor) -> None:
        """Use these threads."""
        self.window = BATCH
        self._extractor = Extractor(pack)
        self._store = store
        self._pool = pool

    def __call__(self, tasks: Sequence[Task]) -> Iterator[Sequence[Result]]:
        """Encode them together; see `Engine`."""
        yield list(self._pool.map(lambda task: encode(self._extractor, self._store, task), tasks))


def count_missing(database: Database, contract_id: str) -> int:
    """Count the enrolled portraits that a pack has not encoded yet."""
    with database.read() as session:
        return sum(len(repository.unencoded(session, name, contract_id)) for name in (FLAGGED, REGISTERED))


def encode_missing(
    database: Database, store: PortraitStore, pack: Pack, *, threads: int, advance: Advance
) -> Encoded:
    """Encode in this process what `encode_with` encodes anywhere.

    Args:
        database: The truth.
        store: Where the portraits are.
        pack: Whose templates are wanted.
        threads: Portraits encoded at once.
        advance: Told after every batch.
    """
    with ThreadPoolExecutor(threads, thread_name_prefix="rebuild") as pool:
        return encode_with(LocalEngine(pack, store, pool), database, pack=pack, advance=advance)


def encode_with(engine: Engine, database: Database, *, pack: Pack, advance: Advance) -> Encoded:
    """Encode every enrolled portrait that the pack has not encoded yet, or whose template is damaged.

    Committed part by part: after an interruption the next call goes on where this one stopped,
    whatever the engine.

    Args:
        engine: Where portraits are encoded.
        database: The truth.
        pack: Whose templates are wanted.
        advance: Told after every part.

    Raises:
        EngineError: The engine failed; what it had answered before is stored.
    """
    _discard_damaged(database, pack)
    return encode_unencoded(engine, database, pack=pack, advance=advance)


def encode_unencoded(engine: Engine, database: Database, *, pack: Pack, advance: Advance) -> Encoded:
    """Encode every enrolled portrait that the pack has not encoded yet; see `encode_with`."""
    encoded = Encoded()
    for tasks in _windows(database, pack.contract_id, engine.window):
        for results in engine(tasks):
            _store(database, pack, results, encoded)
            advance(len(results))
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


def _discard_damaged(database: Database, pack: Pack) -> None:
    """Delete damaged templates; all are looked at in a view, so that nobody who writes has to wait."""
    with database.read() as session:
        damaged = repository.damaged_templates(session, pack.contract_id, pack.dimension)
    if damaged:
        with database.write() as session:
            repository.discard_damaged(session, damaged, pack.contract_id, pack.dimension)


def _windows(database: Database, contract_id: str, size: int) -> Iterator[list[Task]]:
    after = 0
    while True:
        with database.read() as session:
            rows = repository.portraits_without_template(session, contract_id, after=after, limit=size)
            tasks = list(map(task_of, rows))
        if not tasks:
            return
        yield tasks
        after = tasks[-1].reference_id


def task_of(row: repository.Unencoded) -> Task:
    """Make a task of what the database tells of a portrait."""
    return Task(row.person_id, row.reference_id, row.location, np.array(row.landmarks, np.float32))


def encode(extractor: Extractor, store: PortraitStore, task: Task) -> Result:
    """Encode one portrait; whatever is wrong with it becomes the result's reason."""
    try:
        data = store.get(task.location, owner=owner_of_person(task.person_id))
        extraction = extractor.extract(data)
        if extraction.template is not None:
            return Result(task, extraction.template)
        crop = align(extraction.portrait.pixels, task.landmarks)
        return Result(task, extractor.pack.encoder.encode([crop])[0], by_old_landmarks=True)
    except (StorageUnavailableError, OnePersonError) as error:
        return Result(task, reason=str(error))


def _store(database: Database, pack: Pack, results: Sequence[Result], encoded: Encoded) -> None:
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
            reference_id = result.task.reference_id
            sealed = sealed_template(vault_of(session), reference_id, pack.contract_id, vector)
            session.merge(Template(reference_id=reference_id, contract_id=pack.contract_id, vector=sealed))
            encoded.done += 1
            encoded.by_old_landmarks += result.by_old_landmarks


def _still_stored(session: Session, reference_ids: Sequence[int]) -> set[int]:
    """Return those that were not erased while they were encoded, and keep them from being."""
    query = select(Portrait.reference_id).where(Portrait.reference_id.in_(reference_ids)).with_for_update()
    return set(session.scalars(query))
