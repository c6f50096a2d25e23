"""Lays out for a terminal what `oneperson benchmark` measured over portraits and checks."""

from rich.table import Table

from scripts.benchmark_checks import ChecksFigures, Phase
from scripts.benchmark_embed import EmbedFigures


def embed_table(figures: EmbedFigures) -> Table:
    """Lay out portraits turned into templates."""
    table = Table(title=f"{figures.portraits} portraits, {figures.pack}", caption=figures.note or None)
    _headings(table, "one portrait", "OnePerson", "insightface", "ratio")
    theirs = figures.insightface
    for name, part in (
        ("decode", "decode_ms"),
        ("detect", "detect_ms"),
        ("quality", "quality_ms"),
        ("align and encode", "encode_ms"),
        ("together", "whole_ms"),
        ("together, processor time", "cpu_ms"),
    ):
        ours: float = getattr(figures.ours, part)
        peer: float | None = None if theirs is None else getattr(theirs, part)
        table.add_row(name, _ms(ours), _ms(peer), _times(peer and peer / ours if ours else None))
    table.add_row(
        "detect, align and encode",
        _ms(figures.ours.get_ms),
        _ms(None if theirs is None else theirs.get_ms),
        _times(figures.get_ratio),
    )
    table.add_row(
        "encoder alone",
        _ms(figures.encoder_ms),
        _ms(figures.insightface_encoder_ms),
        _times(figures.encoder_ratio),
    )
    table.add_row(
        f"{figures.callers} callers",
        _rate(figures.per_s),
        _rate(figures.insightface_per_s),
        _times(figures.all_cores_ratio),
    )
    found = "" if theirs is None else f"{theirs.faces:.2f}"
    table.add_row("faces found", f"{figures.ours.faces:.2f}", found, "")
    return table


PARTS = {
    "decode": "decode",
    "detect": "detect",
    "quality": "quality",
    "encode": "align and encode",
    "search": "search",
    "database": "database",
    "seal": "sealing",
    "files": "files",
    "chain": "audit chain",
    "wait": "waiting for a thread",
    "rest": "rest of the service",
}
"""Parts of a check as the service names them, in the order of the way."""


def checks_table(figures: ChecksFigures) -> Table:
    """Lay out whole checks over HTTP."""
    table = Table(title=f"Checks with {figures.persons:,} persons, {figures.database}, {figures.pack}")
    phases = (figures.lone, figures.together)
    _headings(table, "", "one client", f"{figures.together.clients} clients")
    table.add_row("checks a second", *(f"{phase.per_s:.1f}" for phase in phases))
    table.add_row("half below", *(_ms(phase.p50_ms) for phase in phases))
    table.add_row("99 of 100 below", *(_ms(phase.p99_ms) for phase in phases))
    table.add_row("processor time of one", *(_ms(phase.cpu_ms) for phase in phases))
    table.add_section()
    for part in sorted(_parts_of(phases), key=_place):
        name = PARTS.get(part, part)
        table.add_row(f"mean: {name}", *(_ms(phase.parts_ms.get(part, 0.0)) for phase in phases))
    table.add_row("mean: outside the service", *(_ms(phase.outside_ms) for phase in phases))
    return table


def _parts_of(phases: tuple[Phase, ...]) -> set[str]:
    return {part for phase in phases for part in phase.parts_ms}


def _place(part: str) -> tuple[int, str]:
    names = list(PARTS)
    return (names.index(part) if part in names else len(names), part)


def _headings(table: Table, first: str, *others: str) -> None:
    table.add_column(first)
    for heading in others:
        table.add_column(heading, justify="right")


def _ms(value: float | None) -> str:
    return "" if value is None else f"{value:.2f} ms"


def _rate(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}/s"


def _times(value: float | None) -> str:
    return "" if not value else f"{value:.2f}"
