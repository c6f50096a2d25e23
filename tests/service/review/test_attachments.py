"""Files of evidence: what is taken, who may read it when, and that nothing of it lies open."""

import io
import zipfile
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select

from service.auth.service import Actor, Role
from service.database import Database
from service.encryption.blobs import BlobStore
from service.encryption.vault import vault_of
from service.errors import CaseStateError, InvalidRequestError, NotFoundError
from service.review.attachments import (
    MOST_FILES,
    EvidenceFiles,
    NewFile,
    file_locations,
    forget_files,
)
from service.review.decisions import confirm, decide
from service.review.file_types import LONGEST_FILE_BYTES
from service.review.opinion import Evidence
from service.review.service import withdraw_case
from service.tables import Attachment, AuditEvent
from tests.service.conftest import SQLITE_ONLY
from tests.service.review.desk import DISAGREEING, POLICY, add_case, different, officer, opinion, same

PDF = b"%PDF-1.7\n% birth record of somebody\n"


def ofd(name: str = "OFD.xml") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, "<OFD/>")
    return file.getvalue()


@pytest.fixture
def store(database: Database, tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "evidence", vault_of(database.info), kind="evidence")


@pytest.fixture
def files(database: Database, store: BlobStore) -> EvidenceFiles:
    return EvidenceFiles(database, store)


def prepared(database: Database) -> tuple[UUID, Actor, Actor]:
    """A case and two officers."""
    with database.write() as session:
        return add_case(session).id, officer(session), officer(session, role=Role.SUPERVISOR)


@SQLITE_ONLY
@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (PDF, "application/pdf"),
        (b"\xff\xd8\xff\xe0 picture", "image/jpeg"),
        (b"\x89PNG\r\n\x1a\n picture", "image/png"),
        (ofd(), "application/ofd"),
    ],
)
def test_allowed_files_are_told_by_their_content(
    database: Database, files: EvidenceFiles, data: bytes, media_type: str
) -> None:
    case_id, zhang, _ = prepared(database)
    kept = files.attach(case_id, NewFile("../../etc/证明\n材料.exe", data), actor=zhang)
    assert (kept.media_type, kept.name, kept.size_bytes) == (media_type, "证明材料.exe", len(data))
    assert files.open(case_id, kept.id, actor=zhang).data == data


@SQLITE_ONLY
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html><script>alert(1)</script>",
        b"<svg xmlns='http://www.w3.org/2000/svg'/> %PDF-",
        b"MZ\x90\x00",
        ofd("word/document.xml"),
        b"PK\x03\x04 no archive",
        b"GIF89a",
        PDF + bytes(LONGEST_FILE_BYTES),
    ],
)
def test_other_files_are_refused_and_leave_nothing(
    database: Database, files: EvidenceFiles, store: BlobStore, data: bytes
) -> None:
    case_id, zhang, _ = prepared(database)
    with pytest.raises(InvalidRequestError) as raised:
        files.attach(case_id, NewFile("paper.pdf", data), actor=zhang)
    assert raised.value.extensions["errors"][0]["field"] == "content"
    assert store.locations() == set()


def test_a_second_officer_reads_the_first_ones_file_only_after_their_own_opinion(
    database: Database, files: EvidenceFiles
) -> None:
    case_id, zhang, wang = prepared(database)
    kept = files.attach(case_id, NewFile("dna.pdf", PDF), actor=zhang)
    with pytest.raises(NotFoundError):
        files.open(case_id, kept.id, actor=wang)
    evidence = (Evidence("dna", "Report 7", kept.id),)
    given = opinion(same("P-first", evidence=evidence), different("P-second"), cancel="P-first")
    with database.write() as session:
        decide(session, case_id, opinion=given, actor=zhang, policy=POLICY)
    with pytest.raises(NotFoundError):
        files.open(case_id, kept.id, actor=wang)
    assert files.open(case_id, kept.id, actor=zhang).data == PDF
    with database.write() as session:
        confirm(session, case_id, opinion=DISAGREEING, actor=wang, policy=POLICY)
    assert files.open(case_id, kept.id, actor=wang).name == "dna.pdf"
    with database.read() as session:
        kinds = session.execute(
            select(AuditEvent.kind, AuditEvent.actor, AuditEvent.purpose)
            .where(AuditEvent.subject == f"attachment:{kept.id}")
            .order_by(AuditEvent.id)
        ).all()
    of_case = f"case:{case_id}"
    assert [tuple(row) for row in kinds] == [
        ("evidence-added", zhang.name, of_case),
        ("evidence-viewed", zhang.name, of_case),
        ("evidence-viewed", wang.name, of_case),
    ]


def test_an_opinion_names_only_its_officers_own_unused_files_of_the_case(
    database: Database, files: EvidenceFiles
) -> None:
    case_id, zhang, wang = prepared(database)
    other_case, _, _ = prepared(database)
    kept = files.attach(case_id, NewFile("dna.pdf", PDF), actor=zhang)
    elsewhere = files.attach(other_case, NewFile("dna.pdf", PDF), actor=wang)
    for named, actor in ((kept.id, wang), (elsewhere.id, wang), (uuid4(), zhang)):
        evidence = (Evidence("dna", "Report 7", named),)
        given = opinion(same("P-first", evidence=evidence), different("P-second"), cancel="P-first")
        with pytest.raises(InvalidRequestError), database.write() as session:
            decide(session, case_id, opinion=given, actor=actor, policy=POLICY)
    twice = (Evidence("dna", "Report 7", kept.id), Evidence("document", "Copy", kept.id))
    given = opinion(same("P-first", evidence=twice), different("P-second"), cancel="P-first")
    with pytest.raises(InvalidRequestError), database.write() as session:
        decide(session, case_id, opinion=given, actor=zhang, policy=POLICY)


def test_files_can_be_removed_until_an_opinion_names_them(
    database: Database, files: EvidenceFiles, store: BlobStore
) -> None:
    case_id, zhang, wang = prepared(database)
    dropped, kept = (files.attach(case_id, NewFile("a.pdf", PDF), actor=zhang) for _ in range(2))
    with pytest.raises(NotFoundError):
        files.remove(case_id, dropped.id, actor=wang)
    files.remove(case_id, dropped.id, actor=zhang)
    evidence = (Evidence("dna", "Report 7", kept.id),)
    given = opinion(different("P-second"), same("P-first", evidence=evidence), cancel="P-first")
    with database.write() as session:
        decide(session, case_id, opinion=given, actor=zhang, policy=POLICY)
    with pytest.raises(NotFoundError):
        files.remove(case_id, kept.id, actor=zhang)
    assert store.locations() == {kept.location}


def test_files_go_when_their_cases_retention_ends(
    database: Database, files: EvidenceFiles, store: BlobStore
) -> None:
    case_id, zhang, _ = prepared(database)
    kept = files.attach(case_id, NewFile("a.pdf", PDF), actor=zhang)
    with database.write() as session:
        assert file_locations(session) == {kept.location: f"attachment:{kept.id}"}
        gone = forget_files(session, [case_id])
    assert gone == [kept.location]
    with database.read() as session:
        assert session.scalars(select(Attachment)).all() == []
    store.delete(kept.location)
    with pytest.raises(NotFoundError):
        files.open(case_id, kept.id, actor=zhang)


@SQLITE_ONLY
def test_closed_cases_and_too_many_files_are_refused(
    database: Database, files: EvidenceFiles, store: BlobStore
) -> None:
    case_id, zhang, _ = prepared(database)
    kept = files.attach(case_id, NewFile("a.pdf", PDF), actor=zhang)
    rows = [
        Attachment(
            case_id=case_id,
            officer_id=zhang.id,
            name="a",
            media_type="application/pdf",
            size_bytes=1,
            sha256="0" * 64,
            location=f"made-up/{number}",
        )
        for number in range(MOST_FILES - 1)
    ]
    with database.write() as session:
        session.add_all(rows)
    with pytest.raises(InvalidRequestError):
        files.attach(case_id, NewFile("a.pdf", PDF), actor=zhang)
    other, chen, _ = prepared(database)
    with database.write() as session:
        withdraw_case(session, other)
    with pytest.raises(CaseStateError):
        files.attach(other, NewFile("a.pdf", PDF), actor=chen)
    assert store.locations() == {kept.location}


@SQLITE_ONLY
def test_nothing_of_a_file_lies_open_on_the_disk(
    database: Database, files: EvidenceFiles, store: BlobStore
) -> None:
    case_id, zhang, _ = prepared(database)
    kept = files.attach(case_id, NewFile("a.pdf", PDF), actor=zhang)
    sealed = (store.directory / kept.location).read_bytes()
    assert b"birth record" not in sealed
    assert b"%PDF" not in sealed
