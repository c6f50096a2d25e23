"""Answers requests that come at the same time together, and never keeps a lone one waiting.

Work on several probes at once costs much less than on each alone. A request that finds a
free slot starts at once, alone; those that come while all slots are taken wait, and go
together as soon as one falls free. So a batch is whatever has gathered meanwhile.
"""

import threading
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Request = TypeVar("Request")
Result = TypeVar("Result")

Answer = Callable[[Sequence[Request], bool], Sequence[Result]]


@dataclass(slots=True)
class _Waiting(Generic[Request, Result]):
    """A request and what becomes of it.

    Attributes:
        kind: Only requests of equal kind go together.
        request: What is asked.
        woken: Set when `result` or `error` is there, or when `batch` is this thread's to answer.
        batch: The requests to answer, this one first; empty where another thread answers it.
        result: The answer.
        error: What answering it raised.
    """

    kind: Hashable
    request: Request
    woken: threading.Event = field(default_factory=threading.Event)
    batch: list["_Waiting[Request, Result]"] = field(default_factory=list)
    result: list[Result] = field(default_factory=list)
    error: BaseException | None = None


class Combiner(Generic[Request, Result]):
    """Collects requests of many threads into batches.

    The threads that ask also do the work, each for the batch that it leads, so no thread
    of its own is needed and nothing has to be shut down.
    """

    def __init__(self, *, slots: int, most: int) -> None:
        """Start without requests.

        Args:
            slots: Batches under way at the same time.
            most: Requests in one batch.
        """
        self._slots = slots
        self._most = most
        self._lock = threading.Lock()
        self._under_way = 0
        self._queue: deque[_Waiting[Request, Result]] = deque()

    def ask(self, kind: Hashable, request: Request, answer: Answer[Request, Result]) -> Result:
        """Answer a request, with others of its kind where they have gathered.

        Args:
            kind: Only requests of equal kind go together.
            request: What is asked.
            answer: Answers requests of this kind, one result each in order; told whether
                nothing else was under way. Called here or by another thread that asks.

        Raises:
            Exception: Whatever answering the batch raised.
        """
        mine: _Waiting[Request, Result] = _Waiting(kind, request)
        with self._lock:
            alone = self._under_way == 0
            starts = self._under_way < self._slots
            if starts:
                self._under_way += 1
                mine.batch = [mine]
            else:
                self._queue.append(mine)
        if not starts:
            mine.woken.wait()
        if mine.batch:
            self._lead(mine.batch, answer, alone=alone)
        if mine.error is not None:
            raise mine.error
        return mine.result[0]

    def _lead(
        self, batch: list[_Waiting[Request, Result]], answer: Answer[Request, Result], *, alone: bool
    ) -> None:
        """Answer a batch, hand the slot on, and wake those who waited for the answer."""
        try:
            results = answer([waiting.request for waiting in batch], alone)
            for waiting, result in zip(batch, results, strict=True):
                waiting.result.append(result)
        except BaseException as error:
            for waiting in batch:
                waiting.error = error
        finally:
            self._hand_on()
            for waiting in batch[1:]:
                waiting.woken.set()

    def _hand_on(self) -> None:
        """Let the first in the queue lead those of its kind, or give the slot up."""
        with self._lock:
            if not self._queue:
                self._under_way -= 1
                return
            leader = self._queue[0]
            leader.batch = [waiting for waiting in self._queue if waiting.kind == leader.kind][: self._most]
            chosen = set(map(id, leader.batch))
            self._queue = deque(waiting for waiting in self._queue if id(waiting) not in chosen)
        leader.woken.set()
