"""Makes damaged templates anew from their portraits, so that a spoilt row does not stop checks for long."""

import time

import structlog
from fastapi import FastAPI

from service.audit.service import AuditKind, record
from service.auth.service import SYSTEM
from service.database import Database
from service.galleries import repository
from service.galleries.rebuild import Encoded, encode_missing
from service.galleries.service import Galleries
from service.workers import Worker

EVERY_S = 30.0
"""Seconds between looks; a look at galleries that are complete costs nothing."""

MOST = 256
"""Templates made anew unasked. More are no accident but a lost disk: the operator rebuilds."""

AGAIN_S = 600.0
"""Seconds between two attempts: each reads all templates to find the damaged ones."""

log = structlog.get_logger(__name__)


class Mending:
    """Mends the galleries of one application when a few of their templates are damaged."""

    def __init__(self, app: FastAPI) -> None:
        """Mend nothing yet."""
        self._app = app
        self._not_before = time.monotonic() + EVERY_S

    @property
    def worker(self) -> Worker:
        """What runs beside the requests."""
        return Worker("mending", self.turn, EVERY_S)

    def turn(self) -> bool:
        """Mend what is damaged; templates that a pack has never made are left to the operator."""
        galleries: Galleries = self._app.state.galleries
        damaged = galleries.damaged()
        if not damaged or time.monotonic() < self._not_before:
            return False
        self._not_before = time.monotonic() + AGAIN_S
        if len(damaged) <= MOST and not self._lacks_some():
            self._app.state.portrait_store.require_present()
            self._mend()
            galleries.catch_up()
        return False

    def _lacks_some(self) -> bool:
        state = self._app.state
        database: Database = state.database
        with database.read() as session:
            return any(
                repository.any_unencoded(session, gallery.gallery, state.engine.pack.contract_id)
                for gallery in state.galleries.states()
            )

    def _mend(self) -> None:
        state = self._app.state
        encoded: Encoded = encode_missing(
            state.database, state.portrait_store, state.engine.pack, threads=1, advance=lambda _count: None
        )
        result = "failed" if encoded.failures else "done"
        log.warning("templates-mended", result=result, done=encoded.done, failed=len(encoded.failures))
        with state.database.write() as session:
            record(
                session,
                AuditKind.GALLERY_REBUILT,
                actor=SYSTEM,
                result=result,
                contract_id=state.engine.pack.contract_id,
                mended=encoded.done,
                failed=len(encoded.failures),
            )
