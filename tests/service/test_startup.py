"""What is put in order when the service starts."""

import os
from pathlib import Path

from service.settings import Settings
from service.startup import UNFINISHED_S, drop_unfinished_exports


def test_workbooks_of_a_killed_process_are_removed_and_those_being_written_stay(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    for name, age_s in (("left", UNFINISHED_S + 10), ("now", 10.0)):
        folder = settings.exports_dir / name
        folder.mkdir(parents=True)
        (folder / "rows.xml").write_text("names")
        os.utime(folder, (1e9 - age_s, 1e9 - age_s))
    drop_unfinished_exports(settings, now_s=1e9)
    assert [path.name for path in settings.exports_dir.iterdir()] == ["now"]


def test_an_installation_without_exports_starts(tmp_path: Path) -> None:
    drop_unfinished_exports(Settings(data_dir=tmp_path))
