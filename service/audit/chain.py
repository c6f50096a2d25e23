"""Appends events to the chain, last in the transaction of what they record.

Each event's code covers the event, its number and the code before it. Numbers and codes are given when the
transaction is about to commit: the one row that holds the end of the chain is locked only then, so writers
wait for each other's commit and not for each other's work. Every other lock is taken before it; so no two
writers can wait for each other.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import structlog
from sqlalchemy import Row, bindparam, event, insert, select, update
from sqlalchemy.orm import Session, SessionTransaction

from service.audit.keys import AuditKey, KeyRing, load_keys
from service.audit.kinds import AuditKind
from service.audit.records import TIME_FORMAT, Record, code_of, read_records
from service.database import Database
from service.errors import AuditChainError
from service.part_times import timed
from service.settings import Settings
from service.tables import AuditEvent, AuditHead, now

PENDING, SEALED = "audit_pending", "audit_sealed"
HEAD = 1
"""The only row of `audit_heads`."""

HEAD_QUERY = select(AuditHead.chain_id, AuditHead.sequence, AuditHead.mac, AuditHead.key_tag).where(
    AuditHead.id == HEAD
)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Pending:
    """An event that waits for the end of its transaction.

    Attributes:
        fields: The columns that the caller gives.
        within: The savepoint in which it was recorded, if any.
    """

    fields: Mapping[str, Any]
    within: SessionTransaction | None = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Head:
    """The end of the chain; `mac` of an empty chain is its id."""

    chain_id: str
    sequence: int
    mac: str
    key_tag: str


def add_pending(session: Session, fields: Mapping[str, Any]) -> None:
    """Have an event appended when the transaction commits.

    Raises:
        RuntimeError: Nothing would append it; a fault of ours.
    """
    if not session.info.get(SEALED):
        raise RuntimeError("this database was not opened by sealed_database()")
    session.info.setdefault(PENDING, []).append(Pending(fields, session.get_nested_transaction()))


@event.listens_for(Session, "after_soft_rollback")
def _forget(session: Session, ended: SessionTransaction) -> None:
    """Drop what was recorded in a savepoint that was rolled back, and in those within it."""
    if session.info.get(PENDING):
        session.info[PENDING] = [each for each in session.info[PENDING] if not _lies_in(each.within, ended)]


def _lies_in(inner: SessionTransaction | None, outer: SessionTransaction) -> bool:
    while inner is not None:
        if inner is outer:
            return True
        inner = inner.parent
    return not outer.nested


class AuditChain:
    """Seals transactions with the keys that it was given."""

    def __init__(self, keys: KeyRing) -> None:
        """Take the keys."""
        self.keys = keys

    def seal(self, session: Session) -> None:
        """Append the transaction's events; called last before its commit.

        Raises:
            AuditChainError: The end of the chain is missing or belongs to a key that is not known.
        """
        pending: Sequence[Pending] = session.info.pop(PENDING, ())
        if pending:
            session.flush()  # Takes every other lock first.
            with timed("chain"):
                self._append(session, self._head(session), [each.fields for each in pending])

    def open(self, session: Session) -> Head:
        """Start the chain if there is none, and go over to the present key if it is new.

        Raises:
            AuditChainError: As in `seal`.
        """
        head = self._head(session)
        self._key(head.key_tag)
        if head.key_tag == self.keys.current.tag or self._was_used(session, self.keys.current.tag):
            return head
        return self._rotate(session, head, result="done")

    def replace_lost_key(self, session: Session) -> None:
        """Go on with the present key although the one before it is lost; what that covered stays unproved."""
        head = self._locked(session)
        if head is not None and self.keys.find_anew(head.key_tag) is None:
            self._rotate(session, head, result="lost")

    def _rotate(self, session: Session, head: Head, *, result: str) -> Head:
        """Append the last event under the old key; under the new one if the old one is lost."""
        new = self.keys.current.tag
        told = own_event(AuditKind.AUDIT_KEY_ROTATED, {"from": head.key_tag, "to": new}, result=result)
        return self._append(session, head, [told], then=new, lost=result == "lost")

    def _head(self, session: Session) -> Head:
        return self._locked(session) or self._start(session)

    def _locked(self, session: Session) -> Head | None:
        row = session.execute(HEAD_QUERY.with_for_update()).one_or_none()
        if row is None:
            raise AuditChainError("The end of the audit log is missing; run 'oneperson audit verify'.")
        return _as_head(row)

    def _append(
        self,
        session: Session,
        head: Head,
        events: Sequence[Mapping[str, Any]],
        *,
        then: str | None = None,
        lost: bool = False,
    ) -> Head:
        key = self.keys.current if lost else self._key(head.key_tag)
        sequence, mac, rows = head.sequence, head.mac, []
        for fields in events:
            sequence += 1
            row = _chained(fields, sequence, mac, key)
            mac = str(row["mac"])
            rows.append(row)
        session.execute(insert(AuditEvent), rows)
        end = Head(head.chain_id, sequence, mac, then or head.key_tag)
        _store(session, end)
        return end

    def _key(self, tag: str) -> AuditKey:
        key = self.keys.find_anew(tag)
        if key is None:
            raise AuditChainError(
                f"The audit log is kept with the key {tag}, which is not among the keys given."
            )
        return key

    def _was_used(self, session: Session, tag: str) -> bool:
        """Tell whether a key was the present one before: an older order of keys changes nothing."""
        earlier = session.scalars(
            select(AuditEvent.details).where(AuditEvent.kind == AuditKind.AUDIT_KEY_ROTATED)
        )
        return any(details.get("from") == tag for details in earlier)

    def _start(self, session: Session) -> Head:
        """Begin the chain with the events that are there from earlier versions."""
        key = self.keys.current
        head = Head(uuid4().hex, 0, "", key.tag)
        mac, number = head.chain_id, 0
        change = (
            update(AuditEvent)
            .where(AuditEvent.id == bindparam("found"))
            .values(
                id=bindparam("number"),
                key_tag=bindparam("tag"),
                previous_mac=bindparam("previous"),
                mac=bindparam("code"),
            )
        )
        for record in read_records(session):
            number += 1
            linked = record._replace(id=number, key_tag=key.tag, previous_mac=mac)
            previous, mac = mac, code_of(linked, key)
            values = {"found": record.id, "number": number, "tag": key.tag, "previous": previous, "code": mac}
            session.connection().execute(change, values)
        head = Head(head.chain_id, number, mac, key.tag)
        log.info("audit chain started", earlier_events=number)
        told = own_event(AuditKind.AUDIT_CHAIN_STARTED, {"chain": head.chain_id, "earlier_events": number})
        return self._append(session, head, [told])


def own_event(kind: AuditKind, details: Mapping[str, Any], *, result: str = "done") -> dict[str, Any]:
    """Return the fields of an event of the log itself."""
    return {
        "kind": kind,
        "actor_kind": "system",
        "actor": "system",
        "role": None,
        "division_code": None,
        "purpose": None,
        "subject": None,
        "result": result,
        "details": dict(details),
        "request_id": None,
    }


def _chained(fields: Mapping[str, Any], sequence: int, previous: str, key: AuditKey) -> dict[str, Any]:
    at = now()
    row = {**fields, "kind": str(fields["kind"]), "id": sequence, "at": at}
    row |= {"key_tag": key.tag, "previous_mac": previous, "mac": None}
    stored = row | {
        "at": at.strftime(TIME_FORMAT),
        # As SQLAlchemy stores JSON; its serializer is `json.dumps` unless an engine is given another.
        "details": json.dumps(fields["details"], allow_nan=False),
    }
    row["mac"] = code_of(Record(**stored), key)
    return row


def _store(session: Session, head: Head) -> None:
    values = {"chain_id": head.chain_id, "sequence": head.sequence, "mac": head.mac, "key_tag": head.key_tag}
    session.execute(update(AuditHead).where(AuditHead.id == HEAD).values(**values))


def read_head(session: Session) -> Head | None:
    """Return the end of the chain; None before the first start, or if its row is gone."""
    return _as_head(session.execute(HEAD_QUERY).one_or_none())


def _as_head(row: Row[str | None, int, str | None, str | None] | None) -> Head | None:
    if row is None or row.chain_id is None:
        return None
    return Head(row.chain_id, row.sequence, row.mac or "", row.key_tag or "")


def chain_end(session: Session, keys: KeyRing) -> tuple[Head, AuditKey]:
    """Return the end of the chain with its key.

    Raises:
        AuditChainError: The end is missing, or its key is not known.
    """
    head = read_head(session)
    key = keys.find_anew(head.key_tag) if head is not None else None
    if head is None or key is None:
        raise AuditChainError("The end of the audit log is missing, or its key is not among the keys given.")
    return head, key


def sealed_database(settings: Settings) -> Database:
    """Return the database that the settings name, ready to record what is done in it.

    Raises:
        SettingsError: No usable address or audit key.
    """
    database = Database(settings.database_address)
    seal_with(database, AuditChain(load_keys(settings)))
    return database


def seal_with(database: Database, chain: AuditChain) -> None:
    """Have a database's transactions end with the sealing of what was recorded in them."""
    database.info[SEALED] = True
    database.before_commit = chain.seal
