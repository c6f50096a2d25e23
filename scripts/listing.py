"""Prints tables whole: ids, names and paths are there to be copied, so nothing of them is cut off."""

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

UNLIMITED = 100_000
"""Columns; more than any table has."""


def print_table(table: Table) -> None:
    """Print a table to stdout: folded to a terminal's width, else as wide as it is, for other programs.

    Args:
        table: Its columns' overflow is changed.
    """
    for column in table.columns:
        column.overflow = "fold"
    console = Console()
    if not console.is_terminal:
        unlimited = console.options.update(width=UNLIMITED)
        widest = Measurement.get(console, unlimited, table).maximum
        console = Console(width=max(console.width, widest))
    console.print(table)
