"""`oneperson migrate`: brings the schema forward, when the operator says so."""

import typer

from service.database import Database
from service.schema import newest_revision, refuse_newer
from service.settings import load_settings


def migrate() -> None:
    """Bring the database's schema to this version; make a backup and stop older processes first."""
    database = Database(load_settings().database_address)
    try:
        before, newest = database.revision(), newest_revision()
        if before is not None:
            refuse_newer(before)
        database.migrate()
    finally:
        database.close()
    if before == newest:
        typer.echo(f"The schema is at revision {newest} already.")
    else:
        typer.echo(f"The schema was brought from revision {before or 'none'} to {newest}.")
