"""Where requests that need the engine wait: in one line, each only for so long, before any work on them.

Everything else that such a request meets (threads, connections, locks, the engine) is shared by the few that
have their turn, so nobody waits long there. Only the event loop uses this module, so nothing needs a lock.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable

from service.errors import OverloadedError
from service.settings import Settings

ADDRESSES = frozenset({("POST", "/v1/checks"), ("PUT", "/v1/persons/{person_id}")})
"""Method and route of the requests that need the engine."""

TURNS_PER_THREAD = 3
"""Requests that have their turn at one time, for each thread of the engine: one before it, one in it and one
that is committed, so that the engine is never idle while somebody waits."""

REMEMBERED = 32
"""Turns at least that the pace is measured on: a second on a quick machine, ten seconds on a slow one."""

PATIENCE = 2.0
"""Times the wait that is expected at most: if the pace drops meanwhile, nobody waits longer than this."""

LONGEST_RETRY_S = 60
"""Most seconds that a refused caller is asked to wait: a worse pace is a standstill, and no measure."""

FULL = "Too many requests are waiting; nothing was done, try again after the seconds in 'Retry-After'."

Clock = Callable[[], float]


class Pace:
    """How long it takes until the next turn ends while all are taken, measured on the last ones."""

    def __init__(self, at_once: int, clock: Clock) -> None:
        """Begin with all turns free.

        Args:
            at_once: Turns that run at one time while anybody waits.
            clock: Seconds of a clock that never goes back.
        """
        self._at_once = at_once
        self._clock = clock
        self._free_since: float | None = clock()
        # The first entry is where the measurement begins, the others are ends of turns.
        self._ends = deque([clock()], maxlen=1 + max(REMEMBERED, 2 * at_once))

    def begin(self) -> None:
        """Note that all turns are taken: the time in which they were not says nothing and is cut out."""
        if self._free_since is not None:
            gap = self._clock() - self._free_since
            self._ends = deque((end + gap for end in self._ends), maxlen=self._ends.maxlen)
            self._free_since = None

    def ended(self) -> None:
        """Note the end of a turn while all were taken."""
        self._ends.append(self._clock())

    def rest(self) -> None:
        """Note that a turn is free."""
        self._free_since = self._clock()

    @property
    def seconds_a_turn(self) -> float:
        """Mean seconds from one turn's end to the next.

        One counts as if it ended now, and the very first ones as if all did: so a standstill is seen while
        it lasts, and no burst is refused before anything could be measured.
        """
        return (self._clock() - self._ends[0]) / max(len(self._ends), self._at_once)


class Turnstile:
    """Gives a few requests at a time their turn, first come, first served."""

    def __init__(
        self, *, at_once: int, most_waiting: int, wait_s: float, clock: Clock = time.monotonic
    ) -> None:
        """Begin empty.

        Args:
            at_once: Requests that have their turn at one time.
            most_waiting: Requests that may wait beside them.
            wait_s: Seconds that a request may be expected to wait.
            clock: Seconds of a clock that never goes back.
        """
        self.at_once = at_once
        self._free = at_once
        self._most_waiting = most_waiting
        self._wait_s = wait_s
        self._line: deque[asyncio.Future[None]] = deque()
        self._pace = Pace(at_once, clock)

    @property
    def waiting(self) -> int:
        """Number of requests that wait."""
        return len(self._line)

    def judge(self, *, waited_s: float = 0.0) -> None:
        """Refuse a request that would not get its turn in time; whoever need not wait is never refused.

        Args:
            waited_s: Seconds that it has waited elsewhere.

        Raises:
            OverloadedError: With the seconds after which those who wait now will have had their turn.
        """
        if self._free:
            return
        expected_s = (len(self._line) + 1) * self._pace.seconds_a_turn
        if len(self._line) >= self._most_waiting or waited_s + expected_s > self._wait_s:
            raise _refusal(expected_s)

    async def enter(self, gone: Callable[[], Awaitable[object]], *, waited_s: float = 0.0) -> bool:
        """Wait for a turn; whoever gets one has to `leave`.

        Args:
            gone: Returns when the caller has gone away.
            waited_s: As for `judge`.

        Returns:
            False if the caller went away before the turn came.

        Raises:
            OverloadedError: As `judge`, or the turn has not come in time.
        """
        self.judge(waited_s=waited_s)
        if self._free:
            self._free -= 1
            if not self._free:
                self._pace.begin()
            return True
        turn = asyncio.get_running_loop().create_future()
        self._line.append(turn)
        leaving = asyncio.ensure_future(gone())
        has_turn = False
        try:
            patience_s = max(0.0, PATIENCE * self._wait_s - waited_s)
            first = asyncio.FIRST_COMPLETED
            await asyncio.wait({turn, leaving}, timeout=patience_s, return_when=first)
            has_turn = turn.done() and not leaving.done()
        finally:
            has_left = not leaving.cancel()
            if not has_turn:
                self._step_out(turn)
        if not has_turn and not has_left:
            raise _refusal((len(self._line) + 1) * self._pace.seconds_a_turn)
        return has_turn

    def leave(self) -> None:
        """End a turn: the next in the line has it."""
        if not self._free:
            self._pace.ended()
        self._hand_on()

    def _hand_on(self) -> None:
        if self._line:
            self._line.popleft().set_result(None)
            return
        if not self._free:
            self._pace.rest()
        self._free += 1

    def _step_out(self, turn: "asyncio.Future[None]") -> None:
        """Take somebody out of the line; a turn that came in the same moment goes to the next."""
        if turn.done():
            self._hand_on()
        else:
            self._line.remove(turn)


def _refusal(expected_s: float) -> OverloadedError:
    error = OverloadedError(FULL)
    error.retry_after_s = max(1, min(LONGEST_RETRY_S, math.ceil(expected_s)))
    return error


def turnstile_for(settings: Settings) -> Turnstile:
    """Return the turnstile that the settings describe: never more in all than the engine takes."""
    in_all = settings.threads + settings.queue_limit
    at_once = min(in_all, TURNS_PER_THREAD * settings.threads)
    return Turnstile(at_once=at_once, most_waiting=in_all - at_once, wait_s=settings.queue_wait_s)
