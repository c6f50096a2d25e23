import re

import pytest
from rich.table import Table

from scripts.listing import print_table

LONG = "/srv/oneperson/" + "a-folder-with-a-long-name/" * 8 + "encryption.key"


def table() -> Table:
    made = Table("key", "given by")
    made.add_row("9899a2e6cd6ae66d", LONG)
    return made


def test_other_programs_get_every_row_on_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    print_table(table())
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "9899" in line]
    assert LONG in line


def test_a_terminal_gets_all_of_it_within_its_width(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("FORCE_COLOR", "1")  # Takes any output for a terminal.
    print_table(table())
    lines = re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out).splitlines()
    assert max(map(len, lines)) <= 60
    cells = [line.split("│")[2].strip() for line in lines if line.startswith("│")]
    assert "".join(cells) == LONG
