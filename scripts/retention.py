"""`oneperson retention`: what is past its time."""

import typer

from scripts.storage import prepared_database
from service.retention.collections import stale_collections
from service.retention.due import Cutoffs, overdue
from service.retention.generations import stale_generations
from service.retention.service import Retention
from service.settings import load_settings
from service.tables import now

app = typer.Typer(no_args_is_help=True)


@app.command()
def run() -> None:
    """Erase everything that is past its time now; a running service does the same by itself."""
    settings = load_settings()
    with prepared_database(settings) as database:
        done = Retention(database, settings).run()
    for name, count in done.items():
        typer.echo(f"erased: {count} {name}")
    if not done:
        typer.echo("Nothing is past its time.")


@app.command()
def due() -> None:
    """Show what is past its time, and erase nothing."""
    settings = load_settings()
    with prepared_database(settings) as database, database.read() as session:
        found = overdue(session, Cutoffs.of(settings, now()))
        stale = len(list(stale_generations(session, settings)))
        stale += len(list(stale_collections(session, settings)))
    if stale:
        found["generations with erased templates"] = stale
    for name, count in found.items():
        typer.echo(f"due: {count} {name}")
    if not found:
        typer.echo("Nothing is past its time.")
