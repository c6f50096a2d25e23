"""`oneperson backup`: everything in one encrypted file, while the service runs."""

import signal
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from scripts.failures import FAILED
from scripts.progress import progress
from scripts.storage import prepared_database
from service.auth.service import SYSTEM
from service.backup.writing import Backup, Backups
from service.settings import load_settings


def backup(
    file: Annotated[Path, typer.Argument(help="File to write; it must not exist yet.")],
    with_pack: Annotated[
        bool, typer.Option("--with-pack", help="Put the model pack in use into the backup, too.")
    ] = False,
) -> None:
    """Back up the whole installation into one encrypted file, while the service runs.

    The database is read in one consistent view, then portraits, probes and evidence are copied.
    What was written is read back and compared. Keys are not in it: keep them apart. Without the
    encryption keys and the audit key nobody can restore it.
    """
    settings = load_settings()
    signal.signal(signal.SIGTERM, interrupt)
    console = Console(stderr=True)
    try:
        with prepared_database(settings) as database:
            backups = Backups(database, settings)
            with progress("Backing up", backups.total()) as shown:
                result = backups.write(file, weights=with_pack, actor=SYSTEM, advance=shown.advance)
    except KeyboardInterrupt:
        console.print("Interrupted; no backup was made and no file is left.")
        raise typer.Exit(130) from None
    _tell(result)


def _tell(result: Backup) -> None:
    typer.echo(
        f"Wrote and verified {result.path}: {result.rows} rows, {result.files} files, "
        f"{result.size_bytes} bytes."
    )
    if result.erased:
        typer.echo(f"{result.erased} files were erased meanwhile; they are not in it.")
    damaged = len(result.missing) + result.unreadable
    if damaged:
        typer.echo(
            f"{len(result.missing)} files that records point to are lost and {result.unreadable} are damaged "
            "in this installation; run 'oneperson doctor --deep'.",
            err=True,
        )
        raise typer.Exit(FAILED)


def interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    """Unwind on SIGTERM as on Ctrl-C, so that no half file is left."""
    raise KeyboardInterrupt
