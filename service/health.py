"""Whether the process lives, and whether it can answer a check."""

import threading
import time
from collections.abc import Callable
from typing import Any, Literal

from fastapi import APIRouter, FastAPI, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from service.database import Database
from service.errors import ServiceError
from service.notices.workers import backlogs_of
from service.schema import newest_revision

AGE_S = 1.0
"""Seconds that an answer is reused: examining writes to the disk, and anybody may ask."""

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
        description="`database`, `schema`, `encryption`, `pack`, `portrait_store`, `gallery:<name>` and "
        "`webhook:<target>`, of which the last is always ready."
    )


class Readiness:
    """Examines the parts of one application, at most once per `AGE_S`."""

    def __init__(self, app: FastAPI) -> None:
        """Examine nothing yet."""
        self._app = app
        self._state = app.state
        self._lock = threading.Lock()
        self._last: tuple[float, Ready] | None = None

    def report(self) -> Ready:
        """Return what was found within the last `AGE_S` seconds."""
        with self._lock:
            if self._last is None or time.monotonic() - self._last[0] >= AGE_S:
                self._last = (time.monotonic(), self.examine())
            return self._last[1]

    def examine(self) -> Ready:
        """Look at every part now."""
        parts = {
            "database": _try(self._database),
            "schema": _try(self._schema),
            "encryption": _try(self._encryption),
            "pack": _try(self._pack),
            "portrait_store": _try(self._portrait_store),
        } | self._galleries()
        parts |= self._deliveries()
        return Ready(ready=all(part.ready for part in parts.values()), parts=parts)

    def _database(self) -> Part:
        database: Database = self._state.database
        database.revision()
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
        return Part(
            ready=True, detail=f"{pack.name} {pack.manifest.version}, contract {pack.contract_id[:16]}"
        )

    def _portrait_store(self) -> Part:
        self._state.portrait_store.check_writable()
        return Part(ready=True, detail="writable")

    def _galleries(self) -> dict[str, Part]:
        current = _try(self._catch_up)
        return {
            f"gallery:{state.gallery}": Part(
                ready=state.ready and current.ready,
                detail=(state.reason or current.detail)
                if not (state.ready and current.ready)
                else f"{state.persons} persons at position {state.position}",
            )
            for state in self._state.galleries.states()
        }

    def _deliveries(self) -> dict[str, Part]:
        """Tell what each webhook has not delivered; a receiver that is away keeps nobody from checking."""
        return {
            f"webhook:{backlog.target}": Part(
                ready=True, detail=f"{backlog.waiting} waiting, {backlog.dead} dead letters"
            )
            for backlog in backlogs_of(self._app)
        }

    def _catch_up(self) -> Part:
        self._state.galleries.catch_up()
        return Part(ready=True, detail="current")


def _try(examine: Callable[[], Part]) -> Part:
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
def readyz(request: Request, response: Response) -> Ready:
    """Tell whether checks can be answered: database, schema, pack, portrait store and every gallery."""
    readiness: Any = request.app.state.readiness
    report: Ready = readiness.report()
    if not report.ready:
        response.status_code = 503
        response.headers["Retry-After"] = "2"
    return report
