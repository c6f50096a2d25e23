"""Moves audit events that are past their retention into a signed file, leaving a stub in the chain."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from service.audit.archive_stubs import read_stubs, stub_code
from service.audit.chain import chain_end
from service.audit.export_files import Written, manifest_path, write_manifest, write_records
from service.audit.findings import Findings, Progress
from service.audit.keys import AuditKey, KeyRing
from service.audit.links import Links, key_after
from service.audit.records import Record, read_records
from service.audit.service import Acting, AuditKind, record
from service.database import Database
from service.errors import AuditDamagedError
from service.tables import AuditArchive, AuditEvent, now

SHORTEST_RETENTION_DAYS = 183
"""Six months: Cybersecurity Law of the People's Republic of China, article 21 (3)."""


def archive_old(
    database: Database,
    keys: KeyRing,
    folder: Path,
    *,
    retention_days: int,
    actor: Acting,
    progress: Progress = lambda _: None,
) -> Written | None:
    """Move the events that are older than their retention.

    Args:
        database: Where the log is.
        keys: The present and earlier keys.
        folder: Where the file goes; it is named after the numbers in it.
        retention_days: At least `SHORTEST_RETENTION_DAYS`.
        actor: Who archives.
        progress: Told after every batch.

    Returns:
        What was moved; None if nothing is that old.

    Raises:
        AuditDamagedError: These events were tampered with; they stay where they are, as evidence.
        AuditChainError: The chain's key is not known.
        OSError: The file exists already or cannot be written.
        ValueError: The retention is too short.
    """
    if retention_days < SHORTEST_RETENTION_DAYS:
        raise ValueError(f"audit events are kept for at least {SHORTEST_RETENTION_DAYS} days")
    with database.read() as session:
        begin = _begin(session, keys)
        last = _last_before(session, now() - timedelta(days=retention_days))
        if last is None:
            return None
        head, key = chain_end(session, keys)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = folder / f"audit-{begin[0]}-{last}.jsonl"
        if path.exists():
            raise FileExistsError(17, "there is such a file already", str(path))
        try:
            written = write_records(_checked(session, keys, begin, last), path, progress)
            write_manifest(path, written, key, chain=head.chain_id, archived=True)
        except BaseException:
            _drop(path)
            raise
    try:
        _replace(database, written, path, key, actor)
    except BaseException:
        _drop(path)
        raise
    return written


def _begin(session: Session, keys: KeyRing) -> tuple[int, str]:
    """Return the number of the first event in the database and the code before it."""
    stubs = read_stubs(session)
    if stubs:
        return stubs[-1].last + 1, stubs[-1].last_mac
    return 1, chain_end(session, keys)[0].chain_id


def _last_before(session: Session, cutoff: datetime) -> int | None:
    """Return the last of those at the begin that are all older; the newest event always stays."""
    newer = session.scalars(select(func.min(AuditEvent.id)).where(AuditEvent.at >= cutoff)).one()
    newest = session.scalars(select(func.max(AuditEvent.id))).one()
    stay = newer if newer is not None else newest
    if stay is None:
        return None
    return session.scalars(select(func.max(AuditEvent.id)).where(AuditEvent.id < stay)).one()


def _checked(session: Session, keys: KeyRing, begin: tuple[int, str], last: int) -> Iterator[Record]:
    """Read the events that go, and stop at the first damage."""
    findings = Findings()
    links = Links(findings, keys, following=begin[0], link=begin[1], key_tag=None, places=lambda _: [])
    for found in read_records(session, last=last):
        links.step(found)
        if not findings.intact:
            raise AuditDamagedError(f"Event {found.id} is damaged; nothing was archived.")
        yield found


def _replace(database: Database, written: Written, path: Path, key: AuditKey, actor: Acting) -> None:
    """Put a stub in the place of what was written."""
    stub = AuditArchive(
        first=written.first,
        last=written.last,
        previous_mac=written.previous_mac,
        last_mac=written.last_mac,
        file=path.name,
        file_sha256=written.sha256,
        archived_at=now(),
        key_tag=key.tag,
        next_key_tag=(key_after(written.last_record) if written.last_record else None) or key.tag,
    )
    stub.mac = stub_code(stub, key)
    with database.write() as session:
        session.add(stub)
        session.flush()  # Fails if another process has archived the same.
        session.execute(delete(AuditEvent).where(AuditEvent.id <= written.last))
        record(
            session,
            AuditKind.AUDIT_ARCHIVED,
            actor=actor,
            first=written.first,
            last=written.last,
            file=path.name,
            sha256=written.sha256,
        )


def _drop(path: Path) -> None:
    path.unlink(missing_ok=True)
    manifest_path(path).unlink(missing_ok=True)
