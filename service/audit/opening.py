"""What start-up does about the audit log: the chain, the settings, the anchors."""

import json
import socket
import time
from typing import Any

import structlog
from pydantic import SecretStr
from sqlalchemy import select
from sqlalchemy.orm import Session

from service.audit.anchors import AnchorFile, AnchorKind, anchor_file
from service.audit.chain import AuditChain, add_pending, own_event, read_head
from service.audit.keys import AuditKey, KeyRing, keyed_mark, load_keys
from service.audit.kinds import AuditKind
from service.database import Database
from service.errors import AuditChainError, ServiceError, SettingsError
from service.settings import Settings
from service.tables import AuditEvent
from service.workers import Worker

LOOK_EVERY_S = 5.0
"""Seconds between looks at the end of the chain; a look reads one row."""

log = structlog.get_logger(__name__)


class Anchoring:
    """Writes anchors every so many events or minutes."""

    def __init__(self, database: Database, settings: Settings, anchors: AnchorFile) -> None:
        """Take what it works with."""
        self._database = database
        self._events = settings.audit_anchor_events
        self._seconds = settings.audit_anchor_minutes * 60
        self._anchors = anchors
        self._written = time.monotonic()

    def turn(self) -> bool:
        """Write an anchor if one is due."""
        last = self._anchors.last()
        with self._database.read() as session:
            head = read_head(session)
        grown = head.sequence - (last.sequence if last else 0) if head else 0
        if grown >= self._events or time.monotonic() - self._written >= self._seconds:
            self.write()
        return False

    def write(self) -> None:
        """Write an anchor now, unless nothing was recorded since the last."""
        self._anchors.append(self._database)
        self._written = time.monotonic()

    def close(self) -> None:
        """Write the last anchor; where that fails, the next start writes it."""
        try:
            self.write()
        except (SettingsError, ServiceError) as error:
            log.warning("no last audit anchor", reason=type(error).__name__)

    @property
    def worker(self) -> Worker:
        """What runs beside the requests."""
        return Worker("audit-anchors", self.turn, LOOK_EVERY_S)


def open_audit(database: Database, settings: Settings, *, serving: bool = False) -> Anchoring:
    """Start or take up the chain, and record settings that have changed if this process serves.

    Raises:
        SettingsError: The keys do not fit the chain, or anchors cannot be written.
        DatabaseUnavailableError: The database is away.
    """
    keys = load_keys(settings)
    chain = AuditChain(keys)
    anchors = anchor_file(settings, keys)
    try:
        with database.write() as session:
            before = read_head(session)
            chain.open(session)
            if serving:
                _compare_settings(session, settings, keys)
    except AuditChainError as error:
        raise SettingsError(f"{error.detail} See docs/audit.md.") from error
    anchoring = Anchoring(database, settings, anchors)
    if before is None or serving:
        anchoring.write()
    return anchoring


def note_restoration(database: Database, settings: Settings) -> None:
    """Anchor that the database was restored from a backup; call it when the restoration is on record.

    Without it, everything that was recorded after the backup counts as cut off.

    Raises:
        SettingsError: The anchor cannot be written.
    """
    anchor_file(settings, load_keys(settings)).append(database, kind=AnchorKind.RESTORED)


def _compare_settings(session: Session, settings: Settings, keys: KeyRing) -> None:
    """Record which settings differ from those of this machine's last start; values are told by marks only."""
    machine, key = f"settings:{socket.gethostname()}", keys.current
    last = session.scalars(
        select(AuditEvent.details)
        .where(AuditEvent.kind == AuditKind.SETTINGS_CHANGED, AuditEvent.subject == machine)
        .order_by(AuditEvent.id.desc())
        .limit(1)
    ).one_or_none()
    earlier = keys.find(last["key"]) if last is not None else None
    known: dict[str, str] = last["values"] if last is not None and earlier is not None else {}
    marks = _marks(settings, earlier or key)
    changed = sorted(name for name in marks.keys() | known.keys() if marks.get(name) != known.get(name))
    if last is None or changed:
        details = {"changed": changed, "values": _marks(settings, key), "key": key.tag}
        add_pending(session, own_event(AuditKind.SETTINGS_CHANGED, details) | {"subject": machine})


def _marks(settings: Settings, key: AuditKey) -> dict[str, str]:
    """Return a mark of the value of each setting that the operator has set."""
    return {
        name: keyed_mark(key, _plain(getattr(settings, name))) for name in sorted(settings.model_fields_set)
    }


def _plain(value: Any) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, (set, frozenset)):
        return json.dumps(sorted(map(str, value)))
    return str(value)
