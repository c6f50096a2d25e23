"""`oneperson client`: systems that call the API, and their keys."""

import re
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from scripts.listing import print_table
from scripts.storage import prepared_database
from service.auth.accounts import list_clients, register_client, revoke_client, rotate_client
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


Days = Annotated[int | None, typer.Option(min=1, max=3660, help="Days until the key ends; default: never.")]


@app.command()
def add(
    name: AccountName,
    scope: Annotated[list[Scope], typer.Option(help="What the key may be used for; repeat for several.")],
    expires: Days = None,
    certificate: Annotated[
        str | None,
        typer.Option(help="Subject of a client certificate that a trusted proxy verifies, as it writes it."),
    ] = None,
) -> None:
    """Make a client and print its key: it is shown this once and cannot be shown again."""
    with prepared_database(load_settings()) as database, database.write() as session:
        key = register_client(session, name, scopes=frozenset(scope), days=expires, certificate=certificate)
    Console(stderr=True).print(f"The key of '{name}', shown this once; keep it secret:")
    typer.echo(key)


@app.command()
def rotate(
    name: AccountName,
    overlap_hours: Annotated[
        float,
        typer.Option(min=0, max=8760, help="Hours that the present keys still work; 0 ends them at once."),
    ] = 24.0,
    expires: Days = None,
) -> None:
    """Make a client's next key and print it; the present one ends after the overlap."""
    with prepared_database(load_settings()) as database, database.write() as session:
        key = rotate_client(session, name, overlap_hours=overlap_hours, days=expires)
    Console(stderr=True).print(
        f"The next key of '{name}', shown this once; the present one ends in {overlap_hours:g} hours:"
    )
    typer.echo(key)


@app.command("list")
def list_() -> None:
    """List all clients with their keys' public parts; the keys themselves are not known here."""
    table = Table("name", "key", "scopes", "made", "ends", "last used", "state")
    with prepared_database(load_settings()) as database, database.read() as session:
        keys = list_clients(session)
    if any(key.certificate for key in keys):
        table.add_column("certificate")
    for key in keys:
        ends = "never" if key.expires_at is None else f"{key.expires_at:%Y-%m-%d}"
        used = "never" if key.last_used_at is None else f"{key.last_used_at:%Y-%m-%d %H:%M}"
        made, scopes = f"{key.created_at:%Y-%m-%d}", " ".join(key.scopes)
        row = [key.name, key.key_id, scopes, made, ends, used, key.state, key.certificate or ""]
        table.add_row(*row[: len(table.columns)])
    print_table(table)


@app.command()
def revoke(name: AccountName) -> None:
    """Make a client's keys invalid at once."""
    with prepared_database(load_settings()) as database, database.write() as session:
        revoke_client(session, name)
    typer.echo(f"The keys of '{name}' are no longer valid.")
