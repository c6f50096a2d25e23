"""`oneperson report`: the months as files."""

from pathlib import Path

import openpyxl
import pytest

from service.database import Database
from tests.scripts.commands import Operator
from tests.service.conftest import SQLITE_ONLY
from tests.service.statistics.test_months import LAST, flag

pytestmark = SQLITE_ONLY


@pytest.fixture
def operator(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    database_address: str,
) -> Operator:
    monkeypatch.chdir(tmp_path)
    typist = Operator(monkeypatch, capsys)
    typist.set("data_dir", tmp_path / "var")
    typist.set("database_url", database_address)
    return typist


def test_a_month_is_written_closed_and_restated(
    operator: Operator, database: Database, tmp_path: Path
) -> None:
    flag(database, "P-1", "530102")
    book = tmp_path / "month.xlsx"
    done = operator.types("report", str(LAST), "--out", str(book), "--close")
    assert done.code == 0, done.err
    assert "closed version 1" in done.err.replace("\n", " ")
    sheet = openpyxl.load_workbook(book).active
    assert sheet is not None
    assert [cell.value for cell in sheet["A"]][5:8] == ["合计", "昆明市", "530102"]
    flag(database, "P-2", "530302")
    again = operator.types("report", str(LAST), "--out", str(tmp_path / "m.csv"), "--restate", "late")
    assert again.code == 0, again.err
    assert (tmp_path / "m.csv").read_bytes().startswith(b"\xef\xbb\xbf")
    assert operator.types("report", str(LAST), "--out", str(book), "--close").code != 0
    assert operator.types("report", "2026-13", "--out", str(book)).code != 0
    assert operator.types("report", str(LAST), "--out", str(tmp_path / "m.pdf")).code != 0
