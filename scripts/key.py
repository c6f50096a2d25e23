"""`oneperson key`: the keys that everything stored is encrypted with."""

import os
import secrets
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from scripts.failures import FAILED, CommandError
from scripts.listing import print_table
from scripts.progress import progress
from scripts.storage import prepared_database
from service.audit.service import AuditKind, record
from service.auth.service import SYSTEM
from service.database import Database
from service.encryption import repository
from service.encryption.keys import key_file, key_source, load_keys, new_key, write_private
from service.encryption.rotation import Resealed, Rotation, chosen_master
from service.encryption.vault import vault_of
from service.errors import SettingsError
from service.key_files import held
from service.settings import Settings, load_settings

app = typer.Typer(no_args_is_help=True)

KeyId = Annotated[str, typer.Argument(help="The key's id, as 'oneperson key list' shows it.")]


@app.command()
def new() -> None:
    """Print a fresh key for a key server, a secret store or a key file; it is kept nowhere else."""
    typer.echo(new_key())


@app.command("list")
def list_keys() -> None:
    """List the keys that are given or needed, and what uses them; never the keys themselves."""
    settings = load_settings()
    with prepared_database(settings) as database, database.read() as session:
        ring = vault_of(session).ring
        state, uses = repository.state(session), repository.uses_by_master(session)
    table = Table("key", "", "data keys", "given by")
    for id_ in [*ring, *(id_ for id_ in uses if id_ not in ring)]:
        mark = "current" if state is not None and state.master_key_id == id_ else ""
        table.add_row(id_, mark, str(uses.get(id_, 0)), key_source(settings) if id_ in ring else "MISSING")
    print_table(table)


@app.command()
def add() -> None:
    """Add a fresh key to the key file; 'oneperson key rotate' then begins to use it."""
    settings = load_settings()
    path = _own_file(settings)
    with prepared_database(settings) as database:
        with held(path):
            before = set(load_keys(settings))
            _rewrite(path, f"{path.read_text('utf-8').rstrip()}\n{new_key()}\n")
            added = next(id_ for id_ in load_keys(settings) if id_ not in before)
        _note(database, action="added", key=added)
    typer.echo(f"Added the key {added} to {path}. Keep a copy elsewhere; then run 'oneperson key rotate'.")


@app.command()
def rotate(
    to: Annotated[str | None, typer.Option(help="Id of the key to use; default: the last one given.")] = None,
    data: Annotated[
        bool, typer.Option("--data/--keys-only", help="Whether everything stored is encrypted anew, too.")
    ] = False,
) -> None:
    """Change over to another key while the service runs; it may be interrupted and run again.

    Data keys are wrapped anew, which takes moments. With --data everything stored is encrypted
    anew with fresh data keys, after a data key may have become known, for another algorithm, or
    where an earlier version stored it unencrypted.
    """
    settings = load_settings()
    console = Console()
    try:
        with ExitStack() as stack:
            with held(key_file(settings)):  # Nobody drops a key while data keys are wrapped with it.
                database = stack.enter_context(prepared_database(settings, encrypting=data))
                vault = vault_of(database.info)
                rotation = Rotation(database, settings, vault)
                master = chosen_master(vault, to)
                wrapped = rotation.rewrap(master, lambda _count: None)
            console.print(f"The key {master.id} is current; {wrapped} data keys were wrapped with it.")
            result = _resealed(rotation, console) if data else None
            _note(database, action="rotated", key=master.id, data=data)
    except KeyboardInterrupt:
        console.print("Interrupted; run the same command again to go on where it stopped.")
        raise typer.Exit(130) from None
    if result is not None:
        _tell(console, result)


@app.command()
def drop(key_id: KeyId) -> None:
    """Remove a key that nothing uses any more from the key file."""
    settings = load_settings()
    path = _own_file(settings)
    with prepared_database(settings) as database:
        with held(path):
            _drop(database, settings, path, key_id)
        _note(database, action="dropped", key=key_id)
    typer.echo(f"Removed the key {key_id}. Backups made while it was in use still need it: keep a copy.")


def _drop(database: Database, settings: Settings, path: Path, key_id: str) -> None:
    with database.read() as session:
        state, uses = repository.state(session), repository.uses_by_master(session)
    if (state is not None and state.master_key_id == key_id) or uses.get(key_id):
        raise CommandError(f"the key {key_id} is still in use; run 'oneperson key rotate' first")
    ring = load_keys(settings)
    if key_id not in ring:
        raise CommandError(f"there is no key {key_id}; 'oneperson key list' shows those that are given")
    kept = [key.written() for key in ring.values() if key.id != key_id]
    _rewrite(path, "\n".join(["# Keys of OnePerson.", *kept, ""]))


def _resealed(rotation: Rotation, console: Console) -> Resealed:
    if rotation.begin():
        console.print("Going on with the re-encryption that was interrupted.")
    with progress("Encrypting anew", rotation.total()) as shown:
        return rotation.reseal(shown.advance)


def _tell(console: Console, result: Resealed) -> None:
    console.print(f"Encrypted {result.done} records and files anew.")
    if result.generations:
        console.print(
            f"Deleted {result.generations} generations under old keys; the next start, or "
            "'oneperson rebuild', writes fresh ones."
        )
    if result.left:
        console.print(
            f"Other processes still wrote {result.left} with the old keys: run it again when they ended."
        )
    if result.broken:
        for what in result.broken[:20]:
            console.print(f"  cannot be opened, left as it is: {what}", highlight=False)
        console.print(f"{len(result.broken)} could not be opened; 'oneperson doctor' says whose they are.")
        raise typer.Exit(FAILED)


def _own_file(settings: Settings) -> Path:
    """Return the key file that this command may write.

    Raises:
        SettingsError: The keys come from elsewhere.
    """
    path = key_file(settings)
    if path is None:
        raise SettingsError(
            f"the keys come from {key_source(settings)}: change them there ('oneperson key new' prints a "
            "fresh one), restart the service, then run 'oneperson key rotate'"
        )
    return path


def _rewrite(path: Path, text: str) -> None:
    """Replace a key file by one rename."""
    aside = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    write_private(aside, text)
    try:
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _note(database: Database, *, action: str, key: str, data: bool = False) -> None:
    with database.write() as session:
        record(session, AuditKind.KEY_ROTATED, actor=SYSTEM, subject=f"key:{key}", action=action, data=data)
