"""Notices when the system's clock jumps, so that nothing is erased or closed by a calendar that is wrong."""

import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from service.tables import AuditEvent, now

TOLERANCE_S = 600.0
"""Seconds by which the clock may be set between two looks without a jump: NTP slews by 0.05 % at most."""

BELIEVED_AFTER_S = 86_400.0
"""Seconds after which a clock that has jumped and went steadily since is believed: time to look at it."""

SILENCE = timedelta(days=30)
"""A start that finds nothing recorded for so long may have a wrong clock: somebody works every week."""

log = structlog.get_logger(__name__)


class ClockWatch:
    """Compares the system's clock with one that cannot be set; safe to ask from any thread.

    Checks need no calendar and go on whatever the clock says.
    """

    def __init__(
        self,
        last_known: datetime | None = None,
        *,
        wall: Callable[[], datetime] = now,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin to watch.

        Args:
            last_known: When something was recorded last, before this process; None if nothing ever was.
            wall: The system's clock.
            steady: Seconds of a clock that is never set.
        """
        self._wall, self._steady = wall, steady
        self._lock = threading.Lock()
        self._at, self._steady_at = wall(), steady()
        self._jump_s = 0.0
        self._doubted_at: float | None = None
        silent = None if last_known is None else self._at - last_known
        if silent is not None and not -timedelta(seconds=TOLERANCE_S) <= silent <= SILENCE:
            self._doubt(silent.total_seconds())

    def is_believed(self) -> bool:
        """Look at the clock now, and tell whether work that goes by the calendar may be done."""
        with self._lock:
            self._look()
            return self._doubted_at is None

    def detail(self) -> str:
        """Describe the clock for operators."""
        with self._lock:
            self._look()
            if self._doubted_at is None:
                return "steady"
            left_h = max(0.0, BELIEVED_AFTER_S - (self._steady() - self._doubted_at)) / 3600
            return (
                f"jumped by {self._jump_s:+.0f} s: nothing is erased or closed by the calendar for "
                f"{left_h:.1f} h, or until the clock is set right"
            )

    def _look(self) -> None:
        wall, steady = self._wall(), self._steady()
        drift_s = (wall - self._at).total_seconds() - (steady - self._steady_at)
        self._at, self._steady_at = wall, steady
        if abs(drift_s) > TOLERANCE_S:
            self._doubt(self._jump_s + drift_s)
        if self._doubted_at is None:
            return
        if abs(self._jump_s) <= TOLERANCE_S or steady - self._doubted_at >= BELIEVED_AFTER_S:
            log.info("clock-believed", jump_s=round(self._jump_s))
            self._jump_s, self._doubted_at = 0.0, None

    def _doubt(self, jump_s: float) -> None:
        self._jump_s, self._doubted_at = jump_s, self._steady()
        log.warning("clock-jumped", jump_s=round(jump_s))


def last_recorded(session: Session) -> datetime | None:
    """Return when the newest audit event was recorded; None where there is none."""
    return session.scalar(select(AuditEvent.at).order_by(AuditEvent.id.desc()).limit(1))
