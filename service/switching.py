"""Takes over another pack, or fresh generations, while checks go on.

What a check works with is one object, `Line`: the engine that encodes and the galleries that hold templates
of the same pack. A worker looks whether a switch was announced, loads the new line beside the old one, and
puts it in its place in one step. A check keeps the line that it began with, so it never compares templates
of different packs, and none waits or is refused.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import structlog
from fastapi import FastAPI

from index.errors import OnePersonError, PackError
from index.pack import Pack, load_pack
from service.database import Database
from service.engine import Engine, find_pack, open_engine
from service.errors import GalleryNotReadyError, ServiceError, SettingsError
from service.galleries.completing import Completing
from service.galleries.rebuild import LocalEngine, encode_unencoded
from service.galleries.service import Galleries
from service.galleries.switches import InForce, in_force
from service.portrait_store import PortraitStore
from service.settings import Settings
from service.workers import Worker

LOOK_EVERY_S = 1.0
"""Seconds between looks: one row is read."""

AGAIN_S = 30.0
"""Seconds until a switch that could not be taken over is tried again: an operator is putting a pack there."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Line:
    """What checks work with; its engine and galleries have the same pack.

    Attributes:
        engine: Encodes.
        galleries: Hold templates of the engine's pack.
        switch: Number of the switch that it was loaded for.
    """

    engine: Engine
    galleries: Galleries
    switch: int


def open_line(app: FastAPI) -> Line:
    """Load the pack in force and work with it from now on; its galleries are still to be opened.

    Raises:
        SettingsError: There is no such pack.
        PackError: It is damaged or does not run.
        DatabaseUnavailableError: The database is away.
    """
    state = app.state
    wanted = _wanted(state.database, state.settings)
    engine = open_engine(wanted.settings)
    line = Line(engine, _galleries(app, engine), wanted.switch)
    take_over(app, line)
    return line


def take_over(app: FastAPI, line: Line) -> None:
    """Let new requests work with a line; those that run go on with the one that they have."""
    app.state.line = line
    app.state.engine, app.state.galleries = line.engine, line.galleries


class Switching:
    """Takes over what was announced."""

    def __init__(self, app: FastAPI) -> None:
        """Watch for an application that is open."""
        self._app = app
        self._not_before = 0.0
        self.waiting = ""

    @property
    def worker(self) -> Worker:
        """What runs beside the requests."""
        return Worker("switching", self.turn, LOOK_EVERY_S)

    def turn(self) -> bool:
        """Take over a switch that was announced since; returns that nothing more is due.

        What cannot be taken over is tried again; the old pack goes on meanwhile.
        """
        state = self._app.state
        line: Line = state.line
        wanted = _wanted(state.database, state.settings)
        if wanted.switch == line.switch:
            self.waiting = ""
            return False
        if time.monotonic() < self._not_before:
            return False
        log.info("switch-begins", switch=wanted.switch, pack=wanted.settings.pack)
        try:
            fresh = self._loaded(line, wanted)
        except (OnePersonError, ServiceError, SettingsError, OSError) as error:
            self.waiting = f"switch {wanted.switch} waits: {error}"
            self._not_before = time.monotonic() + AGAIN_S
            log.warning("switch-waits", switch=wanted.switch, reason=str(error))
            return False
        take_over(self._app, fresh)
        self.waiting = ""
        log.info("switch-done", switch=fresh.switch, pack=fresh.engine.pack.name)
        return False

    def _loaded(self, line: Line, wanted: InForce) -> Line:
        """Load what was announced beside what is in use, complete, current and calibrated."""
        engine = self._engine(line.engine, wanted)
        state = self._app.state
        _encode_the_rest(state.database, state.portrait_store, engine.pack)
        galleries = _galleries(self._app, engine)
        galleries.open()
        galleries.catch_up()
        galleries.calibrate()
        for gallery in galleries.states():
            if not gallery.ready:
                raise GalleryNotReadyError(f"The gallery '{gallery.gallery}' is not ready: {gallery.reason}.")
        return Line(engine, galleries, wanted.switch)

    def _engine(self, engine: Engine, wanted: InForce) -> Engine:
        if wanted.contract_id == engine.pack.contract_id:
            return engine
        pack = load_pack(find_pack(wanted.settings))
        if wanted.contract_id is not None and pack.contract_id != wanted.contract_id:
            raise PackError(
                f"The pack '{wanted.settings.pack}' on this machine has the contract {pack.contract_id}, but "
                f"the galleries were built with {wanted.contract_id}; put the same pack here."
            )
        return engine.with_pack(pack)


def _wanted(database: Database, settings: Settings) -> InForce:
    with database.read() as session:
        return in_force(session, settings)


def _galleries(app: FastAPI, engine: Engine) -> Galleries:
    state = app.state
    completing = Completing(state.database, state.portrait_store, engine.extractor)
    return Galleries(
        database=state.database, settings=state.settings, pack=engine.pack, completing=completing
    )


def _encode_the_rest(database: Database, store: PortraitStore, pack: Pack) -> None:
    """Encode what was enrolled with the old pack since the rebuild, on one thread beside the checks."""
    with ThreadPoolExecutor(1, thread_name_prefix="switching") as pool:
        encode_unencoded(LocalEngine(pack, store, pool), database, pack=pack, advance=lambda _count: None)
