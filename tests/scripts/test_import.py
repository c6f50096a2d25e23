import csv
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import typer
from sqlalchemy import func, select
from sqlalchemy.orm import Session
from typer.testing import CliRunner, Result

import scripts.import_run
from scripts.import_ import import_file
from scripts.import_rows import COLUMNS
from service.database import Database
from service.settings import load_settings
from service.tables import AuditEvent, GalleryChange, Person, Portrait, Template
from tests.synthetic import synthetic_portrait

APP = typer.Typer()
APP.command()(import_file)

Rows = list[dict[str, str]]


@pytest.fixture
def home(tmp_path: Path, synthetic_pack_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty place to work in, with settings of its own and a folder of ten persons' portraits."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("ONEPERSON_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ONEPERSON_DATA_DIR", str(tmp_path / "var"))
    monkeypatch.setenv("ONEPERSON_PACK", str(synthetic_pack_dir))
    monkeypatch.setenv("ONEPERSON_THREADS", "2")
    folder = tmp_path / "portraits"
    folder.mkdir()
    for person in range(10):
        (folder / f"{person}.jpg").write_bytes(synthetic_portrait(person))
    return tmp_path


def row(person: int, **changes: str) -> dict[str, str]:
    empty = dict.fromkeys(COLUMNS, "")
    return (
        empty
        | {
            "person_id": f"P-{person}",
            "name": f"示例{person}",
            "level_code": "30",
            "portrait": f"{person}.jpg",
        }
        | changes
    )


def write(home: Path, rows: Rows, encoding: str = "utf-8") -> Path:
    path = home / "rows.csv"
    with path.open("w", newline="", encoding=encoding) as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def run(home: Path, rows: Rows, *options: str, encoding: str = "utf-8") -> Result:
    path = write(home, rows, encoding)
    report = str(home / "report.csv")
    arguments = [str(path), "--portraits", str(home / "portraits"), "--report", report, *options]
    return CliRunner().invoke(APP, arguments)


def report(home: Path) -> Rows:
    with (home / "report.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@contextmanager
def reading() -> Iterator[Session]:
    database = Database(load_settings().database_address)
    with database.read() as session:
        yield session
    database.close()


def counts() -> dict[str, int]:
    """Count what is stored."""
    tables = (Person, Portrait, Template, GalleryChange)
    with reading() as session:
        return {
            table.__tablename__: session.scalar(select(func.count()).select_from(table)) or 0
            for table in tables
        }


def test_everything_taken_ends_with_0_and_an_empty_report(home: Path) -> None:
    result = run(home, [row(person) for person in range(10)])
    assert result.exit_code == 0, result.output
    assert counts() == {"persons": 10, "portraits": 10, "templates": 10, "gallery_changes": 10}
    assert report(home) == []
    with reading() as session:
        names = set(session.scalars(select(Person.name)))
        event = session.scalars(select(AuditEvent).where(AuditEvent.kind == "import-run")).one()
    assert names == {f"示例{person}" for person in range(10)}
    assert event.details["stored"] == 10


def test_gb18030_is_read_when_it_is_declared(home: Path) -> None:
    result = run(home, [row(1, name="𠮷·示例")], "--encoding", "gb18030", encoding="gb18030")
    assert result.exit_code == 0, result.output
    with reading() as session:
        assert session.scalars(select(Person.name)).one() == "𠮷·示例"


def test_utf8_declared_as_gb18030_is_warned_of(home: Path) -> None:
    assert "reads like UTF-8" in run(home, [row(1)], "--encoding", "gb18030").stderr


def test_records_not_taken_are_listed_and_the_others_stored(home: Path) -> None:
    (home / "portraits" / "broken.jpg").write_bytes(synthetic_portrait(5)[:2000])
    (home / "portraits" / "faceless.jpg").write_bytes(synthetic_portrait(5, faces=0))
    (home / "portraits" / "crowd.jpg").write_bytes(synthetic_portrait(5, faces=2))
    rows = [
        row(0),
        row(1, sex="male"),
        row(2, portrait="nowhere.jpg"),
        row(3, portrait="../rows.csv"),
        row(4, portrait="broken.jpg"),
        row(5, portrait="faceless.jpg"),
        row(6, portrait="crowd.jpg"),
        row(0, name="again"),
        row(7),
    ]
    result = run(home, rows)
    assert result.exit_code == 1, result.output
    listed = [(entry["line"], entry["person_id"], entry["field"]) for entry in report(home)]
    assert listed == [
        ("3", "P-1", "sex"),
        ("4", "P-2", "portrait"),
        ("5", "P-3", "portrait"),
        ("6", "P-4", "portrait"),
        ("7", "P-5", "portrait"),
        ("8", "P-6", "portrait"),
        ("9", "P-0", "person_id"),
    ]
    reasons = [entry["reason"] for entry in report(home)]
    assert reasons[1:3] == ["file-not-found", "outside-portraits"]
    assert all(entry["remedy"] for entry in report(home))
    assert counts()["persons"] == 2


def test_several_portraits_are_enrolled_and_a_bad_one_among_them_is_reported(home: Path) -> None:
    (home / "portraits" / "broken.jpg").write_bytes(b"no picture")
    (home / "portraits" / "faceless.jpg").write_bytes(synthetic_portrait(5, faces=0))
    (home / "portraits" / "later.jpg").write_bytes(synthetic_portrait(1, shot=1))
    result = run(home, [row(1, portrait="broken.jpg;1.jpg;none.jpg;later.jpg;faceless.jpg")])
    assert result.exit_code == 1
    assert counts()["portraits"] == 2
    assert [entry["reason"][:21] for entry in report(home)] == [
        "portrait 3 of 5: file",
        "portrait 1 of 5: unkn",
        "portrait 5 of 5: no-f",
    ]


def test_a_flagged_person_without_portrait_is_stored_and_reported(home: Path) -> None:
    result = run(home, [row(1, portrait="")])
    assert result.exit_code == 1
    assert counts()["persons"] == 1
    assert [entry["reason"] for entry in report(home)] == ["no-portrait"]
    assert run(home, [row(1, portrait="")]).exit_code == 1
    assert [entry["reason"] for entry in report(home)] == ["no-portrait"]


def test_a_person_who_is_not_flagged_is_stored_without_being_enrolled(home: Path) -> None:
    assert run(home, [row(1, level_code="10")]).exit_code == 0
    assert counts() == {"persons": 1, "portraits": 0, "templates": 0, "gallery_changes": 0}


def test_the_same_import_again_changes_nothing(home: Path) -> None:
    rows = [row(0), row(1, level_code="10"), row(2, portrait="")]
    run(home, rows)
    before = counts()
    result = run(home, rows)
    assert "unchanged since an earlier import" in result.output
    assert counts() == before
    with reading() as session:
        events = session.scalars(select(AuditEvent).where(AuditEvent.kind == "import-run")).all()
    assert [event.details["unchanged"] for event in events] == [0, 3]


@pytest.mark.parametrize(
    "change", [{"name": "示例改"}, {"portrait": "2.jpg"}, {"level_code": "10"}, {"birth_date": "1980-01-02"}]
)
def test_a_change_is_taken_when_it_is_imported_again(home: Path, change: dict[str, str]) -> None:
    run(home, [row(1)])
    assert run(home, [row(1, **change)]).exit_code == 0
    with reading() as session:
        person = session.scalars(select(Person)).one()
        events = session.scalars(select(AuditEvent).where(AuditEvent.kind == "person-stored")).all()
    assert len(events) == 2
    assert person.gallery == (None if "level_code" in change else "flagged")


def test_parents_numbers_are_taken_where_the_file_has_them(home: Path) -> None:
    parents = {"father_id_number": "11010519491231002X", "mother_id_number": "440524188001010014"}
    assert run(home, [row(1, **parents), row(2, **dict.fromkeys(parents, ""))]).exit_code == 0
    assert "unchanged" in run(home, [row(1, **parents)]).output
    with reading() as session:
        stored = session.execute(
            select(Person.father_id_number, Person.mother_id_number).order_by(Person.person_id)
        ).all()
    assert [tuple(numbers) for numbers in stored] == [tuple(parents.values()), (None, None)]
    assert run(home, [row(3, father_id_number="11010519491231002X")]).exit_code == 0
    assert run(home, [row(4, mother_id_number="110105194912310021")]).exit_code == 1
    assert [(entry["person_id"], entry["field"]) for entry in report(home)] == [("P-4", "mother_id_number")]


def test_an_empty_portrait_field_keeps_the_portraits_stored(home: Path) -> None:
    run(home, [row(1)])
    assert run(home, [row(1, portrait="", name="示例改")]).exit_code == 0
    assert counts()["portraits"] == 1


def test_more_records_than_a_batch_are_all_taken(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scripts.import_run, "BATCH_RECORDS", 3)
    assert run(home, [row(person) for person in range(10)]).exit_code == 0
    assert counts()["persons"] == 10


def test_large_portraits_close_a_batch_early(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scripts.import_run, "BATCH_BYTES", 1)
    assert run(home, [row(person) for person in range(10)]).exit_code == 0
    with reading() as session:
        moments = set(session.scalars(select(Person.created_at)))
    assert counts()["persons"] == len(moments) == 10


def test_the_summary_counts_the_quality_marks(home: Path) -> None:
    (home / "portraits" / "small.jpg").write_bytes(synthetic_portrait(3, size=(80, 100)))
    result = run(home, [row(1), row(3, portrait="small.jpg")])
    assert result.exit_code == 0
    assert "marked 'small-face'" in result.output


def test_unusable_input_ends_with_2_and_says_why(home: Path) -> None:
    path = write(home, [row(1)])
    runner = CliRunner()
    portraits = ["--portraits", str(home / "portraits")]
    assert runner.invoke(APP, [str(path), "--portraits", str(home / "nowhere")]).exit_code == 2
    assert runner.invoke(APP, [str(home / "none.csv"), *portraits]).exit_code == 2
    assert runner.invoke(APP, [str(path), *portraits, "--encoding", "latin-1"]).exit_code == 2
    path.write_text("person_id,name\nP-1,x\n", encoding="utf-8")
    result = runner.invoke(APP, [str(path), *portraits])
    assert result.exit_code == 2
    assert "missing" in result.stderr


def test_without_a_named_report_it_lies_under_the_data_folder(home: Path) -> None:
    path = write(home, [row(1, sex="x")])
    CliRunner().invoke(APP, [str(path), "--portraits", str(home / "portraits")])
    (written,) = (home / "var" / "imports").glob("rows-*-not-taken.csv")
    assert "sex" in written.read_text(encoding="utf-8")


def test_ctrl_c_finishes_the_batch_and_the_same_command_goes_on(home: Path) -> None:
    for copy in range(1600):
        (home / "portraits" / f"c{copy}.jpg").hardlink_to(home / "portraits" / f"{copy % 10}.jpg")
    rows = [row(copy, person_id=f"C-{copy}", portrait=f"c{copy}.jpg") for copy in range(1600)]
    path = write(home, rows)
    program = "import typer; from scripts.import_ import import_file; typer.run(import_file)"
    command = [sys.executable, "-c", program, str(path), "--portraits", str(home / "portraits")]
    running = subprocess.Popen(
        command, env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}, stderr=subprocess.PIPE
    )
    database = home / "var" / "oneperson.db"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and (not database.exists() or not _persons(database)):
        time.sleep(0.02)
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=60)
    assert running.returncode == 130, errors.decode()
    assert b"Run the same command again" in errors
    done = counts()["persons"]
    assert 0 < done < 1600
    assert done % 200 == 0
    shorter = rows[: done + 10]
    assert run(home, shorter).exit_code == 0
    with reading() as session:
        events = session.scalars(select(AuditEvent).where(AuditEvent.kind == "import-run")).all()
    assert [event.result for event in events] == ["interrupted", "done"]
    assert (events[1].details["unchanged"], events[1].details["stored"]) == (done, 10)


def _persons(database: Path) -> int:
    """Count without disturbing: the schema may not be there yet."""
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    try:
        found: int = connection.execute("SELECT count(*) FROM persons").fetchone()[0]
    except sqlite3.OperationalError:
        return 0
    finally:
        connection.close()
    return found
