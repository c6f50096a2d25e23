"""`oneperson link`: all pairs of enrolled persons that score at or above a threshold."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from index.pack import load_pack
from scripts.failures import CommandError
from scripts.progress import progress
from scripts.storage import prepared_database
from service.engine import find_pack
from service.galleries.keeper import IncompleteError
from service.galleries.switches import settings_in_force
from service.settings import load_settings
from service.sweeps.pairs import Comparison, all_steps, find_pairs, forget, plan, sweeps_dir
from service.sweeps.service import FoundPair, Opened, describe, open_cases

HEADER = (
    "person_id",
    "other_person_id",
    "gallery",
    "score",
    "false_alarm_rate",
    "false_alarm_low",
    "false_alarm_high",
    "extrapolated",
    "case",
    "case_id",
)


def link(
    threshold: Annotated[
        float | None,
        typer.Option(min=-1.0, max=1.0, help="Lowest score; default: the calibrated threshold."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="CSV file for the pairs.")] = None,
    cases: Annotated[bool, typer.Option("--cases/--no-cases", help="Whether to open cases.")] = True,
) -> None:
    """Find suspected duplicates among everybody enrolled, and open cases of kind `sweep`.

    Pairs that a case names already are not opened again. Stopped in the middle, the same
    command goes on where it was, as long as the galleries have not changed.
    """
    console = Console()
    settings = load_settings()
    folder = sweeps_dir(settings)
    with prepared_database(settings) as database:
        pack = load_pack(find_pack(settings_in_force(database, settings)))
        try:
            comparisons = plan(database, settings, pack, threshold=threshold)
            with progress("Comparing blocks", all_steps(comparisons)) as shown:
                found = [
                    (
                        comparison,
                        find_pairs(comparison, folder, contract_id=pack.contract_id, advance=shown.advance),
                    )
                    for comparison in comparisons
                ]
        except IncompleteError as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt:
            console.print("Interrupted; run the same command again to go on where it stopped.")
            raise typer.Exit(130) from None
        with database.read() as session:
            pairs = [pair for comparison, links in found for pair in describe(session, comparison, links)]
        opened = open_cases(database, pairs) if cases else Opened({}, set(), set())
    if out is not None:
        _write(out, pairs, opened)
    forget(folder)
    _tell(console, comparisons, pairs, opened, out)


def _write(path: Path, pairs: Sequence[FoundPair], opened: Opened) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        for pair in pairs:
            names = (pair.subject, pair.candidate)
            new = pair.new
            writer.writerow(
                [
                    *names,
                    new.gallery,
                    f"{new.score:.6f}",
                    f"{new.false_alarm_rate:.3g}",
                    f"{new.false_alarm_low:.3g}",
                    f"{new.false_alarm_high:.3g}",
                    str(new.extrapolated).lower(),
                    _fate(names, opened),
                    opened.cases.get(names, ""),
                ]
            )


def _fate(names: tuple[str, str], opened: Opened) -> str:
    if names in opened.cases:
        return "opened"
    if names in opened.known:
        return "known"
    return "no-division" if names in opened.without_division else "none"


def _tell(
    console: Console,
    comparisons: Sequence[Comparison],
    pairs: Sequence[FoundPair],
    opened: Opened,
    out: Path | None,
) -> None:
    for comparison in comparisons:
        console.print(
            f"{comparison.left.name} with {comparison.right.name}: "
            f"{len(comparison.left.enrolled)} and {len(comparison.right.enrolled)} references, "
            f"threshold {comparison.threshold:.4f}"
        )
    console.print(
        f"{len(pairs)} suspected pairs; {len(set(opened.cases.values()))} cases opened, "
        f"{len(opened.known)} pairs known from earlier cases, "
        f"{len(opened.without_division)} without a division and so without a case."
    )
    if out is not None:
        console.print(f"Pairs: {out}")
