"""Erases what is past its time, in small transactions with their audit events; files go after the commit."""

import time
from collections.abc import Callable
from datetime import timedelta

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from service.audit.archives import archive_old
from service.audit.keys import load_keys
from service.audit.service import Acting, AuditKind, record
from service.auth.repository import delete_ended_sessions
from service.auth.service import SYSTEM
from service.clock import ClockWatch
from service.database import Database
from service.encryption.blobs import BlobStore
from service.erasures import Erasures
from service.errors import StorageUnavailableError
from service.file_stores import evidence_store, portrait_store
from service.retention import due
from service.retention.collections import purge_collections
from service.retention.due import Cutoffs
from service.retention.generations import cut_changes, purge
from service.review.attachments import forget_files
from service.settings import Settings
from service.tables import (
    Attachment,
    AuditEvent,
    Case,
    Check,
    Draft,
    KnownBrowser,
    LocalAccount,
    NoticeDelivery,
    now,
)
from service.workers import Worker

BATCH = 200
"""Rows of one transaction: another writer waits for some hundredths of a second at most."""

EVERY_S = 600.0
"""Seconds between two looks: what is due goes so much later at most."""

FIRST_S = 60.0
"""Seconds after a start before anything is looked for: first the service has to answer."""

ARCHIVE_AFTER = timedelta(days=30)
"""What the worker archives is at least a month of events, so that there is not one file for each day."""


class Retention:
    """One installation's rules of retention."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        *,
        actor: Acting = SYSTEM,
        clock: ClockWatch | None = None,
    ) -> None:
        """Work on this database and the folders that the settings name.

        Args:
            database: The truth.
            settings: Terms and folders.
            actor: Who erases.
            clock: Tells the worker whether the calendar can be believed; default: one that begins now.
        """
        self._clock = clock or ClockWatch()
        self._database = database
        self._settings = settings
        self._actor = actor
        self._erasures = Erasures(settings)
        self._portraits = portrait_store(settings)
        self._evidence = evidence_store(settings)
        self._next_at = time.monotonic() + FIRST_S
        self._purge_at = time.monotonic() + FIRST_S

    @property
    def worker(self) -> Worker:
        """What runs beside the requests."""
        return Worker("retention", self.turn, FIRST_S)

    def turn(self) -> bool:
        """Erase one batch of each kind, at times look at the generations; tell whether more is due."""
        self._erasures.prepare(self._database)
        at = time.monotonic()
        if not self._clock.is_believed() or at < self._next_at:
            return False
        full = any(count >= BATCH for count in self._batches().values())
        if full:
            return True
        self._next_at = at + EVERY_S
        if at >= self._purge_at:
            purge(self._database, self._settings)
            with self._database.write() as session:
                cut_changes(session, self._settings)
            self._archive(ARCHIVE_AFTER)
            purge_collections(self._database, self._settings)  # Last: a server that is away holds up nothing.
            self._purge_at = at + self._settings.generation_hours * 3600 / 2  # Twice within the time allowed.
        return False

    def run(self) -> dict[str, int]:
        """Erase everything that is past its time now, and return how much of what."""
        self._erasures.prepare(self._database)
        total: dict[str, int] = {}
        while True:
            counts = self._batches()
            for name, count in counts.items():
                total[name] = total.get(name, 0) + count
            if not any(count >= BATCH for count in counts.values()):
                break
        total["generations"] = purge(self._database, self._settings)
        total["generations"] += purge_collections(self._database, self._settings)
        with self._database.write() as session:
            total["gallery changes"] = cut_changes(session, self._settings)
        total["audit events"] = self._archive(timedelta(0))
        done = {name: count for name, count in total.items() if count}
        with self._database.write() as session:
            record(session, AuditKind.RETENTION_RUN, actor=self._actor, erased=done)
        return done

    def _batches(self) -> dict[str, int]:
        cutoffs = Cutoffs.of(self._settings, now())
        return {
            "probes": self._with_files(lambda s: self._probes(s, cutoffs), self._portraits),
            "evidence files": self._with_files(lambda s: self._cases(s, cutoffs), self._evidence),
            "files of no opinion": self._with_files(lambda s: self._loose(s, cutoffs), self._evidence),
            "drafts": self._rows(lambda s: _drafts(s, cutoffs)),
            "deliveries": self._rows(lambda s: _deliveries(s, cutoffs)),
            "sessions and codes": self._rows(lambda s: _access(s, cutoffs)),
        }

    def _with_files(self, erase: Callable[[Session], list[str]], store: BlobStore) -> int:
        with self._database.write() as session:
            locations = erase(session)
            if locations:
                store.require_present()  # What cannot be erased now must not count as erased.
        for location in locations:
            try:
                store.delete(location)
            except StorageUnavailableError:
                continue  # No row points to it any more: 'oneperson doctor --mend' finds it.
        return len(locations)

    def _rows(self, erase: Callable[[Session], int]) -> int:
        with self._database.write() as session:
            return erase(session)

    def _probes(self, session: Session, cutoffs: Cutoffs) -> list[str]:
        """Take the probes from their checks; a case that is reopened at this moment keeps its own."""
        is_due = due.due_probe(cutoffs.probes)
        rows = session.execute(
            select(Check.id, Check.transaction_id, Check.probe_location)
            .where(is_due)
            .order_by(Check.created_at, Check.id)
            .limit(BATCH)
            .with_for_update(skip_locked=True)
        ).all()
        locations: list[str] = []
        for check_id, transaction_id, location in rows:
            taken = (
                update(Check)
                .where(Check.id == check_id, is_due)
                .values(probe_location=None, probe_format=None, probe_landmarks=None)
                .returning(Check.id)
                .execution_options(synchronize_session=False)
            )
            if session.scalar(taken) is None or location is None:
                continue
            locations.append(location)
            record(
                session,
                AuditKind.PROBE_ERASED,
                actor=self._actor,
                subject=f"check:{check_id}",
                purpose=f"transaction:{transaction_id}",
            )
        return locations

    def _cases(self, session: Session, cutoffs: Cutoffs) -> list[str]:
        """Forget the files of cases; some cases at a time, whatever number of files they have."""
        query = due.due_cases_with_files(cutoffs.evidence).order_by(Case.closed_at, Case.id).limit(BATCH)
        locations: list[str] = []
        for case_id in session.scalars(query.with_for_update(of=Case, skip_locked=True)).all():
            found = forget_files(session, [case_id])
            locations += found
            record(
                session,
                AuditKind.EVIDENCE_ERASED,
                actor=self._actor,
                subject=f"case:{case_id}",
                files=len(found),
            )
        return locations

    def _loose(self, session: Session, cutoffs: Cutoffs) -> list[str]:
        doomed = select(Attachment.id).where(due.due_loose_file(cutoffs.drafts)).limit(BATCH)
        rows = session.execute(
            delete(Attachment)
            .where(Attachment.id.in_(doomed), Attachment.decision_id.is_(None))
            .returning(Attachment.id, Attachment.case_id, Attachment.location)
            .execution_options(synchronize_session=False)
        ).all()
        for attachment_id, case_id, _location in rows:
            record(
                session,
                AuditKind.EVIDENCE_ERASED,
                actor=self._actor,
                subject=f"attachment:{attachment_id}",
                purpose=f"case:{case_id}",
                files=1,
            )
        return [location for _id, _case, location in rows]

    def _archive(self, grace: timedelta) -> int:
        """Move old audit events into a file, if the settings say where to."""
        folder, days = self._settings.audit_archive_dir, self._settings.audit_retention_days
        if folder is None:
            return 0
        with self._database.read() as session:
            oldest = session.scalar(select(func.min(AuditEvent.at)))
        if oldest is None or oldest > now() - timedelta(days=days) - grace:
            return 0
        keys = load_keys(self._settings)
        written = archive_old(self._database, keys, folder, retention_days=days, actor=self._actor)
        return 0 if written is None else written.last - written.first + 1


def _drafts(session: Session, cutoffs: Cutoffs) -> int:
    rows = session.execute(
        delete(Draft)
        .where(due.due_draft(cutoffs.drafts))
        .returning(Draft.case_id)
        .execution_options(synchronize_session=False)
    ).all()
    return min(len(rows), BATCH - 1)  # All of them are gone: nothing more is due.


def _deliveries(session: Session, cutoffs: Cutoffs) -> int:
    """Oldest first, so that a lane is always cut from its beginning."""
    doomed = (
        select(NoticeDelivery.id)
        .where(due.due_delivery(cutoffs.deliveries))
        .order_by(NoticeDelivery.id)
        .limit(BATCH)
    )
    ids = session.scalars(doomed).all()
    session.execute(delete(NoticeDelivery).where(NoticeDelivery.id.in_(ids)))
    return len(ids)


def _access(session: Session, cutoffs: Cutoffs) -> int:
    """Forget sessions, browsers and codes that nobody can use any more."""
    delete_ended_sessions(session, at=cutoffs.sessions)
    session.execute(delete(KnownBrowser).where(KnownBrowser.expires_at < cutoffs.sessions))
    session.execute(
        update(LocalAccount)
        .where(LocalAccount.setup_expires_at < cutoffs.sessions)
        .values(setup_hash=None, setup_expires_at=None)
    )
    return 0
