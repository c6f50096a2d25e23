"""`oneperson officer`: accounts of the people who examine candidates."""

import re
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from scripts.client import AccountName
from scripts.listing import print_table
from scripts.storage import prepared_database
from service.auth.accounts import (
    change_officer,
    disable_officer,
    enable_officer,
    issue_officer_key,
    list_officers,
    register_officer,
    reset_officer,
)
from service.auth.service import Role
from service.settings import Settings, load_settings

app = typer.Typer(no_args_is_help=True)


def division_code(text: str) -> str:
    """Accept a division code: six digits (GB/T 2260), or up to twelve for a police station.

    Raises:
        typer.BadParameter: Anything else.
    """
    if re.fullmatch(r"[0-9]{6}([0-9]{1,6})?", text) is None:
        raise typer.BadParameter("use 6 to 12 digits, such as 530100")
    return text


def optional_division_code(text: str | None) -> str | None:
    """Accept a division code, or none.

    Raises:
        typer.BadParameter: Anything else.
    """
    return None if text is None else division_code(text)


def person_name(text: str) -> str:
    """Accept what the column can hold.

    Raises:
        typer.BadParameter: Empty or too long.
    """
    if not 1 <= len(text.strip()) <= 50:
        raise typer.BadParameter("use 1 to 50 characters")
    return text.strip()


Days = Annotated[
    int | None, typer.Option("--expires", min=1, max=3660, help="Days until the key ends; default: never.")
]


@app.command()
def add(
    login: AccountName,
    name: Annotated[str, typer.Option(callback=person_name, help="Name, as colleagues see it.")],
    role: Annotated[Role, typer.Option(help="What the account is for.")],
    division: Annotated[
        str, typer.Option(callback=division_code, help="Division code; cases under it can be seen.")
    ],
) -> None:
    """Make an officer's account and print the code for the first password: it is shown this once."""
    settings = load_settings()
    with prepared_database(settings) as database, database.write() as session:
        code = register_officer(
            session, login, name=name, role=role, division_code=division, hours=settings.setup_code_hours
        )
    _tell_code(settings, login, code)


@app.command("list")
def list_() -> None:
    """List all officers: how they sign in, and how their accounts stand."""
    table = Table("login", "name", "role", "division", "made", "signs in by", "state")
    with prepared_database(load_settings()) as database, database.read() as session:
        for account in list_officers(session):
            officer = account.officer
            table.add_row(
                officer.login,
                officer.name,
                officer.role,
                officer.division_code,
                f"{officer.created_at:%Y-%m-%d}",
                account.signs_in_by,
                account.state,
            )
    print_table(table)


@app.command()
def disable(login: AccountName) -> None:
    """Close an account at once; what it decided stays on record."""
    with prepared_database(load_settings()) as database, database.write() as session:
        disable_officer(session, login)
    typer.echo(f"The account '{login}' is closed.")


@app.command()
def enable(login: AccountName) -> None:
    """Open a closed account again and print a code for a new password."""
    settings = load_settings()
    with prepared_database(settings) as database, database.write() as session:
        code = enable_officer(session, login, hours=settings.setup_code_hours)
    _tell_code(settings, login, code)


@app.command()
def reset(
    login: AccountName,
    factor: Annotated[
        bool, typer.Option("--factor", help="Also take the second factor back, for a lost telephone.")
    ] = False,
) -> None:
    """Take a password back, sign the officer out everywhere, and print a code for a new password."""
    settings = load_settings()
    with prepared_database(settings) as database, database.write() as session:
        code = reset_officer(session, login, factor=factor, hours=settings.setup_code_hours)
    _tell_code(settings, login, code)


@app.command()
def role(
    login: AccountName,
    role: Annotated[Role | None, typer.Option(help="What the account is for from now on.")] = None,
    division: Annotated[
        str | None, typer.Option(callback=optional_division_code, help="Division code from now on.")
    ] = None,
) -> None:
    """Change an officer's role or division; open browsers follow with their next request."""
    with prepared_database(load_settings()) as database, database.write() as session:
        change_officer(session, login, role=role, division_code=division)
    typer.echo(f"The account '{login}' is changed.")


@app.command()
def key(login: AccountName, expires: Days = None) -> None:
    """Print an access key for an officer's tools, which call /v1/cases; earlier keys end at once."""
    with prepared_database(load_settings()) as database, database.write() as session:
        made = issue_officer_key(session, login, days=expires)
    Console(stderr=True).print(f"The access key of '{login}', shown this once; keep it secret:")
    typer.echo(made)


def _tell_code(settings: Settings, login: str, code: str) -> None:
    Console(stderr=True).print(
        f"The code of '{login}', shown this once; it ends in {settings.setup_code_hours:g} hours. "
        f"Hand it over in person; it is entered at {settings.public_url.rstrip('/')}/sign-in/first",
        soft_wrap=True,
    )
    typer.echo(code)
