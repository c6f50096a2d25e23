"""The scratch installation: its own folder and settings, and no process left behind."""

import csv
import signal
from pathlib import Path

import httpx
import pytest

from scripts.failures import CommandError
from scripts.installation import COLUMNS, STORAGE, Installation
from tests.synthetic import synthetic_portrait

pytestmark = pytest.mark.enable_socket


@pytest.fixture
def installation(tmp_path: Path, synthetic_pack_dir: Path) -> Installation:
    return Installation(tmp_path / "site", pack=str(synthetic_pack_dir), settings={"ONEPERSON_THREADS": "1"})


def test_import_file_has_all_columns_and_leaves_empty_what_is_not_told(installation: Installation) -> None:
    path = installation.write_rows([{"person_id": "P1", "level_code": "30"}])
    with path.open(encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert tuple(row) == COLUMNS
    assert {name for name, value in row.items() if value} == {"person_id", "level_code"}


def test_column_that_no_import_knows_is_a_mistake(installation: Installation) -> None:
    with pytest.raises(ValueError, match="nickname"):
        installation.write_rows([{"person_id": "P1", "nickname": "x"}])


def test_what_is_imported_is_served_and_found(installation: Installation, tmp_path: Path) -> None:
    (tmp_path / "1.jpg").write_bytes(synthetic_portrait(1))
    installation.import_portraits(
        [
            {"person_id": "P1", "level_code": "30", "portrait": "1.jpg"},
            {"person_id": "P2", "level_code": "30", "portrait": "missing.jpg"},
        ],
        tmp_path,
    )
    with installation.serving() as (address, key):
        headers = {"Authorization": f"Bearer {key}"}
        person = httpx.get(f"{address}/v1/persons/P1", headers=headers).json()
        assert person["enrolment"]["status"] == "enrolled"
        assert httpx.get(f"{address}/v1/persons/P2", headers=headers).status_code == 404
        assert httpx.get(f"{address}/v1/notices", headers=headers).status_code == 403
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{address}/healthz")


def test_process_is_stopped_in_good_order_or_killed(installation: Installation) -> None:
    service = installation.start()
    service.stop()
    assert service.process.returncode == 0
    again = installation.start()
    assert again.log != service.log
    again.kill()
    assert again.process.returncode == -signal.SIGKILL


def test_somebody_elses_database_is_never_touched(
    tmp_path: Path, synthetic_pack_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONEPERSON_DATABASE_URL", f"sqlite:///{tmp_path / 'real.db'}")
    monkeypatch.setenv("ONEPERSON_DATA_DIR", str(tmp_path / "real"))
    installation = Installation(tmp_path / "site", pack=str(synthetic_pack_dir))
    assert installation.add_client("persons").startswith("op_")
    assert (installation.data_dir / "oneperson.db").is_file()
    assert not (tmp_path / "real.db").exists()
    assert not (tmp_path / "real").exists()


def test_neither_keys_nor_anchors_nor_receivers_of_a_real_installation_are_touched(
    tmp_path: Path, synthetic_pack_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = tmp_path / "real"
    for name in sorted(STORAGE):
        monkeypatch.setenv(name, str(real / name))
    monkeypatch.delenv("ONEPERSON_ENCRYPTION_KEYS")
    monkeypatch.delenv("ONEPERSON_AUDIT_KEY")
    installation = Installation(tmp_path / "site", pack=str(synthetic_pack_dir))
    assert installation.run("key", "add").returncode == 0
    assert len(list(installation.data_dir.glob("*.key"))) == 2  # Of the encryption and of the audit log.
    assert not real.exists()


def test_commands_that_cannot_run_are_told_with_what_they_said(tmp_path: Path) -> None:
    installation = Installation(tmp_path / "site", pack="no-such-pack")
    with pytest.raises(CommandError, match="no-such-pack"):
        installation.import_portraits([], tmp_path)
    with pytest.raises(CommandError, match="no-such-pack"):
        installation.start()
    with pytest.raises(CommandError, match="no client could be added"):
        installation.add_client("no-such-scope")
