"""`oneperson benchmark`: how fast, and whether right, beside what others use."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from scripts.accuracy import accuracy
from scripts.benchmark_checks import ChecksPlan, measure_checks
from scripts.benchmark_desk import DeskFigures, DeskPlan, measure_desk
from scripts.benchmark_embed import EmbedPlan, measure_embed
from scripts.benchmark_search import Plan, SearchFigures, measure_search
from scripts.benchmark_tables import checks_table, embed_table
from service.engine import find_pack
from service.settings import load_settings

app = typer.Typer(no_args_is_help=True, help="How fast, and whether right, beside what others use.")


class Data(StrEnum):
    """Which encoder's scores the made-up embeddings follow."""

    ARCFACE = "arcface"
    EDGEFACE = "edgeface"


@app.callback()
def benchmark() -> None:
    """Measure this machine."""


app.command()(accuracy)


@app.command()
def search(
    persons: Annotated[int, typer.Option(min=1000, help="Persons enrolled.")] = 100_000,
    probes: Annotated[
        int, typer.Option(min=16, help="Mated probes compared with exact search, and as many others.")
    ] = 1000,
    rounds: Annotated[int, typer.Option(min=3, help="Times that every contender is measured.")] = 20,
    data: Annotated[Data, typer.Option(help="Which encoder's scores the data follow.")] = Data.ARCFACE,
    json_file: Annotated[Path | None, typer.Option("--json", help="File for all figures.")] = None,
) -> None:
    """Measure searches of the faiss gallery beside `faiss.IndexFlatIP`, on made-up embeddings."""
    console = Console()
    plan = Plan(persons=persons, probes=probes, rounds=rounds, profile=data.value)
    figures = measure_search(plan, report=lambda step: console.print(f"… {step}", style="dim"))
    console.print(search_table(figures))
    if json_file is not None:
        json_file.write_text(figures.as_json() + "\n", encoding="utf-8")


@app.command()
def embed(
    pack: Annotated[
        str | None, typer.Option(help="Name or directory of the pack; default: the one in the settings.")
    ] = None,
    portraits: Annotated[
        Path | None, typer.Option(help="Folder of portraits; default: rendered ones.", file_okay=False)
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="Portraits.")] = 32,
    rounds: Annotated[int, typer.Option(min=1, help="Times that each portrait is measured.")] = 10,
    json_file: Annotated[Path | None, typer.Option("--json", help="File for all figures.")] = None,
) -> None:
    """Measure how fast portraits become templates, beside insightface's way with the same models."""
    console = Console()
    plan = EmbedPlan(_pack_folder(pack), portraits, count, rounds)
    figures = measure_embed(plan, report=lambda step: console.print(f"… {step}", style="dim"))
    console.print(embed_table(figures))
    if json_file is not None:
        json_file.write_text(figures.as_json() + "\n", encoding="utf-8")


@app.command()
def checks(  # noqa: PLR0917 - typer passes them by name
    persons: Annotated[int, typer.Option(min=100, help="Persons enrolled.")] = 20_000,
    clients: Annotated[int, typer.Option(min=1, help="Clients that ask at once.")] = 8,
    seconds: Annotated[float, typer.Option(min=1, help="Length of each of the two phases.")] = 15.0,
    pack: Annotated[
        str | None, typer.Option(help="Name or directory of the pack; default: the one in the settings.")
    ] = None,
    portraits: Annotated[
        Path | None, typer.Option(help="Folder of portraits; default: rendered ones.", file_okay=False)
    ] = None,
    database: Annotated[
        str | None,
        typer.Option(help="Address of an empty PostgreSQL database; default: SQLite in a scratch folder."),
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="File for all figures.")] = None,
) -> None:
    """Measure whole checks over HTTP on a scratch installation, and where their time goes."""
    console = Console()
    plan = ChecksPlan(
        persons=persons,
        clients=clients,
        seconds=seconds,
        pack=_pack_folder(pack),
        portraits=portraits,
        database_url=database,
    )
    figures = measure_checks(plan, report=lambda step: console.print(f"… {step}", style="dim"))
    console.print(checks_table(figures))
    if json_file is not None:
        json_file.write_text(figures.as_json() + "\n", encoding="utf-8")


@app.command()
def desk(
    cases: Annotated[int, typer.Option(min=200, help="Open cases.")] = 50_000,
    rounds: Annotated[int, typer.Option(min=3, help="Times that every page is read.")] = 40,
    database: Annotated[
        str | None,
        typer.Option(help="Address of an empty PostgreSQL database; default: SQLite in a scratch folder."),
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="File for all figures.")] = None,
) -> None:
    """Measure the queue and the page of a case over HTTP, on a scratch installation full of open cases."""
    console = Console()
    plan = DeskPlan(cases=cases, rounds=rounds, database_url=database)
    figures = measure_desk(plan, report=lambda step: console.print(f"… {step}", style="dim"))
    console.print(desk_table(figures))
    if json_file is not None:
        json_file.write_text(figures.as_json() + "\n", encoding="utf-8")


def _pack_folder(pack: str | None) -> Path:
    settings = load_settings()
    return find_pack(settings if pack is None else settings.model_copy(update={"pack": pack}))


def desk_table(figures: DeskFigures) -> Table:
    """Lay the figures out for a terminal."""
    table = Table(title=f"The desk with {figures.cases:,} open cases, {figures.database}")
    for heading in ("", "median", "19 of 20 below"):
        table.add_column(heading, justify="left" if heading == "" else "right")
    portraits = f"… with its {figures.portraits_a_case:.1f} portraits, one after the other"
    for name, spread in (
        ("queue, first page", figures.queue),
        ("queue, next page", figures.later_page),
        ("queue of one county", figures.own_county),
        ("live refresh, nothing new", figures.unchanged),
        ("case", figures.case_page),
        (portraits, figures.case_with_portraits),
    ):
        table.add_row(name, f"{spread.median_ms:.1f} ms", f"{spread.p95_ms:.1f} ms")
    return table


def search_table(figures: SearchFigures) -> Table:
    """Lay the figures out for a terminal."""
    times, clients, load, differences = figures.times, figures.clients, figures.load, figures.differences
    table = Table(
        title=f"Search in {figures.persons:,} × {figures.dimension}, threshold {figures.threshold:.3f}"
    )
    for heading in ("", "IndexFlatIP", "best BLAS", "faiss gallery", "ratio"):
        table.add_column(heading, justify="left" if heading == "" else "right")
    rows = [
        ("one probe", f"{times.flat_ms:.2f} ms", "", f"{times.lone_ms:.2f} ms", f"{times.lone_ratio:.1f}"),
        (
            "… on one thread",
            "",
            "",
            f"{times.lone_one_thread_ms:.2f} ms",
            f"{times.lone_one_thread_ratio:.1f}",
        ),
        (
            "per probe, sixteen together",
            f"{times.flat_batch16_ms:.2f} ms",
            f"{times.flat_batch16_best_blas_ms:.2f} ms",
            f"{times.batch16_ms:.2f} ms",
            f"{times.batch16_ratio:.1f} · {times.batch16_best_blas_ratio:.1f}",
        ),
        (
            "sixteen clients (against one on one thread)",
            "",
            "",
            f"{clients.clients16_per_s:.0f}/s, p50 {clients.clients16_p50_ms:.1f}, "
            f"p99 {clients.clients16_p99_ms:.1f} ms",
            f"{clients.clients16_ratio:.2f}",
        ),
        (
            f"candidates of {differences.probes:,} probes",
            f"{differences.candidates:,}",
            "",
            f"{differences.missed} missed, {differences.extra} extra",
            f"score ± {differences.max_score_error:.0e}",
        ),
        ("memory per reference", "", "", f"{load.bytes_per_reference:,.0f} bytes", ""),
        ("load a generation", "", "", f"{load.load_s:.2f} s", ""),
        ("enrol · remove one", "", "", f"{load.enrol_ms:.2f} · {load.remove_ms:.2f} ms", ""),
    ]
    for row in rows:
        table.add_row(*row)
    return table
