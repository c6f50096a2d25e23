"""Verifies the whole audit log: the chain, its end, its archives and its anchors."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from service.audit.anchors import Anchor, AnchorFile, AnchorKind
from service.audit.archive_stubs import read_stubs, stub_code
from service.audit.chain import Head, read_head
from service.audit.findings import Damage, Findings, Progress
from service.audit.keys import KeyRing
from service.audit.links import Links
from service.audit.records import BATCH, read_records
from service.database import Database
from service.tables import AuditArchive, AuditEvent


@dataclass(frozen=True, slots=True)
class Start:
    """Where the chain in the database begins: at 1, or behind what was archived.

    Attributes:
        following: Number of the first record.
        link: The code before it; None if unknown.
        key_tag: Name of the key of the first record.
    """

    following: int
    link: str | None
    key_tag: str | None


def verify(
    database: Database, keys: KeyRing, anchors: AnchorFile, *, progress: Progress = lambda _: None
) -> Findings:
    """Look at every record; on a database in use as well, for everything is read in one view.

    Args:
        database: Where the log is.
        keys: The present and earlier keys.
        anchors: What was written down outside.
        progress: Told after every batch.

    Raises:
        DatabaseUnavailableError: The database is away, or its file damaged.
    """
    findings = Findings()
    with database.read() as session:
        head = read_head(session)
        if head is None:
            _without_head(session, findings)
        fixed = _Fixed(anchors, head, findings)
        start = _archives(session, head, keys, findings)
        fixed.at_archive(start)
        links = _walk(session, head, start=start, keys=keys, fixed=fixed, progress=progress)
        _compare_end(head, links)
        fixed.beyond(links.following - 1)
    return findings


def count_records(database: Database, since: datetime | None = None, until: datetime | None = None) -> int:
    """Count the events of a period, for the progress of work on them."""
    query = select(func.count()).select_from(AuditEvent)
    if since is not None:
        query = query.where(AuditEvent.at >= since)
    if until is not None:
        query = query.where(AuditEvent.at < until)
    with database.read() as session:
        return session.scalars(query).one()


def _without_head(session: Session, findings: Findings) -> None:
    if session.scalars(select(AuditEvent.id).limit(1)).first() is not None:
        findings.add(Damage.HEAD, 0, detail="the row that holds the end of the chain is gone or empty")


def _walk(
    session: Session,
    head: Head | None,
    *,
    start: Start,
    keys: KeyRing,
    fixed: "_Fixed",
    progress: Progress,
) -> Links:
    findings = fixed.findings

    def places(mac: str) -> list[int]:
        if not mac.isascii():
            return []  # Damaged itself; no other record carries it.
        # Only numbers are read: a damaged row must not stop the search for it.
        found = session.execute(text("SELECT id FROM audit_events WHERE mac = :mac"), {"mac": mac})
        return [int(row[0]) for row in found]

    links = Links(
        findings, keys, following=start.following, link=start.link, key_tag=start.key_tag, places=places
    )
    for record in read_records(session):
        follows = record.id == links.following and record.previous_mac == links.link
        if head is not None and record.id > head.sequence and not follows:
            links.foreign(record)
        elif links.step(record):
            fixed.compare(record.id, record.mac or "")
        if findings.records % BATCH == 0:
            progress(BATCH)
    progress(findings.records % BATCH)
    return links


def _compare_end(head: Head | None, links: Links) -> None:
    """Compare the end that was stored with the last record that was met."""
    if head is None:
        return
    last = links.following - 1
    if last < head.sequence:
        links.findings.add(Damage.TRUNCATED, last + 1, head.sequence, detail="the newest records are gone")
    elif last > head.sequence:
        links.findings.add(Damage.HEAD, last, detail=f"the end of the chain was set back to {head.sequence}")
    elif links.last_own is not None and head.mac != links.last_own.mac:
        links.findings.add(Damage.HEAD, last, detail="the end of the chain holds another code")
    elif links.key_tag is not None and head.key_tag != links.key_tag:
        links.findings.add(Damage.HEAD, last, detail="the end of the chain names another key")


def _archives(session: Session, head: Head | None, keys: KeyRing, findings: Findings) -> Start:
    """Check what stands for archived records, and tell where the rest begins."""
    chain_id = head.chain_id if head is not None else None
    start = Start(1, chain_id, None)
    for stub in read_stubs(session):
        key = keys.find(stub.key_tag)
        if key is None or stub_code(stub, key) != stub.mac:
            findings.add(Damage.ARCHIVE, stub.first, detail="its place in the chain was changed")
        elif stub.first != start.following or start.link not in (None, stub.previous_mac):
            findings.add(Damage.ARCHIVE, stub.first, detail="an archive before it is missing")
        start = _after(stub)
    return start


def _after(stub: AuditArchive) -> Start:
    return Start(stub.last + 1, stub.last_mac, stub.next_key_tag)


class _Fixed:
    """What the anchors fixed: the code that a record must have; one number and code for each is held."""

    def __init__(self, anchors: AnchorFile, head: Head | None, findings: Findings) -> None:
        self.findings = findings
        self._anchors: list[tuple[int, str, str]] = []
        self._next = 0
        chain = head.chain_id if head is not None else None
        try:
            for number, anchor in anchors.read():
                self._take(number, anchor, chain)
        except OSError:
            if head is not None:
                findings.add(Damage.ANCHORS_MISSING, 0, detail=f"{anchors.path} cannot be read")
        self._anchors.sort()

    def _take(self, number: int, anchor: Anchor | None, chain: str | None) -> None:
        if anchor is None:
            self.findings.add(Damage.ANCHOR, number, detail="this line of the anchors was changed")
            return
        if chain is not None and anchor.chain != chain:
            self.findings.add(Damage.ANCHOR, number, detail="this anchor belongs to another log")
            return
        if anchor.kind == AnchorKind.RESTORED:
            self._forget_after(anchor)
        self._anchors.append((anchor.sequence, anchor.mac, anchor.at))

    def _forget_after(self, restored: Anchor) -> None:
        """Give up what was recorded between a backup and its restoration: that it is gone is on record."""
        beyond = [each for each in self._anchors if each[0] >= restored.sequence]
        if beyond:
            self.findings.notes.append(
                f"A backup was restored on {restored.at[:16]} UTC; an earlier course of the log up to "
                f"{max(each[0] for each in beyond)} ended with that."
            )
        self._anchors = [each for each in self._anchors if each[0] < restored.sequence]

    def at_archive(self, start: Start) -> None:
        """Pass over anchors of archived records; the one at the end of the archives is compared."""
        while self._next < len(self._anchors) and self._anchors[self._next][0] < start.following:
            sequence, mac, _ = self._anchors[self._next]
            if sequence == start.following - 1 and mac != start.link:
                self.findings.add(Damage.ARCHIVE, sequence, detail="an anchor holds another code for it")
            self._next += 1

    def compare(self, number: int, mac: str) -> None:
        """Compare a record whose own code fits."""
        while self._next < len(self._anchors) and self._anchors[self._next][0] <= number:
            sequence, fixed, at = self._anchors[self._next]
            self._next += 1
            if sequence != number:
                continue  # Its record is missing or damaged, and named as that.
            self.findings.anchors += 1
            if fixed != mac:
                self.findings.add(
                    Damage.REWRITTEN, number, detail=f"the anchor of {at[:16]} UTC holds another code for it"
                )

    def beyond(self, last: int) -> None:
        """Find records that were anchored and are not there."""
        missing = [each for each in self._anchors[self._next :] if each[0] > last]
        if missing:
            sequence, _, at = missing[-1]
            named = self.findings.named
            if named and named[-1].damage is Damage.TRUNCATED:
                last = max(last, named[-1].last)
            if sequence > last:
                self.findings.add(
                    Damage.TRUNCATED,
                    last + 1,
                    sequence,
                    detail=f"they were there at the anchor of {at[:16]} UTC",
                )
