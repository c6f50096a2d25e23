"""`oneperson report`: the monthly table as a file."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from scripts.failures import CommandError
from scripts.storage import prepared_database
from service.auth.service import SYSTEM
from service.codes import load_codes
from service.errors import ServiceError
from service.months import Month
from service.settings import load_settings
from service.statistics.api import record_reading
from service.statistics.files import as_csv, as_xlsx
from service.statistics.labels import Labels
from service.statistics.service import close_month, read_month


def report(
    month: Annotated[str, typer.Argument(help="Beijing month, YYYY-MM.")],
    out: Annotated[Path, typer.Option(help="File to write; .xlsx, or .csv in UTF-8 with a byte order mark.")],
    version: Annotated[
        int | None, typer.Option(min=0, help="A closed version; 0 for a fresh count. Default: the latest.")
    ] = None,
    close: Annotated[
        bool, typer.Option("--close", help="Close the month before, if it is not closed.")
    ] = False,
    restate: Annotated[
        str | None, typer.Option(metavar="REASON", help="Store a new version of a closed month before.")
    ] = None,
) -> None:
    """Write the monthly table: as it was closed, or as it is counted now while it is not closed."""
    if out.suffix.lower() not in (".xlsx", ".csv"):
        raise typer.BadParameter("the file's name must end in .xlsx or .csv", param_hint="--out")
    try:
        wanted = Month.parse(month)
    except ValueError:
        raise typer.BadParameter("write a month as YYYY-MM", param_hint="MONTH") from None
    settings = load_settings()
    labels = Labels(settings.language, load_codes(settings.codes_file))
    with prepared_database(settings) as database:
        try:
            if close or restate is not None:
                close_month(database, wanted, actor=SYSTEM, reason=restate)
            with database.read() as session:
                table = read_month(session, wanted, actor=SYSTEM, version=version)
        except ServiceError as error:
            raise CommandError(error.detail) from None
        with database.write() as session:
            record_reading(session, table, actor=SYSTEM, form=out.suffix.lower()[1:])
    is_xlsx = out.suffix.lower() == ".xlsx"
    data = as_xlsx(table, labels) if is_xlsx else as_csv(table, labels, bom=True)
    try:
        out.write_bytes(data)
    except OSError as error:
        raise CommandError(f"{out} cannot be written ({error.strerror})") from None
    state = "counted now, not closed" if table.version is None else f"closed version {table.version.number}"
    balance = "every row balances" if table.balanced else "NOT EVERY ROW BALANCES"
    Console(stderr=True).print(f"{out}: {wanted}, {state}, {len(table.rows)} rows; {balance}.")
