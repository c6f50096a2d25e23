"""`oneperson key`: keys are made, changed and dropped, and nothing stored is lost on the way."""

import base64
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import select

from scripts.key import add
from scripts.storage import prepared_database
from service.audit import keys as audit_keys
from service.encryption import rotation
from service.encryption.keys import load_keys
from service.encryption.vault import vault_of
from service.portrait_store import PortraitStore, owner_of_person
from service.settings import Settings, load_settings
from service.tables import AuditEvent, Person, Portrait
from tests.scripts.commands import Operator
from tests.service.conftest import SQLITE_ONLY

pytestmark = SQLITE_ONLY

PICTURE = b"\xff\xd8\xff" + bytes(range(200))


@pytest.fixture
def operator(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    database_address: str,
) -> Operator:
    """Somebody who sets no key, so that the default file is made."""
    monkeypatch.chdir(tmp_path)
    for name in ("ONEPERSON_ENCRYPTION_KEYS", "ONEPERSON_AUDIT_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setattr(rotation, "REFRESH_S", 0.01)  # No other process has to notice anything.
    typist = Operator(monkeypatch, capsys)
    typist.set("data_dir", tmp_path / "var")
    typist.set("database_url", database_address)
    return typist


def store_portrait(settings: Settings) -> str:
    """Store a person with a portrait and return where it lies."""
    with prepared_database(settings) as database:
        store = PortraitStore(settings.portraits_dir, vault_of(database.info))
        location = store.put(PICTURE, owner=owner_of_person("P1"))
        with database.write() as session:
            person = Person(person_id="P1", level_code="30")
            session.add(person)
            session.flush()
            facts = {"sha256": "0" * 64, "format": "jpeg", "quality": {}, "marks": [], "landmarks": []}
            session.add(Portrait(person_key=person.key, location=location, **facts))
    return location


def stored_picture(settings: Settings) -> bytes:
    """Read the portrait as a process started now would."""
    with prepared_database(settings) as database, database.read() as session:
        location = session.scalars(select(Portrait.location)).one()
        return PortraitStore(settings.portraits_dir, vault_of(session)).get(
            location, owner=owner_of_person("P1")
        )


def listed(operator: Operator) -> list[tuple[str, bool]]:
    """Ids of the keys that are given or needed, and whether each is the current one."""
    done = operator.types("key", "list")
    assert done.code == 0, done.err
    found = re.findall(r"│ ([0-9a-f]{16}) │ +(current)? +│", done.out)
    return [(id_, mark == "current") for id_, mark in found]


def secrets_in(settings: Settings) -> list[str]:
    return re.findall(r"^[A-Za-z0-9+/]{43}=$", settings.default_key_file.read_text("utf-8"), re.M)


def recorded(settings: Settings) -> list[str]:
    with prepared_database(settings) as database, database.read() as session:
        events = session.scalars(
            select(AuditEvent).where(AuditEvent.kind == "key-rotated").order_by(AuditEvent.id)
        )
        return [f"{event.details['action']} {event.subject}" for event in events]


def test_a_new_key_is_the_only_thing_on_stdout_and_never_the_same(operator: Operator) -> None:
    first, second = operator.types("key", "new"), operator.types("key", "new")
    assert len(base64.b64decode(first.out.strip(), validate=True)) == 32
    assert first.out != second.out
    assert first.out.count("\n") == 1


def test_a_key_is_added_taken_into_use_and_the_old_one_dropped(operator: Operator) -> None:
    settings = load_settings()
    store_portrait(settings)
    ((old, is_current),) = listed(operator)
    assert is_current
    added = operator.types("key", "add")
    assert added.code == 0, added.err
    new = next(id_ for id_, _ in listed(operator) if id_ != old)
    assert new in added.out
    assert dict(listed(operator)) == {old: True, new: False}
    assert operator.types("key", "drop", old).code == 1
    rotated = operator.types("key", "rotate")
    assert rotated.code == 0, rotated.err
    assert dict(listed(operator)) == {old: False, new: True}
    assert stored_picture(settings) == PICTURE
    assert operator.types("key", "drop", new).code == 1
    unknown = operator.types("key", "drop", "0" * 16)
    assert (unknown.code, "oneperson key list" in unknown.err) == (1, True)
    dropped = operator.types("key", "drop", old)
    assert dropped.code == 0, dropped.err
    assert listed(operator) == [(new, True)]
    assert stored_picture(settings) == PICTURE
    assert settings.default_key_file.stat().st_mode & 0o777 == 0o600
    assert recorded(settings) == [f"added key:{new}", f"rotated key:{new}", f"dropped key:{old}"]


def test_no_command_prints_a_key_that_is_in_use(operator: Operator) -> None:
    settings = load_settings()
    said = [operator.types("key", *words) for words in (["list"], ["add"], ["rotate"], ["list"])]
    keys = secrets_in(settings)
    assert len(keys) == 2
    assert not [key for key in keys for done in said if key in done.out + done.err]


def test_ids_and_places_are_listed_whole(operator: Operator) -> None:
    done = operator.types("key", "list")
    assert str(load_settings().default_key_file) in done.out
    assert "…" not in done.out


def test_rotation_with_data_encrypts_files_anew(operator: Operator) -> None:
    settings = load_settings()
    path = settings.portraits_dir / store_portrait(settings)
    before = path.read_bytes()
    operator.types("key", "add")
    assert operator.types("key", "rotate").code == 0
    assert path.read_bytes() == before
    done = operator.types("key", "rotate", "--data")
    assert done.code == 0, done.err
    assert "anew" in done.out
    assert path.read_bytes() != before
    assert stored_picture(settings) == PICTURE


def test_keys_in_the_environment_are_changed_there_and_then_rotated(operator: Operator) -> None:
    first, second = operator.types("key", "new").out.strip(), operator.types("key", "new").out.strip()
    operator.set("encryption_keys", first)
    store_portrait(load_settings())
    refused = operator.types("key", "add")
    assert refused.code == 2
    assert "ONEPERSON_ENCRYPTION_KEYS" in refused.err
    assert operator.types("key", "drop", "0" * 16).code == 2
    operator.set("encryption_keys", f"{first},{second}")
    assert operator.types("key", "rotate").code == 0
    operator.set("encryption_keys", second)
    assert stored_picture(load_settings()) == PICTURE
    assert len(listed(operator)) == 1
    operator.set("encryption_keys", first)
    wrong = operator.types("key", "list")
    assert (wrong.code, wrong.err.count("\n")) == (2, 1)
    assert "wrong encryption key" in wrong.err
    assert first not in wrong.err


def test_a_key_is_chosen_by_its_id(operator: Operator) -> None:
    ((old, _),) = listed(operator)
    operator.types("key", "add")
    operator.types("key", "rotate")
    assert operator.types("key", "rotate", "--to", old).code == 0
    assert (old, True) in listed(operator)
    assert operator.types("key", "rotate", "--to", "0" * 16).code == 2


def test_keys_that_are_added_at_once_are_all_kept(operator: Operator) -> None:
    settings = load_settings()
    ((first, _),) = listed(operator)
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(add) for _ in range(4)]:
            done.result()
    assert len(listed(operator)) == 5
    with ThreadPoolExecutor(4) as pool:  # One is dropped while others come.
        others = [pool.submit(add) for _ in range(3)]
        assert operator.types("key", "rotate").code == 0
        assert operator.types("key", "drop", first).code == 0
        for done in others:
            done.result()
    assert len(secrets_in(settings)) == 7
    before = load_keys(settings)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _number: audit_keys.add_key(settings), range(4)))
    assert len(audit_keys.key_file(settings).read_text().split()) == 5
    assert load_keys(settings) == before
