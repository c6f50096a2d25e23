"""When keys were last used, written together once in a while instead of at every request."""

import threading
from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import or_, update

from service.database import Database
from service.tables import Credential, now

WRITE_EVERY_S = 300.0
"""Seconds between writes: fine enough to see which key is still in use, and lost at worst by a crash."""


class KeyUsage:
    """Remembers which keys were used since the last write; safe to call from several threads."""

    def __init__(self, database: Database) -> None:
        """Remember nothing yet."""
        self._database = database
        self._lock = threading.Lock()
        self._used: dict[str, datetime] = {}

    def note(self, key_id: str) -> None:
        """Remember that a key was used now; only valid keys may be noted, so the memory is bounded."""
        with self._lock:
            self._used[key_id] = now()

    def write(self) -> bool:
        """Store what was remembered; returns that nothing more is due."""
        with self._lock:
            used, self._used = self._used, {}
        if used:
            self._store(used)
        return False

    def _store(self, used: Mapping[str, datetime]) -> None:
        with self._database.write() as session:
            for key_id, at in sorted(used.items()):
                earlier = or_(Credential.last_used_at.is_(None), Credential.last_used_at < at)
                session.execute(
                    update(Credential).where(Credential.key_id == key_id, earlier).values(last_used_at=at)
                )
