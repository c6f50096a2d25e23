"""Templates of erased persons leave the collections on a Milvus server, too.

What is searched is brought up to date by whoever searches it. Nobody does so for the collections that are
kept to go back to, and for those of packs that are not in force.
"""

from collections.abc import Iterator, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog
from sqlalchemy.orm import Session

from index.pack import read_manifest
from service.database import Database
from service.engine import find_pack
from service.galleries.backends import backend_of
from service.galleries.switches import in_force
from service.persons.enrolment import FLAGGED, REGISTERED
from service.retention.generations import present_references
from service.settings import Settings

if TYPE_CHECKING:
    from service.galleries.milvus_generations import MilvusGenerations

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class StaleCollection:
    """A collection that holds what the database no longer has.

    Attributes:
        gallery: Its gallery.
        name: On the server.
        gone: The references.
    """

    gallery: str
    name: str
    gone: Set[int]

    @property
    def references(self) -> int:
        """How many they are."""
        return len(self.gone)


def stale_collections(session: Session, settings: Settings) -> Iterator[StaleCollection]:
    """Yield the collections of any pack that hold templates which are erased; none where Milvus is not used.

    A collection that is being served is left out while it has still to be brought up to date: whoever serves
    it does so within seconds.

    Raises:
        BackendError: The server failed.
    """
    generations = _generations(settings)
    if generations is None:
        return
    contract_id = _contract_in_force(session, settings)
    for gallery in (FLAGGED, REGISTERED):
        present: Set[int] | None = None
        for name in generations.settled(session, gallery, contract_id=contract_id):
            held = generations.held(name)
            if present is None:
                present = present_references(session, gallery)
            if gone := held - present:
                yield StaleCollection(gallery, name, gone)


def purge_collections(database: Database, settings: Settings) -> int:
    """Delete those templates and have the server write its files anew; return how many collections changed.

    Raises:
        BackendError: The server failed; the rest is deleted the next time.
    """
    generations = _generations(settings)
    if generations is None:
        return 0
    with database.read() as session:
        stale = list(stale_collections(session, settings))
        contract_id = _contract_in_force(session, settings)
        served = [
            generations.served(session, gallery, contract_id=contract_id) for gallery in (FLAGGED, REGISTERED)
        ]
    for one in stale:
        generations.erase(one.name, one.gone)
        log.info("collection-purged", gallery=one.gallery, collection=one.name, erased=one.references)
    for name in served:  # What was removed from it in passing is still in the server's files.
        if name is not None:
            generations.compact(name)
    return len(stale)


def _contract_in_force(session: Session, settings: Settings) -> str:
    return read_manifest(find_pack(in_force(session, settings).settings)).contract_id


def _generations(settings: Settings) -> "MilvusGenerations | None":
    if settings.gallery_backend != "milvus":
        return None
    backend = backend_of(settings)
    from service.galleries.milvus_generations import MilvusGenerations  # noqa: PLC0415 - an extra

    return backend if isinstance(backend, MilvusGenerations) else None
