"""`oneperson doctor`: finds what is wrong, and only that."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, text

from index.pack import read_manifest
from index.snapshot import current
from service.auth.service import Actor
from service.database import Database
from service.encryption.vault import vault_of
from service.engine import open_engine
from service.galleries.keeper import gallery_place
from service.galleries.service import Galleries
from service.persons.enrolment import PortraitFile
from service.persons.schemas import RegistrationFields
from service.persons.service import Persons
from service.portrait_store import PortraitStore
from service.settings import Settings, load_settings
from service.stored_files import ORPHAN_AGE_S
from service.tables import Template
from tests.scripts.commands import Operator
from tests.synthetic import synthetic_portrait

CLIENT = Actor(kind="client", id=None, name="test")


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
    typist.set("gallery_backend", "exact")
    typist.set("threads", "1")
    return typist


@pytest.fixture
def settings(operator: Operator) -> Settings:
    return load_settings()


@pytest.fixture
def enrolled(settings: Settings, database: Database) -> PortraitStore:
    """Three flagged persons with a portrait each, and a generation written at a start."""
    settings.data_dir.mkdir(parents=True)
    store = PortraitStore(settings.portraits_dir, vault_of(database.info))
    engine = open_engine(settings)
    persons = Persons(database=database, engine=engine, store=store, settings=settings)
    for number in range(3):
        persons.store(
            f"P{number}",
            RegistrationFields(level_code="30"),
            [PortraitFile(synthetic_portrait(number), None)],
            actor=CLIENT,
        )
    Galleries(database=database, settings=settings, pack=engine.pack).open()
    engine.close()
    return store


def wrong(operator: Operator) -> dict[str, dict[str, Any]]:
    """Return the findings that are wrong, by part, and check that the exit code agrees."""
    done = operator.types("doctor", "--json")
    findings = json.loads(done.out)
    found = {finding["part"]: finding for finding in findings if not finding["ok"]}
    assert done.code == (1 if found else 0)
    assert all(finding["remedy"] for finding in found.values())
    return found


def test_a_fresh_installation_is_in_order(operator: Operator) -> None:
    assert wrong(operator) == {}


@pytest.mark.usefixtures("enrolled")
def test_an_installation_with_persons_is_in_order(operator: Operator) -> None:
    assert wrong(operator) == {}
    table = operator.types("doctor").out
    assert "gallery flagged" in table
    assert "WRONG" not in table


def test_settings_that_cannot_be_used_are_a_finding(operator: Operator) -> None:
    operator.set("no_such_setting", "1")
    assert wrong(operator).keys() == {"settings"}


def test_a_password_is_never_shown(operator: Operator) -> None:
    operator.set("database_url", "postgresql+psycopg://u:hidden-password@127.0.0.1:1/d")
    done = operator.types("doctor", "--json")
    assert "hidden-password" not in done.out + done.err


def test_an_altered_pack_is_found(operator: Operator, synthetic_pack_dir: Path, tmp_path: Path) -> None:
    copied = tmp_path / "copied"
    copied.mkdir()
    for file in synthetic_pack_dir.iterdir():
        (copied / file.name).write_bytes(file.read_bytes())
    with (copied / read_manifest(copied).encoder.file).open("ab") as model:
        model.write(b"\0")
    operator.set("pack", copied)
    assert wrong(operator).keys() == {"pack"}


def test_an_older_schema_is_found(operator: Operator, database: Database) -> None:
    with database.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    assert wrong(operator).keys() == {"schema"}


def test_too_many_threads_are_found(operator: Operator) -> None:
    operator.set("threads", "250")
    assert wrong(operator).keys() == {"threads"}


@pytest.mark.parametrize("why", ["", "the processor has no AVX2"])
def test_what_scans_galleries_is_told(operator: Operator, monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    """Slower is not wrong."""
    monkeypatch.setattr("service.examination.why_not", lambda: why)
    told = {finding["part"]: finding for finding in json.loads(operator.types("doctor", "--json").out)}
    assert told["scan"]["ok"]
    assert why in told["scan"]["detail"]
    assert told["scan"]["detail"].startswith("by FAISS" if why else "by machine code")


def test_a_portrait_without_template_is_found(
    operator: Operator, enrolled: PortraitStore, database: Database
) -> None:
    with database.write() as session:
        session.execute(delete(Template).where(Template.reference_id == 2))
    found = wrong(operator)
    assert found.keys() == {"gallery flagged"}
    assert "1 of 3" in found["gallery flagged"]["detail"]
    assert "rebuild" in found["gallery flagged"]["remedy"]


def test_a_damaged_generation_is_found(
    operator: Operator, enrolled: PortraitStore, settings: Settings
) -> None:
    manifest = read_manifest(Path(settings.pack))
    place = gallery_place(
        settings, "flagged", contract_id=manifest.contract_id, dimension=manifest.encoder.dimension
    )
    generation = current(place.directory)
    assert generation is not None
    largest = max(generation.iterdir(), key=lambda file: file.stat().st_size)
    largest.chmod(0o600)
    data = bytearray(largest.read_bytes())
    data[len(data) // 2] ^= 1
    largest.write_bytes(data)
    assert wrong(operator).keys() == {"gallery flagged"}


def test_a_lost_portrait_is_found(operator: Operator, enrolled: PortraitStore) -> None:
    enrolled.delete(sorted(enrolled.locations())[0])
    found = wrong(operator)
    assert found.keys() == {"portrait files"}
    assert found["portrait files"]["detail"].startswith("1 of 3")


def test_an_orphan_is_found_when_it_is_old_and_erased_when_asked(
    operator: Operator, enrolled: PortraitStore, database: Database
) -> None:
    orphan = enrolled.put(b"nobody's", owner="nobody")
    assert wrong(operator) == {}
    old = time.time() - ORPHAN_AGE_S - 60
    for location in enrolled.locations():
        os.utime(enrolled.directory / location, (old, old))
    assert wrong(operator).keys() == {"portrait records"}
    assert operator.types("doctor", "--erase-orphans").code == 0
    assert orphan not in enrolled.locations()
    assert len(enrolled.locations()) == 3
    assert wrong(operator) == {}


def test_a_generation_of_another_database_is_found(
    operator: Operator, enrolled: PortraitStore, database: Database
) -> None:
    with database.write() as session:
        session.execute(text("UPDATE gallery_heads SET position = 0"))
    assert wrong(operator).keys() == {"gallery flagged"}


def test_a_database_that_is_away_is_one_finding(operator: Operator, tmp_path: Path) -> None:
    operator.set("database_url", f"postgresql+psycopg://nobody@/nothing?host={tmp_path}")
    assert wrong(operator).keys() == {"database"}
