"""`oneperson rebuild` and `oneperson rollback`, as an operator types them."""

import csv
import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from index.pack import load_pack
from index.snapshot import current, generations
from scripts.installation import Installation
from scripts.storage import prepared_database
from service.database import Database
from service.encryption.templates import opened_template
from service.encryption.vault import vault_of
from service.galleries import rebuild
from service.galleries.keeper import gallery_place
from service.portrait_store import PortraitStore
from service.settings import load_settings
from service.tables import AuditEvent, Portrait, Template
from tests.scripts.commands import Operator
from tests.synthetic import make_synthetic_pack, synthetic_portrait

PERSONS = 5


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory, synthetic_pack_dir: Path) -> Path:
    """A data folder with a few enrolled persons, to copy."""
    folder = tmp_path_factory.mktemp("registry")
    (folder / "portraits").mkdir()
    rows = [
        {"person_id": f"P{person}", "level_code": "30", "portrait": f"{person}.jpg"}
        for person in range(PERSONS)
    ]
    for person in range(PERSONS):
        (folder / "portraits" / f"{person}.jpg").write_bytes(synthetic_portrait(person))
    installation = Installation(folder, pack=str(synthetic_pack_dir))
    installation.import_portraits(rows, folder / "portraits")
    return installation.data_dir


@pytest.fixture
def operator(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    registry: Path,
    synthetic_pack_dir: Path,
) -> Operator:
    shutil.copytree(registry, tmp_path / "var")
    monkeypatch.chdir(tmp_path)
    typist = Operator(monkeypatch, capsys)
    typist.set("data_dir", tmp_path / "var")
    typist.set("pack", synthetic_pack_dir)
    typist.set("threads", "2")
    return typist


@pytest.fixture
def database(operator: Operator) -> Iterator[Database]:
    with prepared_database(load_settings()) as prepared:
        yield prepared


@pytest.fixture
def other_pack(tmp_path: Path) -> Path:
    directory = make_synthetic_pack(tmp_path / "other-pack")
    manifest = directory / "pack.toml"
    manifest.write_text(manifest.read_text(encoding="utf-8").replace("127.5", "126.5"), encoding="utf-8")
    return directory


def folder_of(pack_dir: Path) -> Path:
    pack = load_pack(pack_dir)
    settings = load_settings()
    return gallery_place(
        settings, "flagged", contract_id=pack.contract_id, dimension=pack.dimension
    ).directory


def audited(database: Database) -> list[str]:
    with database.read() as session:
        return list(session.scalars(select(AuditEvent.kind).order_by(AuditEvent.id)))


def test_rebuild_switches_and_says_so(
    operator: Operator, database: Database, synthetic_pack_dir: Path
) -> None:
    done = operator.types("rebuild")
    assert done.code == 0, done.err
    active = current(folder_of(synthetic_pack_dir))
    assert active is not None
    assert f"flagged: {active.name} is current" in done.out
    assert "Encoded 0 portraits" in done.out
    assert audited(database)[-1] == "gallery-rebuilt"


def test_other_pack_is_encoded_beside_the_one_in_use(
    operator: Operator, database: Database, other_pack: Path, synthetic_pack_dir: Path
) -> None:
    done = operator.types("rebuild", "--pack", str(other_pack))
    assert done.code == 0, done.err
    assert f"Encoded {PERSONS} portraits, 0 could not be encoded." in done.out
    assert "ONEPERSON_PACK" in done.out
    assert current(folder_of(other_pack)) is not None
    assert current(folder_of(synthetic_pack_dir)) is None
    with database.read() as session:
        assert len(session.scalars(select(Template)).all()) == 2 * PERSONS


def test_generation_can_be_made_without_switching(operator: Operator, synthetic_pack_dir: Path) -> None:
    operator.types("rebuild")
    active = current(folder_of(synthetic_pack_dir))
    done = operator.types("rebuild", "--no-activate")
    assert done.code == 0, done.err
    assert "not switched to" in done.out
    assert current(folder_of(synthetic_pack_dir)) == active
    assert len(generations(folder_of(synthetic_pack_dir))) == 2


def test_portraits_that_cannot_be_encoded_are_reported_and_nothing_is_switched(
    operator: Operator, database: Database, other_pack: Path, tmp_path: Path
) -> None:
    store = PortraitStore(load_settings().portraits_dir)
    with database.read() as session:
        lost = session.scalars(select(Portrait).order_by(Portrait.reference_id)).all()[1]
    store.delete(lost.location)
    report = tmp_path / "report.csv"
    done = operator.types("rebuild", "--pack", str(other_pack), "--report", str(report))
    assert done.code == 1
    assert "Not switched" in done.err
    with report.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["person_id"], row["reference_id"]) for row in rows] == [("P1", str(lost.reference_id))]
    assert rows[0]["reason"]
    assert current(folder_of(other_pack)) is None
    shown = operator.types("rebuild", "--pack", str(other_pack))
    assert shown.code == 1
    assert "P1" in shown.out


def opened(session: Session) -> dict[int, bytes]:
    vault = vault_of(session)
    return {
        row.reference_id: opened_template(vault, row.reference_id, row.contract_id, row.vector)
        for row in session.scalars(select(Template))
    }


def test_damaged_templates_are_made_again(operator: Operator, database: Database) -> None:
    with database.write() as session:
        rows = session.scalars(select(Template).order_by(Template.reference_id)).all()
        whole = opened(session)
        rows[0].vector = rows[0].vector[:-3]
        rows[1].vector = bytes(len(rows[1].vector))
    done = operator.types("rebuild")
    assert done.code == 0, done.err
    assert "Encoded 2 portraits" in done.out
    with database.read() as session:
        assert opened(session) == whole


def test_ctrl_c_keeps_what_is_done_and_the_same_command_goes_on(
    operator: Operator, database: Database, other_pack: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuild, "BATCH", 2)
    store = rebuild._store
    stored = 0

    def interrupted(*arguments: object) -> None:
        nonlocal stored
        store(*arguments)  # type: ignore[arg-type]  # passed on as it came
        stored += 1
        if stored == 1:
            signal.pthread_kill(threading.get_ident(), signal.SIGINT)

    monkeypatch.setattr(rebuild, "_store", interrupted)
    done = operator.types("rebuild", "--pack", str(other_pack))
    assert done.code == 130
    assert "run the same command again" in done.out
    assert current(folder_of(other_pack)) is None
    again = operator.types("rebuild", "--pack", str(other_pack))
    assert again.code == 0, again.err
    assert f"Encoded {PERSONS - 2} portraits" in again.out


def test_rollback_goes_back_as_far_as_there_are_generations(
    operator: Operator, database: Database, synthetic_pack_dir: Path
) -> None:
    operator.types("rebuild")
    first = current(folder_of(synthetic_pack_dir))
    operator.types("rebuild")
    done = operator.types("rollback")
    assert done.code == 0, done.err
    assert "Running services take it over" in done.out
    assert current(folder_of(synthetic_pack_dir)) == first
    assert audited(database)[-1] == "gallery-rolled-back"
    nothing = operator.types("rollback")
    assert nothing.code == 1
    assert "no earlier generation" in nothing.out
    assert current(folder_of(synthetic_pack_dir)) == first


@pytest.mark.parametrize("command", ["rebuild", "rollback"])
def test_unknown_pack_is_told_with_its_remedy(operator: Operator, command: str) -> None:
    done = operator.types(command, "--pack", "no-such-pack")
    assert done.code != 0
    assert "oneperson pack" in done.err
    assert "Traceback" not in done.err
