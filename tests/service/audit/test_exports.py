"""What leaves the database can be verified outside it, and the chain goes on behind what was archived."""

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, text

from service.audit.anchors import AnchorFile
from service.audit.archives import archive_old
from service.audit.export_files import manifest_path, verify_file
from service.audit.exports import export_period
from service.audit.findings import Damage
from service.audit.keys import KeyRing, load_keys
from service.audit.verification import verify
from service.database import Database
from service.errors import AuditDamagedError
from service.settings import Settings
from service.tables import AuditEvent, now
from tests.service.audit.chains import OFFICER, SECRETS, record_some


@pytest.fixture
def keys() -> KeyRing:
    return load_keys(Settings())


@pytest.mark.parametrize("ending", ["jsonl", "csv"])
def test_an_export_is_verified_and_every_change_to_it_is_found(
    database: Database, keys: KeyRing, tmp_path: Path, ending: str
) -> None:
    record_some(database, 30)
    path = tmp_path / f"export.{ending}"
    day = timedelta(days=1)
    written = export_period(database, keys, path, since=now() - day, until=now() + day, actor=OFFICER)
    assert written.count == 31
    assert verify_file(path, keys).intact
    assert verify_file(path, KeyRing(SECRETS[:1], "sha256"), public_key=keys.current.public_key).intact
    assert not verify_file(path, KeyRing(SECRETS[:1], "sha256")).intact
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"case:7", b"case:8", 1))
    assert (Damage.CHANGED, 9) in {(each.damage, each.first) for each in verify_file(path, keys).named}
    path.write_bytes(b"".join(whole.splitlines(keepends=True)[:-1]))
    assert (Damage.TRUNCATED, 31) in {(each.damage, each.first) for each in verify_file(path, keys).named}
    path.write_bytes(whole)
    manifest = manifest_path(path)
    manifest.write_text(manifest.read_text().replace('"count": 31', '"count": 30'))
    assert not verify_file(path, keys).intact


def test_old_events_are_archived_and_the_rest_still_verifies(
    database: Database, keys: KeyRing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    anchors = AnchorFile(tmp_path / "anchors.jsonl", keys)
    with monkeypatch.context() as past:
        past.setattr("service.audit.chain.now", lambda: now() - timedelta(days=400))
        record_some(database, 20)
    anchors.append(database)
    record_some(database, 5)
    anchors.append(database)
    written = archive_old(database, keys, tmp_path / "archive", retention_days=200, actor=OFFICER)
    assert written is not None
    assert (written.first, written.last) == (1, 21)
    assert verify(database, keys, anchors).intact
    assert verify_file(tmp_path / "archive" / "audit-1-21.jsonl", keys).intact
    with database.read() as session:
        assert min(session.scalars(select(AuditEvent.id))) == 22
    assert archive_old(database, keys, tmp_path / "archive", retention_days=200, actor=OFFICER) is None
    with database.engine.begin() as connection:
        connection.execute(text("DELETE FROM audit_events WHERE id = 22"))
    (finding,) = verify(database, keys, anchors).named
    assert (finding.damage, finding.first, finding.last) == (Damage.REMOVED, 22, 22)
    with database.engine.begin() as connection:
        connection.execute(text("UPDATE audit_archives SET last_mac = 'x'"))
    assert Damage.ARCHIVE in {each.damage for each in verify(database, keys, anchors).named}


def test_damaged_events_are_not_archived(
    database: Database, keys: KeyRing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as past:
        past.setattr("service.audit.chain.now", lambda: now() - timedelta(days=400))
        record_some(database, 5)
    record_some(database, 1)
    with database.engine.begin() as connection:
        connection.execute(text("UPDATE audit_events SET actor = 'other' WHERE id = 3"))
    with pytest.raises(AuditDamagedError):
        archive_old(database, keys, tmp_path, retention_days=200, actor=OFFICER)
    assert not list(tmp_path.glob("audit-*"))
    with pytest.raises(ValueError, match="183"):
        archive_old(database, keys, tmp_path, retention_days=100, actor=OFFICER)
