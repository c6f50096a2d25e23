"""Encodes at once the few portraits that another process enrolled with another pack.

While services go over to a new pack one after the other, each enrols with the pack that it has. What lacks
a template of ours is encoded here and put into the change log, so that every process with our pack has it at
its next search. So no service has to wait for another, and none refuses a check.
"""

import threading
import time
from collections.abc import Collection

import structlog
from sqlalchemy import select

from index.extraction import Extractor
from service.database import Database
from service.encryption.templates import sealed_template
from service.encryption.vault import vault_of
from service.galleries import repository
from service.galleries.rebuild import Result, encode, task_of
from service.galleries.repository import ENROL, append_changes
from service.galleries.switches import was_ever_switched
from service.portrait_store import PortraitStore
from service.tables import Person, Portrait, Template

MOST = 64
"""Portraits encoded before a search, about a second's work; more are a rebuild's."""

AGAIN_S = 30.0
"""Seconds until a portrait that could not be encoded is tried again."""

log = structlog.get_logger(__name__)


class Completing:
    """Encodes what a gallery lacks, with one pack."""

    def __init__(self, database: Database, store: PortraitStore, extractor: Extractor) -> None:
        """Keep the collaborators."""
        self._database = database
        self._store = store
        self._extractor = extractor
        self._lock = threading.Lock()
        self._failed: dict[int, float] = {}

    def complete(self, gallery: str, reference_ids: Collection[int]) -> bool:
        """Encode portraits that only other packs have encoded; tell whether anything was stored.

        Args:
            gallery: Which gallery lacks them.
            reference_ids: What it lacks; damaged and lost templates among them are left alone.
        """
        if not 0 < len(reference_ids) <= MOST:
            return False
        with self._lock:
            due = [one for one in reference_ids if time.monotonic() >= self._failed.get(one, 0.0)]
            done = [result for result in map(self._encoded, self._tasks(due)) if result is not None]
            return bool(done) and self._store_all(gallery, done)

    def _tasks(self, due: Collection[int]) -> list[repository.Unencoded]:
        if not due:
            return []
        with self._database.read() as session:
            if not was_ever_switched(session):
                return []  # Another pack in the settings alone is for the operator to rebuild.
            return repository.unencoded_among(session, due, self._extractor.pack.contract_id)

    def _encoded(self, row: repository.Unencoded) -> Result | None:
        result = encode(self._extractor, self._store, task_of(row))
        if result.vector is not None:
            return result
        self._failed[row.reference_id] = time.monotonic() + AGAIN_S
        log.warning("portrait-not-encoded", reference_id=row.reference_id, reason=result.reason)
        return None

    def _store_all(self, gallery: str, results: list[Result]) -> bool:
        contract_id = self._extractor.pack.contract_id
        found = {result.task.reference_id: result.vector for result in results}
        with self._database.write() as session:
            query = (
                select(Portrait.reference_id, Portrait.person_key)
                .join(Person, Person.key == Portrait.person_key)
                .where(Portrait.reference_id.in_(found), Person.gallery == gallery)
                .with_for_update(of=Portrait)
            )
            changes = []
            for reference_id, person_key in session.execute(query).all():
                vector = found[reference_id]
                if vector is None or session.get(Template, (reference_id, contract_id)) is not None:
                    continue  # Another process was faster.
                sealed = sealed_template(
                    vault_of(session), reference_id, contract_id, vector.astype("<f4").tobytes()
                )
                session.add(Template(reference_id=reference_id, contract_id=contract_id, vector=sealed))
                changes.append((ENROL, reference_id, person_key))
            session.flush()
            if changes:
                append_changes(session, gallery, changes)
        log.info("portraits-encoded-for-this-pack", gallery=gallery, portraits=len(changes))
        return True
