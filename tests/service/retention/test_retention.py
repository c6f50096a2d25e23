"""What is past its time goes, what is not stays, and each erasure is on record."""

import os
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select

from index.pack import Pack, load_pack
from index.snapshot import current, generations, load_generation
from service.audit import chain
from service.audit.opening import open_audit
from service.audit.service import AuditKind, record
from service.auth.service import SYSTEM, Role
from service.database import Database
from service.encryption.generations import GenerationCipher
from service.encryption.vault import vault_of
from service.engine import Engine
from service.galleries.service import Galleries
from service.persons.enrolment import PortraitFile
from service.persons.schemas import RegistrationFields
from service.persons.service import Persons
from service.portrait_store import PortraitStore, owner_of_check
from service.retention import due
from service.retention import generations as generation_rules
from service.retention import service as rules
from service.retention.due import Cutoffs
from service.retention.generations import cut_changes, stale_generations
from service.retention.service import Retention
from service.settings import Settings
from service.stored_files import compare, damaged_files, erase_orphans, stores_of
from service.tables import (
    Appeal,
    Attachment,
    AuditEvent,
    Case,
    Check,
    Draft,
    GalleryChange,
    Notice,
    NoticeDelivery,
    PageSession,
    now,
)
from tests.service.galleries.filling import fill, unit_vectors
from tests.service.review.desk import add_case, officer
from tests.synthetic import synthetic_portrait


@pytest.fixture
def opened(database: Database, settings: Settings) -> Database:
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    open_audit(database, settings)
    return database


def put_case(database: Database, settings: Settings, *, closed_days: float | None) -> tuple[UUID, UUID]:
    """A case with a probe, a file that an opinion would name, one that none names, and a draft."""
    stores = stores_of(settings, vault_of(database.info))
    with database.write() as session:
        case = add_case(session)
        check = session.get_one(Check, case.check_id)
        check.probe_location = stores["portrait"].put(b"probe", owner=owner_of_check(check.transaction_id))
        check.probe_format, check.probe_landmarks = "jpeg", [[1.0, 2.0]]
        ended = None if closed_days is None else now() - timedelta(days=closed_days)
        case.closed_at, case.state = ended, "under_review" if ended is None else "cleared"
        who = officer(session)
        put_file(session, stores, case.id, who.id or uuid4())
        session.add(
            Draft(
                case_id=case.id, officer_id=who.id, content=b"x", saved_at=ended or now() - timedelta(days=99)
            )
        )
        return case.id, check.id


def put_file(session: Any, stores: Any, case_id: UUID, officer_id: UUID) -> None:
    attachment_id = uuid4()
    session.add(
        Attachment(
            id=attachment_id,
            case_id=case_id,
            officer_id=officer_id,
            name="a.pdf",
            media_type="application/pdf",
            size_bytes=1,
            sha256="0" * 64,
            location=stores["evidence"].put(b"file", owner=f"attachment:{attachment_id}"),
            created_at=now() - timedelta(days=9999),
        )
    )


def held(database: Database, case_id: UUID, check_id: UUID) -> tuple[bool, int, int]:
    """Whether the probe is held, and how many files and drafts."""
    with database.read() as session:
        files = select(func.count()).where(Attachment.case_id == case_id)
        drafts = select(func.count()).where(Draft.case_id == case_id)
        probe = session.get_one(Check, check_id).probe_location
        return probe is not None, session.scalar(files) or 0, session.scalar(drafts) or 0


def test_probes_files_and_drafts_go_after_their_time_and_not_before(
    opened: Database, settings: Settings
) -> None:
    still_open = put_case(opened, settings, closed_days=None)
    lately = put_case(opened, settings, closed_days=1)
    after_weeks = put_case(opened, settings, closed_days=10)
    after_months = put_case(opened, settings, closed_days=40)
    appealed = put_case(opened, settings, closed_days=4000)
    with opened.write() as session:
        session.add(
            Appeal(
                case_id=appealed[0],
                round=1,
                appellant="somebody",
                appealed_on=now().date(),
                grounds="…",
                recorded_by=officer(session, role=Role.SUPERVISOR).id,
            )
        )
    with opened.read() as session:
        found = due.overdue(session, Cutoffs.of(settings, now()))
    assert found == {"probes": 1, "files of no opinion": 2, "drafts": 2}
    assert Retention(opened, settings).run() == {"probes": 1, "files of no opinion": 2, "drafts": 2}
    assert held(opened, *still_open) == (True, 1, 1)
    assert held(opened, *lately) == (True, 1, 1)
    assert held(opened, *appealed) == (True, 1, 1)
    assert held(opened, *after_weeks) == (True, 0, 0)
    assert held(opened, *after_months) == (False, 0, 0)
    with opened.read() as session:
        kinds = session.scalars(select(AuditEvent.kind).where(AuditEvent.kind.like("%-erased"))).all()
        subject = session.scalar(select(AuditEvent.subject).where(AuditEvent.kind == "probe-erased"))
        stores = stores_of(settings)
        assert all(compare(session, store).missing == [] for store in stores.values())
    assert sorted(kinds) == ["evidence-erased", "evidence-erased", "probe-erased"]
    assert subject == f"check:{after_months[1]}"
    assert [len(store.locations()) for store in stores.values()] == [4, 3]
    assert Retention(opened, settings).run() == {}


def test_the_worker_lets_a_service_start_first_and_then_works_by_itself(
    opened: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = put_case(opened, settings, closed_days=40)
    assert Retention(opened, settings).turn() is False
    assert held(opened, *case)[0]
    assert settings.erasures_file.exists()  # A restoration can tell an empty list from a lost one.
    monkeypatch.setattr(rules, "FIRST_S", 0.0)
    monkeypatch.setattr(rules, "BATCH", 1)
    retention = Retention(opened, settings)
    assert retention.turn() is True
    assert retention.turn() is False
    assert not held(opened, *case)[0]


def test_files_of_opinions_go_with_the_retention_of_their_case(opened: Database, settings: Settings) -> None:
    shorter = settings.model_copy(update={"draft_days": 300.0, "evidence_days": 100.0, "probe_days": 3650.0})
    young, old = (put_case(opened, settings, closed_days=days) for days in (99, 101))
    assert Retention(opened, shorter).run() == {"evidence files": 1}
    assert (held(opened, *young)[1], held(opened, *old)[1]) == (1, 0)


def test_delivered_webhooks_and_ended_sessions_are_forgotten(opened: Database, settings: Settings) -> None:
    long_ago = now() - timedelta(days=200)
    with opened.write() as session:
        who = officer(session)
        for ended in (long_ago, now() + timedelta(hours=1)):
            session.add(
                PageSession(
                    token_hash=uuid4().hex,
                    officer_id=who.id,
                    stage="full",
                    method="password",
                    address="127.0.0.1",
                    csrf_token="c",
                    expires_at=ended,
                )
            )
        for lane, states in {"a": ["delivered", "delivered"], "b": ["dead", "delivered"]}.items():
            for state in states:
                notice = Notice(kind="release", recipient="x", case_id=uuid4(), due_at=now())
                session.add(notice)
                session.flush()
                session.add(
                    NoticeDelivery(
                        sequence=notice.sequence,
                        target="t",
                        lane=lane,
                        state=state,
                        give_up_at=long_ago,
                        settled_at=long_ago,
                    )
                )
    assert Retention(opened, settings).run() == {"deliveries": 2}
    with opened.read() as session:
        left = session.execute(select(NoticeDelivery.lane, NoticeDelivery.state)).all()
        assert sorted(map(tuple, left)) == [
            ("b", "dead"),
            ("b", "delivered"),
        ]  # A dead one must see who overtook it.
        assert session.scalar(select(func.count()).select_from(PageSession)) == 1
        assert session.scalar(select(func.count()).select_from(Notice)) == 4


@pytest.fixture
def pack(synthetic_pack_dir: Path) -> Pack:
    return load_pack(synthetic_pack_dir)


@pytest.fixture
def engine(pack: Pack) -> Iterator[Engine]:
    engine = Engine(pack, threads=1, queue_limit=8)
    yield engine
    engine.close()


def test_templates_of_erased_persons_leave_every_generation(
    opened: Database, settings: Settings, engine: Engine
) -> None:
    store = PortraitStore(settings.portraits_dir, vault_of(opened.info))
    persons = Persons(database=opened, engine=engine, store=store, settings=settings)
    fields = RegistrationFields(level_code="30")
    for at in range(3):
        persons.store(f"P{at}", fields, [PortraitFile(synthetic_portrait(at))], actor=SYSTEM)
    galleries = Galleries(database=opened, settings=settings, pack=engine.pack)
    galleries.open()
    folder = galleries.place("flagged").directory
    before = current(folder)
    retention = Retention(opened, settings)
    assert "generations" not in retention.run()
    persons.erase("P1", actor=SYSTEM)
    with opened.read() as session:
        assert [one.references for one in stale_generations(session, settings)] == [1]
    assert retention.run() == {"generations": 1}
    after = current(folder)
    assert after != before
    assert generations(folder) == [after]
    with opened.read() as session:
        cipher = GenerationCipher(vault_of(session), f"flagged:{engine.pack.contract_id}")
        assert list(stale_generations(session, settings)) == []
    assert after is not None
    references, _ = load_generation(after, contract_id=engine.pack.contract_id, cipher=cipher)
    assert len(references) == 2
    galleries.catch_up()  # What runs already goes on with the generation that it has read.
    assert len(galleries._keepers["flagged"].gallery) == 2
    again = Galleries(database=opened, settings=settings, pack=engine.pack)
    again.open()
    assert again._keepers["flagged"].generation == after.name


def test_changes_that_every_generation_has_passed_are_cut(
    opened: Database, settings: Settings, pack: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generation_rules, "CHANGES_KEPT", 5)
    fill(opened, unit_vectors(20, pack.dimension), contract_id=pack.contract_id)
    galleries = Galleries(database=opened, settings=settings, pack=pack)
    galleries.open()  # A generation at position 20.
    fill(opened, unit_vectors(10, pack.dimension, seed=1), contract_id=pack.contract_id, prefix="Q")
    with opened.write() as session:
        assert cut_changes(session, settings) == 20
    with opened.read() as session:
        assert session.scalar(select(func.min(GalleryChange.position))) == 21
    again = Galleries(database=opened, settings=settings, pack=pack)
    again.open()
    assert len(again._keepers["flagged"].gallery) == 30
    galleries.catch_up()
    assert galleries._keepers["flagged"].position == 30


def test_old_audit_events_are_archived_where_the_settings_say_so(
    database: Database, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as then:
        then.setattr(chain, "now", lambda: now() - timedelta(days=2000))
        open_audit(database, settings)
    with database.write() as session:
        record(session, AuditKind.AUDIT_VIEWED, actor=SYSTEM)
    assert Retention(database, settings).run() == {}
    with database.read() as session:
        assert due.overdue(session, Cutoffs.of(settings, now())) == {"audit events": 1}
    archiving = settings.model_copy(update={"audit_archive_dir": tmp_path / "archive"})
    assert Retention(database, archiving).run() == {"audit events": 1}
    assert (tmp_path / "archive" / "audit-1-1.jsonl").exists()


def test_orphans_and_lost_and_damaged_files_are_found_in_every_store(
    opened: Database, settings: Settings
) -> None:
    put_case(opened, settings, closed_days=None)
    put_case(opened, settings, closed_days=None)
    vault = vault_of(opened.info)
    stores = stores_of(settings, vault)
    old = time.time() - 7200
    for store in stores.values():
        first, second = sorted(store.locations())
        store.delete(first)
        place = store.directory / second
        content = place.read_bytes()
        place.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        orphan, fresh = store.put(b"nobody's", owner="nobody"), store.put(b"on its way", owner="nobody")
        os.utime(store.directory / orphan, (old, old))
        with opened.read() as session:
            found = compare(session, store)
        assert (found.recorded, found.missing, found.orphans) == (2, [first], [orphan])
        assert fresh in store.locations()
    assert len(list(damaged_files(opened, settings, vault))) == 2
    assert erase_orphans(opened, settings) == {"portrait": 1, "evidence": 1}
    with opened.read() as session:
        assert all(compare(session, store).orphans == [] for store in stores.values())
        assert session.scalar(select(func.count()).select_from(Case)) == 2
