"""`oneperson link` and `oneperson calibrate`, on SQLite; their rules are tested on both databases."""

import csv
import json
import shutil
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import cv2
import numpy as np
import pytest
from pydantic import SecretStr
from sqlalchemy import select, update

from index.pack import load_pack
from scripts.calibrate import age_band
from scripts.storage import prepared_database
from service.database import Database
from service.settings import Settings
from service.tables import CalibrationRecord, Case, Person, Template
from tests.scripts.commands import Operator
from tests.service.galleries.filling import fill, unit_vectors

PERSONS = 260


@pytest.fixture
def database(tmp_path: Path, sqlite_template: Path) -> Iterator[Database]:
    """A migrated, empty SQLite database with its keys at hand."""
    shutil.copy(sqlite_template, tmp_path / "oneperson.db")
    address = f"sqlite:///{tmp_path / 'oneperson.db'}"
    with prepared_database(Settings(data_dir=tmp_path / "var", database_url=SecretStr(address))) as opened:
        yield opened


@pytest.fixture
def operator(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    synthetic_pack_dir: Path,
    database: Database,
) -> Operator:
    monkeypatch.chdir(tmp_path)
    typist = Operator(monkeypatch, capsys)
    typist.set("data_dir", tmp_path / "var")
    typist.set("database_url", str(database.engine.url))
    typist.set("pack", synthetic_pack_dir)
    pack = load_pack(synthetic_pack_dir)
    vectors = unit_vectors(PERSONS, pack.dimension)
    vectors[PERSONS - 1] = vectors[0]
    fill(database, vectors, contract_id=pack.contract_id)
    with database.write() as session:
        session.execute(update(Person).values(sex="1", ethnicity="07", division_code="530102"))
        session.execute(
            update(Person)
            .where(Person.key <= PERSONS // 2)
            .values(sex="2", ethnicity="01", birth_date=date(2000, 1, 1))
        )
    return typist


def test_link_lists_suspected_pairs_and_opens_their_cases_once(
    operator: Operator, database: Database, tmp_path: Path
) -> None:
    out = tmp_path / "pairs.csv"
    done = operator.types("link", "--threshold", "0.9", "--out", str(out))
    assert done.code == 0, done.err
    with out.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["person_id"], row["other_person_id"], row["case"]) for row in rows] == [
        ("P0", f"P{PERSONS - 1}", "opened")
    ]
    assert float(rows[0]["score"]) == 1.0
    with database.read() as session:
        assert [str(case.id) for case in session.scalars(select(Case))] == [rows[0]["case_id"]]
    assert operator.types("link", "--threshold", "0.9", "--out", str(out)).code == 0
    with out.open(encoding="utf-8") as file:
        assert [row["case"] for row in csv.DictReader(file)] == ["known"]
    assert not (tmp_path / "var" / "sweeps").exists()


def test_link_opens_no_case_when_told_so(operator: Operator, database: Database) -> None:
    done = operator.types("link", "--threshold", "0.9", "--no-cases")
    assert done.code == 0, done.err
    assert "1 suspected pairs; 0 cases opened" in done.out
    with database.read() as session:
        assert session.scalars(select(Case)).all() == []


def test_calibrate_stores_a_record_and_reports_subgroups_with_a_picture(
    operator: Operator, database: Database, tmp_path: Path
) -> None:
    done = operator.types("calibrate", "--report", str(tmp_path / "report"))
    assert done.code == 0, done.err
    document = json.loads((tmp_path / "report" / "calibration.json").read_text(encoding="utf-8"))
    flagged = document["galleries"]["flagged"]
    assert flagged["method"] == "measured"
    groups = {(group["attribute"], group["group"]): group["fpir"]["n"] for group in flagged["subgroups"]}
    assert groups[("sex", "male")] + groups[("sex", "female")] == PERSONS
    assert ("ethnicity", "07 Yi") in groups
    assert sum(n for (attribute, _group), n in groups.items() if attribute == "age") == PERSONS // 2
    picture = cv2.imread(str(tmp_path / "report" / "flagged.png"))
    assert picture is not None
    assert np.ptp(picture) > 200
    with database.read() as session:
        record = session.scalars(select(CalibrationRecord)).one()
    assert record.threshold == flagged["threshold"]


def test_calibrate_for_another_target_stores_nothing(operator: Operator, database: Database) -> None:
    done = operator.types("calibrate", "--target-fpir", "0.1")
    assert done.code == 0, done.err
    with database.read() as session:
        assert session.scalars(select(CalibrationRecord)).all() == []


def test_both_refuse_a_gallery_that_the_pack_has_not_encoded(operator: Operator, database: Database) -> None:
    with database.write() as session:
        session.execute(update(Template).values(contract_id="another-pack"))
    for command in ("link", "calibrate"):
        done = operator.types(command)
        assert done.code == 1
        assert "oneperson rebuild" in done.err or "rebuild again" in done.err


@pytest.mark.parametrize(
    ("birth_date", "band"),
    [
        (date(2026, 11, 24), "00-06"),
        (date(2019, 11, 24), "00-06"),
        (date(2019, 11, 23), "07-12"),
        (date(2008, 11, 23), "18-30"),
        (date(1950, 1, 1), "61+"),
    ],
)
def test_age_band_changes_on_the_birthday(birth_date: date, band: str) -> None:
    assert age_band(birth_date, date(2026, 11, 23)) == band
