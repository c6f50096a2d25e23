"""Slows down whoever tries keys and passwords: failures are counted per network address."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

LIMIT = 20
"""Failures of one address within the window, after which it has to wait; the officers of a station may share
an address."""

WINDOW_S = 300.0
"""How long a failure counts. Accounts have waits of their own (`service.auth.backoff`); this stops whoever
tries one password on many accounts. Keys have 256 random bits, so there it is the log that is protected.
"""

ADDRESSES = 10_000
"""Addresses remembered; beyond it the one that failed longest ago is forgotten."""


class FailureThrottle:
    """Counts failures in this process; safe to call from several threads."""

    def __init__(
        self,
        *,
        limit: int = LIMIT,
        window_s: float = WINDOW_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Remember nothing yet."""
        self._limit = limit
        self._window_s = window_s
        self._clock = clock
        self._lock = threading.Lock()
        self._failures: OrderedDict[str, list[float]] = OrderedDict()

    def is_blocked(self, address: str) -> bool:
        """Tell whether this address has failed too often lately."""
        with self._lock:
            return len(self._recent(address)) >= self._limit

    def note_failure(self, address: str) -> None:
        """Count one failure of this address."""
        with self._lock:
            self._failures[address] = [*self._recent(address), self._clock()][-self._limit :]
            self._failures.move_to_end(address)
            while len(self._failures) > ADDRESSES:
                self._failures.popitem(last=False)

    def note_refusal(self, address: str) -> bool:
        """Note that a blocked address tried again; tell whether it was for the first time.

        An address that keeps trying must not fill the audit trail.
        """
        with self._lock:
            recent = self._recent(address)
            if len(recent) > self._limit:
                return False
            self._failures[address] = [*recent, self._clock()]
            return True

    def _recent(self, address: str) -> list[float]:
        since = self._clock() - self._window_s
        return [at for at in self._failures.get(address, ()) if at > since]
