"""`oneperson import`: registrations and their portraits from a CSV file and a folder."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from index.errors import PackError
from scripts.import_portraits import PortraitFolder
from scripts.import_report import Figures, Report
from scripts.import_rows import Encoding, ImportFileError, count_lines, looks_like_utf8, read_records
from scripts.import_run import IMPORTER, ImportRun
from scripts.progress import progress
from service.audit.chain import sealed_database
from service.audit.opening import open_audit
from service.audit.service import AuditKind, record
from service.database import Database
from service.encryption.opening import open_vault
from service.engine import open_engine
from service.errors import ServiceError, SettingsError
from service.file_stores import portrait_store
from service.galleries.switches import settings_in_force
from service.persons.service import Persons
from service.schema import prepare_schema
from service.settings import Settings, load_settings

NOT_ALL_TAKEN, UNUSABLE, INTERRUPTED = 1, 2, 130
"""Exit codes beside 0, which means that every record was taken; 130 is what shells use for Ctrl-C."""


def import_file(
    file: Annotated[Path, typer.Argument(help="CSV file with a header line; see the operator guide.")],
    portraits: Annotated[Path, typer.Option(help="Folder that the column `portrait` refers to.")],
    encoding: Annotated[Encoding, typer.Option(help="What the file is in; a byte order mark is skipped.")] = (
        "utf-8"
    ),
    report: Annotated[
        Path | None, typer.Option(help="CSV file for what was not taken; default: under the data folder.")
    ] = None,
) -> None:
    """Import registrations and enrol their portraits; running services see them at once.

    Ctrl-C finishes the batch at hand; the same command then goes on, skipping what is stored
    identically. Exit code 0: all records were taken; 1: some were not, see the report; 2: the
    file, the folder or the settings cannot be used.
    """
    errors = Console(stderr=True)
    try:
        settings = load_settings()
        lines = count_lines(file)
        folder = PortraitFolder(portraits)
        _warn_of_utf8(file, encoding, errors)
        with Report(report or _default_report(settings, file)) as opened_report:
            figures, complete = _run(
                settings, file, encoding, folder=folder, lines=lines, report=opened_report
            )
        _tell(figures, opened_report.path, Console())
    except (ImportFileError, SettingsError, PackError) as error:
        errors.print(f"Cannot import: {error}", highlight=False, markup=False, soft_wrap=True)
        raise typer.Exit(UNUSABLE) from None
    except ServiceError as error:
        errors.print(f"Stopped: {error.detail} Finished batches are stored; run the same command again.")
        raise typer.Exit(UNUSABLE) from None
    if not complete:
        errors.print("Interrupted. Run the same command again to go on; what is stored is skipped.")
        raise typer.Exit(INTERRUPTED)
    if not figures.all_taken:
        raise typer.Exit(NOT_ALL_TAKEN)


def _run(
    settings: Settings, file: Path, encoding: Encoding, *, folder: PortraitFolder, lines: int, report: Report
) -> tuple[Figures, bool]:
    """Import, record that it was done, and return the figures and whether the end was reached."""
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    database = sealed_database(settings)
    prepare_schema(database)
    open_audit(database, settings)
    engine = open_engine(settings_in_force(database, settings))
    store = portrait_store(settings, open_vault(database, settings))
    persons = Persons(database=database, engine=engine, store=store, settings=settings)
    run = ImportRun(database=database, engine=engine, persons=persons, settings=settings, folder=folder)
    try:
        with _stopping() as stop, progress(f"Importing {file.name}", lines) as shown:
            complete = run.run(read_records(file, encoding), report=report, shown=shown, stop=stop)
        _record(database, run.figures, complete)
    finally:
        engine.close()
        database.close()
    return run.figures, complete


@contextmanager
def _stopping() -> Iterator[threading.Event]:
    """Give an event that the first Ctrl-C sets; the second one breaks off."""
    stop = threading.Event()

    def on_interrupt(_signal: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


def _record(database: Database, figures: Figures, complete: bool) -> None:
    with database.write() as session:
        record(
            session,
            AuditKind.IMPORT_RUN,
            actor=IMPORTER,
            result="done" if complete else "interrupted",
            stored=figures.stored,
            unchanged=figures.unchanged,
            refused=figures.refused,
            incomplete=figures.incomplete,
        )


def _warn_of_utf8(file: Path, encoding: Encoding, console: Console) -> None:
    if encoding != "utf-8" and looks_like_utf8(file):
        console.print(
            f"Warning: {file.name} is declared as {encoding} but reads like UTF-8; names may be garbled. "
            "If so, import it again with --encoding utf-8.",
            highlight=False,
        )


def _default_report(settings: Settings, file: Path) -> Path:
    moment = datetime.now().astimezone()
    return settings.data_dir / "imports" / f"{file.stem}-{moment:%Y%m%d-%H%M%S}-not-taken.csv"


def _tell(figures: Figures, report: Path, console: Console) -> None:
    """Print the summary."""
    table = Table("Records", "", show_header=False, box=None)
    table.add_row("stored", f"{figures.stored:,}")
    table.add_row("unchanged since an earlier import", f"{figures.unchanged:,}")
    table.add_row("not taken", f"{figures.refused:,}")
    table.add_row("taken, but a portrait is missing or was left out", f"{figures.incomplete:,}")
    table.add_row("portraits enrolled", f"{figures.references:,}")
    for mark, count in figures.marks.most_common():
        table.add_row(f"  of them marked '{mark}'", f"{count:,}")
    console.print(table)
    console.print(f"Report: {report}", highlight=False, markup=False, soft_wrap=True)
