"""Opens what the application works with, in order, and closes it in the reverse."""

import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import structlog
from fastapi import FastAPI

from index.snapshot import clean, generations
from service.audit.chain import sealed_database
from service.audit.opening import open_audit
from service.auth.usage import WRITE_EVERY_S, KeyUsage
from service.clock import ClockWatch, last_recorded
from service.codes import load_codes
from service.encryption.opening import open_vault
from service.errors import SettingsError, StorageUnavailableError
from service.file_stores import evidence_store, portrait_store, require_place
from service.galleries.mending import Mending
from service.galleries.service import RENEW_EVERY_S, Galleries
from service.health import readiness_worker
from service.notices.workers import start_deliveries
from service.retention.service import Retention
from service.schema import prepare_schema
from service.settings import Settings
from service.statistics.closing import closing_worker
from service.sweeps.pairs import frozen_dirs
from service.switching import Switching, open_line
from service.workers import Worker, Workers

UNFINISHED_S = 3600.0
"""Seconds after which nobody is writing at a workbook any more: 400,000 lines take minutes."""

log = structlog.get_logger(__name__)


@contextmanager
def opened(app: FastAPI) -> Iterator[None]:
    """Give an application its database, model pack, galleries and portrait store.

    Raises:
        SettingsError: A setting, the pack's name or the schema needs the operator.
        PackError: The model pack is damaged or does not run.
        DatabaseUnavailableError: The database is away.
    """
    settings: Settings = app.state.settings
    with ExitStack() as stack:
        _make_data_dir(settings)
        drop_unfinished(settings)
        require_place(settings)
        app.state.codes = load_codes(settings.codes_file)
        app.state.database = database = sealed_database(settings)
        stack.callback(database.close)
        prepare_schema(database)
        with database.read() as session:
            app.state.clock = clock = ClockWatch(last_recorded(session))
        anchoring = open_audit(database, settings, serving=True)
        stack.callback(anchoring.close)
        app.state.vault = vault = open_vault(database, settings)
        app.state.portrait_store = portrait_store(settings, vault)
        with suppress(StorageUnavailableError):  # The readiness report tells of it.
            app.state.portrait_store.check_writable()
        app.state.evidence_store = evidence_store(settings, vault)
        line = open_line(app)
        stack.callback(line.engine.close)
        line.galleries.open()
        line.galleries.calibrate()
        app.state.workers = workers = Workers()
        stack.callback(workers.stop)
        app.state.key_usage = usage = KeyUsage(database)
        workers.start(Worker("key-usage", usage.write, WRITE_EVERY_S))
        workers.start(anchoring.worker)
        start_deliveries(app)
        workers.start(closing_worker(database, settings, clock))
        workers.start(Retention(database, settings, clock=clock).worker)
        workers.start(Mending(app).worker)
        workers.start(Worker("generations", lambda: renew_generations(app), RENEW_EVERY_S))
        workers.start(readiness_worker(app))
        app.state.switching = switching = Switching(app)
        workers.start(switching.worker)
        app.state.is_open = True
        log.info("started", pack=line.engine.pack.name, database=database.engine.dialect.name)
        try:
            yield
        finally:
            app.state.is_open = False
            log.info("stopping")


def renew_generations(app: FastAPI) -> bool:
    """Have the galleries that answer at the moment go over to fresh generations."""
    galleries: Galleries = app.state.galleries
    return galleries.renew()


def is_open(app: FastAPI) -> bool:
    """Tell whether an application has what it works with."""
    return bool(getattr(app.state, "is_open", False))


def drop_unfinished(settings: Settings, *, now_s: float | None = None) -> None:
    """Remove what a killed process left of workbooks and copies of galleries that it was writing.

    Those of other processes stay: copies that are written are locked, and lose their name once they are.

    Args:
        settings: Whose data folder.
        now_s: Seconds since the epoch; default: the clock's.
    """
    oldest = (time.time() if now_s is None else now_s) - UNFINISHED_S
    for frozen in frozen_dirs(settings):
        clean(frozen)
    copies = [copy for frozen in frozen_dirs(settings) for copy in generations(frozen)]
    for folder in [*settings.exports_dir.glob("*"), *copies]:
        with suppress(OSError):
            if folder.stat().st_mtime < oldest:
                shutil.rmtree(folder)


def _make_data_dir(settings: Settings) -> None:
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise SettingsError(
            f"ONEPERSON_DATA_DIR: {settings.data_dir} cannot be made ({error.strerror})"
        ) from error
