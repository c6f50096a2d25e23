"""`oneperson retention`, `doctor --mend`, `backup` and `restore`, as an operator types them."""

import os
import time
from pathlib import Path

import pytest
from sqlalchemy import select

from service.database import Database
from service.settings import load_settings
from service.stored_files import stores_of
from service.tables import AuditEvent
from tests.scripts.commands import Operator
from tests.service.conftest import SQLITE_ONLY

pytestmark = SQLITE_ONLY


@pytest.fixture
def operator(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    database_address: str,
    synthetic_pack_dir: Path,
) -> Operator:
    monkeypatch.chdir(tmp_path)
    typist = Operator(monkeypatch, capsys)
    typist.set("data_dir", tmp_path / "var")
    typist.set("database_url", database_address)
    typist.set("pack", synthetic_pack_dir)
    typist.set("threads", "1")
    return typist


def test_a_run_is_on_record_also_where_nothing_is_due(operator: Operator, database: Database) -> None:
    assert operator.types("retention", "due").out == "Nothing is past its time.\n"
    assert operator.types("retention", "run").out == "Nothing is past its time.\n"
    with database.read() as session:
        assert "retention-run" in session.scalars(select(AuditEvent.kind)).all()


def test_mend_deletes_old_files_of_nobody_from_every_store_on_record(
    operator: Operator, database: Database
) -> None:
    stores = stores_of(load_settings()).values()
    for store in stores:
        orphan = store.directory / "ab" / f"{'ab' * 16}.sealed"
        orphan.parent.mkdir(parents=True)
        orphan.write_bytes(b"nobody's")
        os.utime(orphan, (time.time() - 7200,) * 2)
    assert operator.types("doctor", "--deep").code == 1
    assert operator.types("doctor", "--mend").code == 0
    assert [store.locations() for store in stores] == [set(), set()]
    with database.read() as session:
        details = session.scalars(select(AuditEvent.details).where(AuditEvent.kind == "orphans-erased")).one()
    assert details == {"erased": {"portrait": 1, "evidence": 1}}


def test_what_is_refused_is_one_clear_line(operator: Operator, tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    made = operator.types("backup", str(backup))
    assert (made.code, made.out[:18]) == (0, "Wrote and verified")
    assert "exists already" in operator.types("backup", str(backup)).err
    checked = operator.types("restore", "--check", str(backup))
    assert (checked.code, checked.out[:19]) == (0, "The backup is whole")
    assert "not empty" in operator.types("restore", str(backup)).err
    backup.write_bytes(backup.read_bytes()[:-1])
    broken = operator.types("restore", "--check", str(backup))
    assert broken.code == 1
    assert "truncated" in broken.err
    assert "Traceback" not in broken.err
