"""`oneperson restore`: a backup into an empty installation, all of it or nothing."""

import signal
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from index.errors import OnePersonError
from index.pack_manifest import read_manifest
from scripts.backup import interrupt
from scripts.progress import progress
from service.auth.service import SYSTEM
from service.backup.reading import Checked, manifest_of
from service.backup.restoring import Restoration, Restored
from service.encryption.keys import load_keys
from service.engine import find_pack
from service.errors import SettingsError
from service.settings import Settings, load_settings


def restore(
    file: Annotated[Path, typer.Argument(help="The backup.")],
    check: Annotated[
        bool, typer.Option("--check", help="Only read and verify the whole backup; change nothing.")
    ] = False,
    without_erasures: Annotated[
        bool,
        typer.Option("--without-erasures", help="Go on although the list of erasures is lost or altered."),
    ] = False,
    old: Annotated[
        bool, typer.Option("--old", help="Take a backup that is older than ONEPERSON_BACKUP_DAYS.")
    ] = False,
) -> None:
    """Restore a backup into an empty installation, with the keys that it was made with.

    The whole backup is verified before anything is changed. Whoever was erased after it was made
    is erased again, by the list at ONEPERSON_ERASURES. The galleries are built at the next start.
    """
    settings = load_settings()
    signal.signal(signal.SIGTERM, interrupt)
    restoration = Restoration(file, settings)
    try:
        if not check:
            restoration.require_empty()
        total = int(manifest_of(file, load_keys(settings))["expected"])
        with progress("Verifying", total) as shown:
            checked = restoration.check(advance=shown.advance, allow_old=old or check)
        if check:
            _tell(checked, "The backup is whole and can be restored with these keys")
            return
        with progress("Restoring", total) as shown:
            restored = restoration.run(
                checked, actor=SYSTEM, advance=shown.advance, forget_erasures=without_erasures
            )
    except KeyboardInterrupt:
        Console(stderr=True).print("Interrupted; nothing was restored.")
        raise typer.Exit(130) from None
    _report(restored, settings)


def _report(restored: Restored, settings: Settings) -> None:
    _tell(restored.checked, "Restored")
    if restored.persons_erased or restored.portraits_erased:
        typer.echo(
            "Erased again, because they were erased after the backup was made: "
            f"{restored.persons_erased} persons and {restored.portraits_erased} single portraits."
        )
    wanted = restored.checked.manifest["pack"]
    try:
        contract_id = read_manifest(find_pack(settings)).contract_id
    except (SettingsError, OnePersonError):
        contract_id = ""
    if contract_id != wanted["contract_id"]:
        typer.echo(
            f"The templates were made by the pack '{wanted['name']}' {wanted['version']}, which is not the "
            "one in the settings: add it, or run 'oneperson rebuild' before the start."
        )
    typer.echo("Keys that were revoked, and registrations that changed, after the backup must be repeated.")


def _tell(checked: Checked, what: str) -> None:
    counts = checked.rows
    typer.echo(
        f"{what}: made {checked.header.made_at} by OnePerson {checked.header.version}; "
        f"{counts.get('persons', 0)} persons, {counts.get('checks', 0)} checks, "
        f"{counts.get('cases', 0)} cases, {sum(counts.values())} rows, {checked.files} files."
    )
    if checked.unreadable_files:
        typer.echo(f"{checked.unreadable_files} files in it were damaged before it was made.")
