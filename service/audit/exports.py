"""Exports a period of the audit log, on record."""

from datetime import datetime
from pathlib import Path

from sqlalchemy import func, select

from service.audit.chain import chain_end
from service.audit.export_files import Written, file_format, write_manifest, write_records
from service.audit.findings import Progress
from service.audit.keys import KeyRing
from service.audit.records import read_records
from service.audit.service import Acting, AuditKind, record
from service.database import Database
from service.tables import AuditEvent


def export_period(
    database: Database,
    keys: KeyRing,
    path: Path,
    *,
    since: datetime,
    until: datetime,
    actor: Acting,
    progress: Progress = lambda _: None,
) -> Written:
    """Write the records of a period to a file, with a manifest beside it.

    The file holds every record from the first of the period to the last, also those in between that a clock
    set back dates outside it: only so the chain can be followed in the file.

    Args:
        database: Where the log is.
        keys: The present and earlier keys.
        path: A new file, .jsonl or .csv.
        since: Begin of the period.
        until: Its end, not included.
        actor: Who exports.
        progress: Told after every batch.

    Raises:
        InvalidRequestError: The ending is unknown.
        AuditChainError: The chain's key is not known.
        OSError: The file cannot be written.
    """
    file_format(path)
    with database.write() as session:
        head, key = chain_end(session, keys)
        within = (AuditEvent.at >= since, AuditEvent.at < until)
        first, last = session.execute(
            select(func.min(AuditEvent.id), func.max(AuditEvent.id)).where(*within)
        ).one()
        record(
            session,
            AuditKind.AUDIT_EXPORTED,
            actor=actor,
            since=since.isoformat(),
            until=until.isoformat(),
            file=path.name,
            first=first,
            last=last,
        )
    with database.read() as session:
        rows = read_records(session, first=first, last=last) if first is not None else iter(())
        written = write_records(rows, path, progress)
    period = {"since": since.isoformat(), "until": until.isoformat()}
    write_manifest(path, written, key, chain=head.chain_id, **period)
    return written
