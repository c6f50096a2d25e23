"""Lays out for a terminal what `oneperson benchmark` measured over portraits and checks."""

from rich.table import Table

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
