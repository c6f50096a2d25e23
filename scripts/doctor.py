"""`oneperson doctor`: what is wrong with this installation, and what to do about it."""

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from scripts.failures import FAILED
from scripts.storage import prepared_database
from service.errors import SettingsError
from service.examination import Finding, examine, orphans
from service.portrait_store import PortraitStore
from service.settings import Settings, load_settings


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
    erase_orphans: Annotated[
        bool, typer.Option("--erase-orphans", help="First erase stored portraits that belong to no record.")
    ] = False,
) -> None:
    """Examine settings, disk, pack, database, galleries and portraits; change nothing unless told to.

    The exit code is 1 when something is wrong.
    """
    findings = _findings(erase_orphans=erase_orphans)
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], ensure_ascii=False, indent=2))
    else:
        _show(findings)
    if not all(finding.ok for finding in findings):
        raise typer.Exit(FAILED)


def _findings(*, erase_orphans: bool) -> list[Finding]:
    try:
        settings = load_settings()
    except SettingsError as error:
        return [Finding("settings", False, str(error), "correct the environment or .env")]
    found = [Finding("settings", True, f"data folder {settings.data_dir}, pack {settings.pack}")]
    if erase_orphans:
        found.append(_erase_orphans(settings))
    return [*found, *examine(settings)]


def _erase_orphans(settings: Settings) -> Finding:
    store = PortraitStore(settings.portraits_dir)
    with prepared_database(settings) as database, database.read() as session:
        erased = orphans(session, store)
    for location in erased:
        store.delete(location)
    return Finding("erased", True, f"{len(erased)} stored portraits that belonged to no record")


def _show(findings: list[Finding]) -> None:
    table = Table("part", "", "found", "what to do")
    for finding in findings:
        mark = _mark(finding)
        table.add_row(finding.part, mark, _plain(finding.detail), _plain(finding.remedy))
    Console().print(table)


def _mark(finding: Finding) -> str:
    if not finding.ok:
        return "[bold red]WRONG[/]"
    return "[yellow]ok, but[/]" if finding.remedy else "[green]ok[/]"


def _plain(text: str) -> str:
    """Keep brackets in texts from being taken for markup."""
    return text.replace("[", "\\[")
