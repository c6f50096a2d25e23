"""`oneperson doctor`: what is wrong with this installation, and what to do about it."""

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table

from scripts.failures import FAILED
from scripts.listing import print_table
from scripts.storage import prepared_database
from service.audit.service import AuditKind, record
from service.auth.service import SYSTEM
from service.errors import SettingsError
from service.examination import examine
from service.findings import Finding
from service.settings import Settings, load_settings
from service.stored_files import NAMES, erase_orphans


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
    deep: Annotated[
        bool, typer.Option("--deep", help="Open every stored file, too; takes a while for many.")
    ] = False,
    mend: Annotated[
        bool,
        typer.Option(
            "--mend",
            "--erase-orphans",
            help="First erase stored files that belong to no record and are older than an hour.",
        ),
    ] = False,
) -> None:
    """Examine settings, disk, pack, database, galleries, files and retention; change nothing unless told to.

    The exit code is 1 when something is wrong.
    """
    findings = _findings(mend=mend, deep=deep)
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], ensure_ascii=False, indent=2))
    else:
        _show(findings)
    if not all(finding.ok for finding in findings):
        raise typer.Exit(FAILED)


def _findings(*, mend: bool, deep: bool) -> list[Finding]:
    try:
        settings = load_settings()
    except SettingsError as error:
        return [Finding("settings", False, str(error), "correct the environment or .env")]
    found = [Finding("settings", True, f"data folder {settings.data_dir}, pack {settings.pack}")]
    if mend:
        found.append(_mend(settings))
    return [*found, *examine(settings, deep=deep)]


def _mend(settings: Settings) -> Finding:
    with prepared_database(settings) as database:
        erased = erase_orphans(database, settings)
        if erased:
            with database.write() as session:
                record(session, AuditKind.ORPHANS_ERASED, actor=SYSTEM, erased=erased)
    told = ", ".join(f"{count} {NAMES[kind]}" for kind, count in erased.items()) or "nothing"
    return Finding("mended", True, f"erased, because no record points to it: {told}")


def _show(findings: list[Finding]) -> None:
    table = Table("part", "", "found", "what to do")
    for finding in findings:
        mark = _mark(finding)
        table.add_row(finding.part, mark, _plain(finding.detail), _plain(finding.remedy))
    print_table(table)


def _mark(finding: Finding) -> str:
    if not finding.ok:
        return "[bold red]WRONG[/]"
    return "[yellow]ok, but[/]" if finding.remedy else "[green]ok[/]"


def _plain(text: str) -> str:
    """Keep brackets in texts from being taken for markup."""
    return text.replace("[", "\\[")
