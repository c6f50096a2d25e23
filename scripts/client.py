"""`oneperson client`: systems that call the API, and their keys."""

import re
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from scripts.storage import prepared_database
from service.auth.accounts import list_clients, register_client, revoke_client
from service.auth.service import Scope
from service.settings import load_settings

NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"

app = typer.Typer(no_args_is_help=True)


def account_name(text: str) -> str:
    """Accept a name that is safe in logs, addresses and tables.

    Raises:
        typer.BadParameter: Anything else.
    """
    if re.fullmatch(NAME, text) is None:
        raise typer.BadParameter("use 1 to 64 letters, digits, '.', '_' or '-', a letter or digit first")
    return text


AccountName = Annotated[str, typer.Argument(callback=account_name, help="A name of its own.")]


@app.command()
def add(
    name: AccountName,
    scope: Annotated[list[Scope], typer.Option(help="What the key may be used for; repeat for several.")],
    expires: Annotated[
        int | None, typer.Option(min=1, max=3660, help="Days until the key ends; default: never.")
    ] = None,
) -> None:
    """Make a client and print its key: it is shown this once and cannot be shown again."""
    with prepared_database(load_settings()) as database, database.write() as session:
        key = register_client(session, name, scopes=frozenset(scope), days=expires)
    Console(stderr=True).print(f"The key of '{name}', shown this once; keep it secret:")
    typer.echo(key)


@app.command("list")
def list_() -> None:
    """List all clients; keys are not known here."""
    table = Table("name", "scopes", "made", "ends", "state")
    with prepared_database(load_settings()) as database, database.read() as session:
        for client in list_clients(session):
            ends = "never" if client.expires_at is None else f"{client.expires_at:%Y-%m-%d}"
            scopes = " ".join(client.scopes)
            table.add_row(client.name, scopes, f"{client.created_at:%Y-%m-%d}", ends, client.state)
    Console().print(table)


@app.command()
def revoke(name: AccountName) -> None:
    """Make a client's keys invalid at once."""
    with prepared_database(load_settings()) as database, database.write() as session:
        revoke_client(session, name)
    typer.echo(f"The keys of '{name}' are no longer valid.")
