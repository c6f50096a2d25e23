"""`oneperson audit`: verifies, exports and archives the audit log."""

from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from scripts.listing import print_table
from scripts.progress import progress
from scripts.storage import prepared_database
from service.audit.anchors import anchor_file
from service.audit.archives import archive_old
from service.audit.chain import AuditChain, sealed_database
from service.audit.export_files import count_in_file, verify_file
from service.audit.exports import export_period
from service.audit.findings import Findings
from service.audit.keys import add_key, load_keys
from service.audit.opening import open_audit
from service.audit.service import AuditKind, record
from service.audit.verification import count_records, verify
from service.auth.service import SYSTEM
from service.database import Database
from service.errors import ServiceError
from service.months import BEIJING
from service.settings import load_settings
from service.tables import now

DAMAGED = 1

app = typer.Typer(no_args_is_help=True)


def _day(text: str) -> datetime:
    """Read a day of Beijing time as its first moment."""
    try:
        return datetime.combine(date.fromisoformat(text), time(), BEIJING)
    except ValueError:
        raise typer.BadParameter("write the day as 2026-01-31") from None


@app.command("verify")
def verify_(
    file: Annotated[
        Path | None, typer.Argument(help="An export or archive; default: the log in the database.")
    ] = None,
    public_key: Annotated[
        str | None,
        typer.Option(help="Check the file's signature with this alone."),
    ] = None,
) -> None:
    """Look for records that were removed, changed, moved, doubled or added; exit with 1 if there are any."""
    settings = load_settings()
    keys = load_keys(settings)
    if file is not None:
        with progress(f"Verifying {file.name}", count_in_file(file)) as shown:
            findings = verify_file(file, keys, public_key=public_key, progress=shown.advance)
    else:
        database = sealed_database(settings)
        try:
            with progress("Verifying the audit log", count_records(database)) as shown:
                findings = verify(database, keys, anchor_file(settings, keys), progress=shown.advance)
            _put_on_record(database, findings)
        finally:
            database.close()
    _tell(findings)
    if not findings.intact:
        raise typer.Exit(DAMAGED)


def _put_on_record(database: Database, findings: Findings) -> None:
    """Record the verification; a log whose end is damaged cannot take it, the result is told anyhow."""
    try:
        with database.write() as session:
            found = "intact" if findings.intact else "damaged"
            record(session, AuditKind.AUDIT_VERIFIED, actor=SYSTEM, result=found, findings=findings.count)
    except ServiceError as error:
        typer.echo(f"The verification is not on record: {error.detail}", err=True)


def _tell(findings: Findings) -> None:
    console = Console(highlight=False)
    for note in findings.notes:
        console.print(note, soft_wrap=True)
    if findings.intact:
        console.print(f"Intact. Records: {findings.records:,}; anchors: {findings.anchors:,}.")
        return
    table = Table("damage", "record", "what was seen")
    for each in findings.named:
        number = str(each.first) if each.first == each.last else f"{each.first}–{each.last}"
        table.add_row(str(each.damage), number, each.detail)
    print_table(table)
    console.print(f"DAMAGED. Found: {findings.count:,}; records: {findings.records:,}.")


@app.command()
def export(
    since: Annotated[datetime, typer.Option("--from", parser=_day, help="First day, Beijing time.")],
    until: Annotated[datetime, typer.Option("--to", parser=_day, help="Day after the last.")],
    out: Annotated[Path, typer.Option(help="A new file, .jsonl or .csv.")],
) -> None:
    """Write the records of a period to a file, with a signed manifest beside it."""
    settings = load_settings()
    with (
        prepared_database(settings) as database,
        progress("Exporting", count_records(database, since, until)) as shown,
    ):
        try:
            written = export_period(
                database,
                load_keys(settings),
                out,
                since=since,
                until=until,
                actor=SYSTEM,
                progress=shown.advance,
            )
        except OSError as error:
            raise typer.BadParameter(f"{out}: {error.strerror}") from None
    typer.echo(f"{written.count} records, {written.first} to {written.last}, in {out}.")


@app.command()
def archive(
    folder: Annotated[Path, typer.Option(help="Where the file goes.")],
) -> None:
    """Move the records that are past their retention into a signed file."""
    settings = load_settings()
    old = now() - timedelta(days=settings.audit_retention_days)
    with (
        prepared_database(settings) as database,
        progress("Archiving", count_records(database, until=old)) as shown,
    ):
        try:
            written = archive_old(
                database,
                load_keys(settings),
                folder,
                retention_days=settings.audit_retention_days,
                actor=SYSTEM,
                progress=shown.advance,
            )
        except OSError as error:
            raise typer.BadParameter(f"{error.filename}: {error.strerror}") from None
    if written is None:
        typer.echo(f"Nothing is older than {settings.audit_retention_days} days.")
        return
    typer.echo(f"{written.count} records, {written.first} to {written.last}, moved to {folder}.")


@app.command()
def anchor() -> None:
    """Write an anchor now: how far the log has come, signed, outside the database."""
    settings = load_settings()
    with prepared_database(settings) as database:
        written = anchor_file(settings, load_keys(settings)).append(database)
    typer.echo("Nothing new to anchor." if written is None else f"Anchored at record {written.sequence}.")


@app.command()
def key() -> None:
    """Print the name of the present key, and the public key with which others check signatures."""
    current = load_keys(load_settings()).current
    typer.echo(current.tag)
    typer.echo(current.public_key or "no public key: signatures are HMAC-SM3")


@app.command("rotate-key")
def rotate_key(
    lost: Annotated[
        bool,
        typer.Option(
            "--lost", help="The present key is gone: go on with another. What it covered stays unproved."
        ),
    ] = False,
) -> None:
    """Go over to a new key; earlier ones are kept, for the records that they cover."""
    settings = load_settings()
    if lost:
        database = sealed_database(settings)
        with database.write() as session:
            AuditChain(load_keys(settings)).replace_lost_key(session)
        database.close()
    else:
        with prepared_database(settings) as database:
            add_key(settings)
            open_audit(database, settings)
    typer.echo(f"The audit log goes on with {load_keys(settings).current.tag}.")
