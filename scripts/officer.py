"""`oneperson officer`: accounts of the people who examine candidates."""

import re
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from scripts.client import AccountName
from scripts.storage import prepared_database
from service.auth.accounts import disable_officer, list_officers, register_officer
from service.auth.service import Role
from service.settings import load_settings

app = typer.Typer(no_args_is_help=True)


def division_code(text: str) -> str:
    """Accept a division code: six digits (GB/T 2260), or up to twelve for a police station.

    Raises:
        typer.BadParameter: Anything else.
    """
    if re.fullmatch(r"[0-9]{6}([0-9]{1,6})?", text) is None:
        raise typer.BadParameter("use 6 to 12 digits, such as 530100")
    return text


def person_name(text: str) -> str:
    """Accept what the column can hold.

    Raises:
        typer.BadParameter: Empty or too long.
    """
    if not 1 <= len(text.strip()) <= 50:
        raise typer.BadParameter("use 1 to 50 characters")
    return text.strip()


@app.command()
def add(
    login: AccountName,
    name: Annotated[str, typer.Option(callback=person_name, help="Name, as colleagues see it.")],
    role: Annotated[Role, typer.Option(help="What the account is for.")],
    division: Annotated[
        str, typer.Option(callback=division_code, help="Division code; cases under it can be seen.")
    ],
    expires: Annotated[
        int | None, typer.Option(min=1, max=3660, help="Days until the access key ends; default: never.")
    ] = None,
) -> None:
    """Make an officer's account and print the access key: it is shown this once."""
    with prepared_database(load_settings()) as database, database.write() as session:
        key = register_officer(session, login, name=name, role=role, division_code=division, days=expires)
    Console(stderr=True).print(f"The access key of '{login}', shown this once; keep it secret:")
    typer.echo(key)


@app.command("list")
def list_() -> None:
    """List all officers."""
    table = Table("login", "name", "role", "division", "made", "state")
    with prepared_database(load_settings()) as database, database.read() as session:
        for officer in list_officers(session):
            state = "valid" if officer.disabled_at is None else f"disabled {officer.disabled_at:%Y-%m-%d}"
            made = f"{officer.created_at:%Y-%m-%d}"
            table.add_row(officer.login, officer.name, officer.role, officer.division_code, made, state)
    Console().print(table)


@app.command()
def disable(login: AccountName) -> None:
    """Close an account at once; what it decided stays on record."""
    with prepared_database(load_settings()) as database, database.write() as session:
        disable_officer(session, login)
    typer.echo(f"The account '{login}' is closed.")
