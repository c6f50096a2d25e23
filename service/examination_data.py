"""Examines what an installation keeps: files, retention, erasures, backups."""

from collections.abc import Iterator
from datetime import timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from service.audit.kinds import AuditKind
from service.database import Database
from service.encryption.objects import Objects
from service.encryption.vault import vault_of
from service.erasures import ErasureListError, Erasures, unwritten
from service.file_stores import portrait_store
from service.findings import Finding
from service.retention.collections import stale_collections
from service.retention.due import Cutoffs, overdue
from service.retention.generations import stale_generations
from service.settings import Settings
from service.stored_files import NAMES, compare, damaged_files, stores_of
from service.tables import AuditEvent, Erasure, Portrait, now

GRACE = timedelta(days=1)
"""What is past its time by less is on its way: the service may just have been stopped for a while."""

BACKUP_EVERY = timedelta(days=7)
"""Longest time without a backup about which nothing is said."""

MOST_NAMED = 20
"""Owners named in a finding; the number tells of the others."""


def store_finding(settings: Settings) -> Finding:
    """Look at the bucket that files are kept in, if they are."""
    medium = portrait_store(settings).medium
    if not isinstance(medium, Objects):
        return Finding("file store", True, f"folders under {settings.data_dir}")
    keeps, remedy = medium.keeps_erased()
    return Finding("file store", not remedy, f"{medium.name}; {keeps}" if keeps else medium.name, remedy)


def file_findings(database: Database, settings: Settings) -> Iterator[Finding]:
    """Compare every store with the records."""
    for kind, store in stores_of(settings).items():
        with database.read() as session:
            found, name = compare(session, store), NAMES[kind]
        part = f"{kind} files"
        if found.missing:
            detail = f"{len(found.missing)} of {found.recorded} recorded {name} are not in the store"
            yield Finding(part, False, detail, f"restore the folder of {name} from a backup")
        else:
            yield Finding(part, True, f"all {found.recorded} recorded {name} are in the store")
        part = f"{kind} records"
        if found.orphans:
            detail = f"{len(found.orphans)} stored {name} belong to no record"
            yield Finding(part, False, detail, "run 'oneperson doctor --mend'")
        else:
            yield Finding(part, True, f"all stored {name} belong to a record")


def damage_finding(database: Database, settings: Settings) -> Finding:
    """Open every file."""
    damaged = list(damaged_files(database, settings, vault_of(database.info)))
    if damaged:
        named = ", ".join(damaged[:MOST_NAMED]) + (" …" if len(damaged) > MOST_NAMED else "")
        detail = f"{len(damaged)} files were altered or exchanged outside OnePerson: {named}"
        return Finding("file contents", False, detail, "find out who did it; restore them from a backup")
    return Finding("file contents", True, "every file can be opened and is its owner's")


def generation_finding(session: Session, settings: Settings) -> Finding:
    """Look for templates of erased persons in the generations on disk."""
    held = [one.references for one in stale_generations(session, settings)]
    held += [one.references for one in stale_collections(session, settings)]
    gone = sum(held)
    if not held:
        return Finding("erased templates", True, "no generation holds a template that was erased")
    detail = f"{len(held)} generations hold {gone} templates that were erased since"
    within = f"the service deletes them within {settings.generation_hours:g} hours"
    return Finding("erased templates", True, detail, f"{within}; 'oneperson retention run' does it now")


def retention_finding(session: Session, settings: Settings) -> Finding:
    """Count what should have been erased."""
    found = overdue(session, Cutoffs.of(settings, now(), grace=GRACE))
    audit = found.pop("audit events", 0)
    if found:
        detail = "past its time: " + ", ".join(f"{count} {name}" for name, count in found.items())
        return Finding("retention", False, detail, "run 'oneperson retention run', and let the service run")
    if audit:
        remedy = "run 'oneperson audit archive', or set ONEPERSON_AUDIT_ARCHIVE_DIR"
        return Finding("retention", True, f"{audit} audit events are past their retention", remedy)
    return Finding("retention", True, "nothing is kept past its time")


def erasure_finding(session: Session, settings: Settings) -> Finding:
    """Look whether the list of erasures outside the database is whole."""
    erasures, part = Erasures(settings), "erasure list"
    total, waiting = session.scalar(select(func.count()).select_from(Erasure)) or 0, unwritten(session)
    try:
        listed = len(erasures.read()) if erasures.path.exists() else None
    except ErasureListError as error:
        return Finding(part, False, str(error), "find out who did it; the audit log knows every erasure")
    if listed is None:
        if total == 0:
            return Finding(part, True, "nobody was erased yet; the list begins at the next start")
        return Finding(part, False, f"{erasures.path} is missing", "start the service: it writes it anew")
    if waiting:
        return Finding(part, False, f"{waiting} erasures are not on it yet", "look at the service's log")
    remedy = ""
    if settings.erasures is None:
        remedy = (
            "it lies beside the data it must outlive; set ONEPERSON_ERASURES to storage of another machine"
        )
    return Finding(part, True, f"{listed} erasures at {erasures.path}", remedy)


def backup_finding(session: Session) -> Finding:
    """Tell when the last backup was made; an installation without portraits needs none yet."""
    query = select(func.max(AuditEvent.at)).where(AuditEvent.kind == AuditKind.BACKUP_MADE)
    last = session.scalar(query)
    is_empty = session.scalar(select(Portrait.reference_id).limit(1)) is None
    if last is None:
        remedy = "" if is_empty else "plan 'oneperson backup', see docs/operations.md"
        return Finding("backup", True, "none was made with 'oneperson backup'", remedy)
    remedy = "make backups more often" if now() - last > BACKUP_EVERY else ""
    return Finding("backup", True, f"the last one was made {last:%Y-%m-%d %H:%M} UTC", remedy)
