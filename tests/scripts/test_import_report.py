import csv
from pathlib import Path

import pytest

from scripts.import_report import COLUMNS, Figures, Report
from scripts.import_rows import ImportFileError, Refusal
from service.persons.schemas import EnrolmentAnswer, PersonStored, PortraitAnswer


def answer(*portraits: PortraitAnswer) -> PersonStored:
    enrolment = EnrolmentAnswer(status="enrolled", gallery="flagged", references=1, reasons=[])
    return PersonStored(person_id="P-1", created=True, enrolment=enrolment, portraits=list(portraits))


def portrait(*, admitted: bool = True, marks: tuple[str, ...] = (), known: bool = False) -> PortraitAnswer:
    quality = {} if known else {"roll_deg": 1.0}
    return PortraitAnswer(
        index=0, sha256="0", admitted=admitted, reasons=[], marks=list(marks), quality=quality
    )


def test_reasons_are_on_disk_as_soon_as_they_are_added(tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.csv"
    with Report(path) as report:
        report.add([Refusal(3, "P-3", "sex", "not a code, or blank", "see GB/T 2261.1")])
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))
    assert rows == [list(COLUMNS), ["3", "P-3", "sex", "not a code, or blank", "see GB/T 2261.1"]]


@pytest.mark.parametrize("hostile", ["=1+1", "+1", "-1", "@x"])
def test_a_value_from_the_file_never_becomes_a_formula(tmp_path: Path, hostile: str) -> None:
    with Report(tmp_path / "report.csv") as report:
        report.add([Refusal(2, hostile, "", "x", "y")])
    assert f"2,'{hostile}," in (tmp_path / "report.csv").read_text(encoding="utf-8")


def test_a_report_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(ImportFileError, match="cannot be written"):
        Report(tmp_path)


def test_only_newly_encoded_portraits_are_counted() -> None:
    figures = Figures()
    figures.add_portraits(
        answer(
            portrait(marks=("dark", "turned")),
            portrait(marks=("dark",)),
            portrait(known=True),
            portrait(admitted=False, marks=("dark",)),
        )
    )
    assert figures.references == 2
    assert figures.marks == {"dark": 2, "turned": 1}


def test_all_is_taken_only_without_any_reason() -> None:
    assert Figures(stored=2, unchanged=1).all_taken
    assert not Figures(stored=2, refused=1).all_taken
    assert not Figures(stored=2, incomplete=1).all_taken
    assert Figures(stored=2, unchanged=3, refused=4).records == 9
