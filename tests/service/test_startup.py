"""What is put in order when the service starts."""

import os
from pathlib import Path

from service.settings import Settings
from service.startup import UNFINISHED_S, drop_unfinished
from service.sweeps.pairs import sweeps_dir


def test_workbooks_of_a_killed_process_are_removed_and_those_being_written_stay(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    for name, age_s in (("left", UNFINISHED_S + 10), ("now", 10.0)):
        folder = settings.exports_dir / name
        folder.mkdir(parents=True)
        (folder / "rows.xml").write_text("names")
        os.utime(folder, (1e9 - age_s, 1e9 - age_s))
    drop_unfinished(settings, now_s=1e9)
    assert [path.name for path in settings.exports_dir.iterdir()] == ["now"]


def test_copies_of_galleries_that_a_killed_sweep_left_are_removed(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    frozen = sweeps_dir(settings) / "frozen-flagged"
    for name, age_s in (
        (".building-0123", 10.0),
        ("generation-00000001-0123abcd", UNFINISHED_S + 10),
        ("generation-00000002-0123abcd", 10.0),
    ):
        (frozen / name).mkdir(parents=True)
        os.utime(frozen / name, (1e9 - age_s, 1e9 - age_s))
    drop_unfinished(settings, now_s=1e9)
    assert [path.name for path in frozen.glob("*generation*")] == ["generation-00000002-0123abcd"]
    assert not list(frozen.glob(".building*"))


def test_an_installation_without_exports_starts(tmp_path: Path) -> None:
    drop_unfinished(Settings(data_dir=tmp_path))
