"""Whether the process lives, and whether it can answer a check."""

import threading
import time
from collections.abc import Callable
from typing import Literal

import anyio
import anyio.to_thread
import structlog
from fastapi import APIRouter, FastAPI, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from service.database import Database
from service.errors import ServiceError
from service.notices.workers import backlogs_of
from service.schema import newest_revision
from service.workers import Worker

AGE_S = 1.0
"""Seconds that an answer is reused: examining writes to the disk, and anybody may ask."""

LOOK_EVERY_S = 15.0
"""Seconds between looks when nobody asks: a load balancer asks more often."""

log = structlog.get_logger(__name__)

router = APIRouter(tags=["operation"])


class Alive(BaseModel):
    """The process answers."""

    model_config = ConfigDict(extra="forbid")

    status: Literal["ok"] = Field("ok", description="Always `ok`.")


class Part(BaseModel):
    """One thing that a check needs."""

    model_config = ConfigDict(extra="forbid")

    ready: bool = Field(description="Whether it can be used now.")
    detail: str = Field(description="What was found, free of personal data.", examples=["revision 0001"])


class Ready(BaseModel):
    """Everything that a check needs."""

    model_config = ConfigDict(extra="forbid")

    ready: bool = Field(description="Whether checks can be answered now.")
    parts: dict[str, Part] = Field(
        description="`database`, `schema`, `encryption`, `pack`, `portrait_store`, `clock`, `gallery:<name>` "
        "and `webhook:<target>`. `clock` and `webhook:<target>` are always ready: no check needs them."
    )


class Readiness:
    """Examines the parts of one application, at most once per `AGE_S`, and logs what changes."""

    def __init__(self, app: FastAPI) -> None:
        """Examine nothing yet."""
        self._app = app
        self._state = app.state
        self._lock = threading.Lock()
        self._last: tuple[float, Ready] | None = None
        self._unready: dict[str, str] = {}
        self.limiter = anyio.CapacityLimiter(1)

    def report(self) -> Ready:
        """Return what was found within the last `AGE_S` seconds."""
        with self._lock:
            if self._last is None or time.monotonic() - self._last[0] >= AGE_S:
                found = self.examine()
                self._last = (time.monotonic(), found)
                self._log(found)
            return self._last[1]

    def examine(self) -> Ready:
        """Look at every part now; whoever is away is asked once, not by every part that needs them."""
        database = _try(self._database)
        parts = {
            "database": database,
            "schema": _try(self._schema, needs=database),
            "encryption": _try(self._encryption, needs=database),
            "pack": _try(self._pack),
            "portrait_store": _try(self._portrait_store),
            "clock": Part(ready=True, detail=self._state.clock.detail()),
        }
        parts |= self._galleries(database)
        parts |= self._deliveries(database)
        return Ready(ready=all(part.ready for part in parts.values()), parts=parts)

    def _log(self, found: Ready) -> None:
        unready = {name: part.detail for name, part in found.parts.items() if not part.ready}
        for name in unready.keys() - self._unready.keys():
            log.warning("part-not-ready", part=name, detail=unready[name])
        for name in self._unready.keys() - unready.keys():
            log.info("part-ready-again", part=name)
        self._unready = unready

    def _database(self) -> Part:
        database: Database = self._state.database
        database.check_writable()
        return Part(ready=True, detail=database.engine.dialect.name)

    def _schema(self) -> Part:
        revision, newest = self._state.database.revision(), newest_revision()
        if revision == newest:
            return Part(ready=True, detail=f"revision {revision}")
        return Part(
            ready=False, detail=f"revision {revision}, but {newest} is needed: run 'oneperson migrate'"
        )

    def _encryption(self) -> Part:
        count = self._state.vault.check()
        return Part(ready=True, detail=f"all {count} data keys can be opened")

    def _pack(self) -> Part:
        pack = self._state.engine.pack
        detail = f"{pack.name} {pack.manifest.version}, contract {pack.contract_id[:16]}"
        switching = getattr(self._state, "switching", None)
        waiting = "" if switching is None else switching.waiting
        return Part(ready=True, detail=f"{detail}; {waiting}" if waiting else detail)

    def _portrait_store(self) -> Part:
        self._state.portrait_store.check_writable()
        return Part(ready=True, detail="writable")

    def _galleries(self, database: Part) -> dict[str, Part]:
        current = _try(self._catch_up, needs=database)
        return {
            f"gallery:{state.gallery}": Part(
                ready=state.ready and current.ready,
                detail=(state.reason or current.detail)
                if not (state.ready and current.ready)
                else f"{state.persons} persons at position {state.position}",
            )
            for state in self._state.galleries.states()
        }

    def _deliveries(self, database: Part) -> dict[str, Part]:
        """Tell what each webhook has not delivered; a receiver that is away keeps nobody from checking."""
        if not database.ready:
            targets = getattr(self._state, "notice_targets", ())
            return {f"webhook:{target.name}": Part(ready=True, detail="not known") for target in targets}
        return {
            f"webhook:{backlog.target}": Part(
                ready=True, detail=f"{backlog.waiting} waiting, {backlog.dead} dead letters"
            )
            for backlog in backlogs_of(self._app)
        }

    def _catch_up(self) -> Part:
        self._state.galleries.catch_up()
        return Part(ready=True, detail="current")


def readiness_worker(app: FastAPI) -> Worker:
    """Return the worker that looks at the parts although nobody asks, so that the log tells what fails."""

    def turn() -> bool:
        app.state.readiness.report()
        return False

    return Worker("readiness", turn, LOOK_EVERY_S)


def _try(examine: Callable[[], Part], *, needs: Part | None = None) -> Part:
    if needs is not None and not needs.ready:
        return needs
    try:
        return examine()
    except ServiceError as error:
        return Part(ready=False, detail=error.detail)


@router.get("/healthz", summary="Liveness")
async def healthz() -> Alive:
    """Answer as long as the process lives, even while every thread is busy."""
    return Alive(status="ok")


@router.get(
    "/readyz",
    summary="Readiness",
    responses={503: {"model": Ready, "description": "Some part is not ready; `parts` says which."}},
)
async def readyz(request: Request, response: Response) -> Ready:
    """Tell whether checks can be answered: database, schema, pack, portrait store and every gallery.

    It is examined in a thread of its own, so that it is answered while every other waits for a database.
    """
    readiness: Readiness = request.app.state.readiness
    report = await anyio.to_thread.run_sync(readiness.report, limiter=readiness.limiter)
    if not report.ready:
        response.status_code = 503
        response.headers["Retry-After"] = "2"
    return report
