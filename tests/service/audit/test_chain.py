"""Events are numbered and chained in the order of their commits, whoever writes and however it ends."""

import threading
from pathlib import Path

import pytest
from sqlalchemy import func, insert, select, text

from service.audit.anchors import AnchorFile
from service.audit.chain import AuditChain, read_head, seal_with
from service.audit.keys import KeyRing, load_keys
from service.audit.opening import open_audit
from service.audit.service import AuditKind, record
from service.audit.verification import verify
from service.database import Database
from service.errors import AuditChainError
from service.settings import Settings
from service.tables import AuditEvent, AuditHead, now
from tests.service.audit.chains import OFFICER, SECRETS, record_some


def intact(database: Database, keys: KeyRing, folder: Path) -> bool:
    anchors = AnchorFile(folder / "anchors.jsonl", keys)
    anchors.append(database)
    return verify(database, keys, anchors).intact


@pytest.fixture
def keys() -> KeyRing:
    return load_keys(Settings())


def test_concurrent_writers_leave_no_gap(database: Database, keys: KeyRing, tmp_path: Path) -> None:
    def write(worker: int) -> None:
        for number in range(15):
            try:
                with database.write() as session:
                    record(session, AuditKind.CASE_VIEWED, actor=OFFICER, subject=f"case:{worker}-{number}")
                    if number % 5 == 4:
                        raise KeyError  # What is rolled back takes no number.
            except KeyError:
                pass

    threads = [threading.Thread(target=write, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as session:
        numbers = list(session.scalars(select(AuditEvent.id).order_by(AuditEvent.id)))
    assert numbers == list(range(1, 4 * 12 + 2))
    assert intact(database, keys, tmp_path)


def test_what_a_savepoint_took_back_is_not_recorded(database: Database) -> None:
    with database.write() as session:
        record(session, AuditKind.CASE_VIEWED, actor=OFFICER, subject="case:before")
        savepoint = session.begin_nested()
        record(session, AuditKind.CASE_VIEWED, actor=OFFICER, subject="case:within")
        savepoint.rollback()
        with session.begin_nested():
            record(session, AuditKind.CASE_VIEWED, actor=OFFICER, subject="case:after")
    with database.read() as session:
        subjects = session.scalars(select(AuditEvent.subject).where(AuditEvent.subject.is_not(None))).all()
    assert sorted(map(str, subjects)) == ["case:after", "case:before"]


def test_an_event_tells_who_why_and_in_which_request(database: Database) -> None:
    with database.write() as session:
        record(session, AuditKind.CASE_DECIDED, actor=OFFICER, subject="case:1", result="cleared", round=1)
    with database.read() as session:
        event = session.scalars(select(AuditEvent).where(AuditEvent.kind == "case-decided")).one()
    assert (event.actor, event.role, event.division_code) == ("zhang", "officer", "530100")
    assert (event.purpose, event.result, event.details) == ("case:1", "cleared", {"round": 1})


def test_events_of_an_earlier_version_are_chained_at_the_first_start(
    database: Database, keys: KeyRing, tmp_path: Path
) -> None:
    with database.engine.begin() as connection:
        old = {"at": now(), "kind": "case-viewed", "actor_kind": "officer", "actor": "li", "result": "done"}
        connection.execute(
            insert(AuditEvent), [{**old, "id": number, "details": {"n": 1}} for number in (2, 5, 9)]
        )
    with database.write() as session:
        AuditChain(keys).open(session)
    with database.read() as session:
        assert list(session.scalars(select(AuditEvent.id).order_by(AuditEvent.id))) == [1, 2, 3, 4]
        assert session.scalars(select(func.count()).select_from(AuditHead)).one() == 1
    record_some(database, 3)
    assert intact(database, keys, tmp_path)


def test_a_key_is_replaced_on_record_and_the_old_one_is_still_needed(
    database: Database, tmp_path: Path
) -> None:
    old, both = KeyRing(SECRETS[:1], "sha256"), KeyRing(SECRETS[::-1], "sha256")
    seal_with(database, AuditChain(old))
    record_some(database, 5)
    with database.write() as session:
        AuditChain(both).open(session)
    with database.write() as session:
        chain = AuditChain(old)
        with pytest.raises(AuditChainError):
            chain.open(session)
    seal_with(database, AuditChain(both))
    record_some(database, 5)
    assert intact(database, both, tmp_path)
    with database.read() as session:
        head = read_head(session)
    assert head is not None
    assert head.key_tag == both.current.tag
    anchors = AnchorFile(tmp_path / "anchors.jsonl", both)
    assert not verify(database, KeyRing(SECRETS[1:], "sha256"), anchors).intact


def test_what_cannot_be_recorded_is_not_done(database: Database) -> None:
    record_some(database, 1)
    with database.engine.begin() as connection:
        connection.execute(text("DELETE FROM audit_heads"))

    def work() -> None:
        with database.write() as session:
            session.execute(text("UPDATE audit_events SET result = 'x'"))
            record(session, AuditKind.CASE_VIEWED, actor=OFFICER)

    with pytest.raises(AuditChainError):
        work()
    with database.read() as session:
        assert "x" not in set(session.scalars(select(AuditEvent.result)))


def test_changed_settings_are_recorded_by_name_without_their_values(
    database: Database, settings: Settings
) -> None:
    def changes() -> list[dict[str, object]]:
        with database.read() as session:
            query = select(AuditEvent.details).where(AuditEvent.kind == "settings-changed")
            return list(session.scalars(query.order_by(AuditEvent.id)))

    settings.data_dir.mkdir()
    open_audit(database, settings, serving=True)
    open_audit(database, settings, serving=True)
    assert len(changes()) == 1
    changed = settings.model_copy(update={"pack": "another-pack"})
    open_audit(database, changed, serving=True)
    assert changes()[1]["changed"] == ["pack"]
    assert "another-pack" not in str(changes())
