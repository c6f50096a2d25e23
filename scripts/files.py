"""`oneperson files`: where portraits and evidence lie."""

from typing import Annotated

import typer
from rich.console import Console
from sqlalchemy import func, select

from scripts.failures import FAILED
from scripts.progress import progress
from scripts.storage import prepared_database
from service.database import Database
from service.file_copy import Copied, copy_files
from service.settings import load_settings
from service.tables import Attachment, Check, Portrait

FOLDER = "folder"

app = typer.Typer(no_args_is_help=True)


@app.callback()
def files() -> None:
    """Where portraits and evidence lie."""


@app.command()
def copy(
    to: Annotated[
        str, typer.Argument(help="s3://BUCKET/PREFIX, or 'folder' for those under the data folder.")
    ],
) -> None:
    """Copy all portraits, probes and evidence to another place, encrypted as they are, and compare each.

    It may run beside the service, be interrupted, and be run again: what is there is not copied again.
    Run it once more with the service stopped, then change ONEPERSON_FILES_URL.
    """
    settings = load_settings()
    target = settings.model_copy(update={"files_url": None if to == FOLDER else to})
    console = Console(stderr=True)
    try:
        with prepared_database(settings) as database, progress("Copying files", _total(database)) as shown:
            result = copy_files(database, settings, target, advance=shown.advance)
    except KeyboardInterrupt:
        console.print("Interrupted; run the same command again to go on where it stopped.")
        raise typer.Exit(130) from None
    _tell(result, to)


def _total(database: Database) -> int:
    counted = (
        select(func.count()).select_from(Portrait),
        select(func.count()).where(Check.probe_location.is_not(None)),
        select(func.count()).select_from(Attachment),
    )
    with database.read() as session:
        return sum(session.scalar(query) or 0 for query in counted)


def _tell(result: Copied, to: str) -> None:
    typer.echo(f"Copied and compared {result.copied} files; {result.present} were there already.")
    setting = "leave ONEPERSON_FILES_URL out" if to == FOLDER else f"set ONEPERSON_FILES_URL to {to}"
    typer.echo(
        f"If the service was stopped meanwhile: {setting}, start it, and run 'oneperson doctor --mend', "
        "which erases there what was erased here since. Then destroy the files in the earlier place."
    )
    if result.missing:
        typer.echo(
            f"{len(result.missing)} files that records point to are not in the present place; "
            "run 'oneperson doctor'.",
            err=True,
        )
        raise typer.Exit(FAILED)
