"""A switch that cannot be taken over leaves the old pack at work, is told, and is done when it can be."""

import shutil
from pathlib import Path

from fastapi import FastAPI
from fastapi.testclient import TestClient

from index.pack import Pack, load_pack
from service import switching
from service.database import Database
from service.galleries.switches import announce
from service.settings import Settings
from tests.service.calls import portrait, post_check, put_person
from tests.service.conftest import SQLITE_ONLY
from tests.synthetic import make_synthetic_pack

pytestmark = SQLITE_ONLY


def make_other(directory: Path) -> Pack:
    make_synthetic_pack(directory)
    manifest = directory / "pack.toml"
    manifest.write_text(manifest.read_text(encoding="utf-8").replace("127.5", "126.5"), encoding="utf-8")
    return load_pack(directory)


def announced(database: Database, settings: Settings, pack: Pack, name: Path, before: Pack) -> None:
    with database.write() as session:
        announce(session, settings, pack, name=str(name), contract_before=before.contract_id)


def test_a_machine_without_the_pack_goes_on_with_the_old_one_until_it_is_there(
    client: TestClient,
    app: FastAPI,
    headers: dict[str, str],
    settings: Settings,
    database: Database,
    tmp_path: Path,
) -> None:
    put_person(client, headers, "P1", portrait(1))
    aside, place = tmp_path / "aside", tmp_path / "packs" / "other"
    before, other = app.state.engine.pack, make_other(aside)
    announced(database, settings, other, place, before)
    turning = switching.Switching(app)
    app.state.switching = turning
    assert turning.turn() is False
    assert "other" in app.state.readiness.examine().parts["pack"].detail
    check = post_check(client, headers, "T1", portrait(1, 1)).json()
    assert (check["contract_id"], check["outcome"]) == (before.contract_id, "candidates")
    shutil.copytree(aside, place)
    turning._not_before = 0.0
    turning.turn()
    check = post_check(client, headers, "T2", portrait(1, 1)).json()
    assert (check["contract_id"], check["outcome"]) == (other.contract_id, "candidates")
    assert turning.waiting == ""


def test_another_pack_under_the_announced_name_is_not_taken(
    client: TestClient,
    app: FastAPI,
    headers: dict[str, str],
    settings: Settings,
    database: Database,
    synthetic_pack_dir: Path,
    tmp_path: Path,
) -> None:
    put_person(client, headers, "P1", portrait(1))
    before, other = app.state.engine.pack, make_other(tmp_path / "other")
    announced(database, settings, other, synthetic_pack_dir, before)
    turning = switching.Switching(app)
    turning.turn()
    assert "put the same pack here" in turning.waiting
    check = post_check(client, headers, "T1", portrait(1, 1)).json()
    assert (check["contract_id"], check["outcome"]) == (before.contract_id, "candidates")
