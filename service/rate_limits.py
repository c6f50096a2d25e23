"""How often one caller may ask: a bucket for each, filled at a steady rate."""

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from service.auth.policy import Proof, Rule
from service.auth.service import Actor
from service.errors import TooManyRequestsError
from service.settings import Settings

BURST_S = 10.0
"""A bucket holds what flows in within these seconds: a case page asks for some twenty portraits at once."""

CALLERS = 20_000
"""Buckets kept; beyond it the one used longest ago goes. A full bucket and none are the same."""

DOCUMENTS = frozenset({"/openapi.json", "/docs"})
"""Paths of the long documents: 200 kB, so one caller who asks without reading fills memory and time."""


class Buckets:
    """Buckets of tokens by caller, in this process; safe to call from several threads."""

    def __init__(self, rate_per_s: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with every bucket full.

        Args:
            rate_per_s: Tokens that flow into a bucket each second.
            clock: Seconds of a clock that never goes back.
        """
        self._rate_per_s = rate_per_s
        self._most = max(1.0, rate_per_s * BURST_S)
        self._clock = clock
        self._lock = threading.Lock()
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, caller: str) -> float:
        """Take one token.

        Args:
            caller: Whose bucket.

        Returns:
            0 if there was one; else the seconds after which there will be one.
        """
        with self._lock:
            now = self._clock()
            level, since = self._levels.pop(caller, (self._most, now))
            level = min(self._most, level + (now - since) * self._rate_per_s)
            wait_s = 0.0 if level >= 1.0 else (1.0 - level) / self._rate_per_s
            self._levels[caller] = (level - 1.0 if level >= 1.0 else level, now)
            if len(self._levels) > CALLERS:
                self._levels.popitem(last=False)
            return wait_s


class RateLimits:
    """The limits of clients by key, of officers by account and of strangers by address."""

    def __init__(self, settings: Settings) -> None:
        """Read the rates."""
        self._clients = Buckets(settings.client_requests_per_s)
        self._officers = Buckets(settings.officer_requests_per_s)
        self._strangers = Buckets(settings.address_requests_per_s)

    def admit(self, actor: Actor) -> None:
        """Count a request of somebody who is known.

        Raises:
            TooManyRequestsError: They ask too often.
        """
        buckets = self._clients if actor.kind == "client" else self._officers
        _check(buckets.take(str(actor.id or actor.name)))

    def admit_stranger(self, address: str, rule: Rule, path: str) -> None:
        """Count a request that needs no sign-in; of those only what costs something.

        That is signing in, and the long documents; these have a bucket of their own, so that whoever reads
        them can still sign in.

        Raises:
            TooManyRequestsError: This address asks too often.
        """
        if rule.proof is Proof.NONE and path.startswith("/sign-in"):
            _check(self._strangers.take(address))
        elif rule.proof is Proof.NONE and path in DOCUMENTS:
            _check(self._strangers.take(f"{address} documents"))


def _check(wait_s: float) -> None:
    if wait_s > 0:
        error = TooManyRequestsError("You ask more often than this service lets one caller ask.")
        error.retry_after_s = max(1, math.ceil(wait_s))
        raise error
