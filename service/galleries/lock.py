"""A lock that many searches share and one change excludes."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class SharedLock:
    """Readers run together, a writer alone; neither can keep the other out for ever.

    A writer goes before readers that come after it, and the readers that waited for
    a writer go before the next one.
    """

    def __init__(self) -> None:
        """Begin free."""
        self._condition = threading.Condition()
        self._readers = 0
        self._writing = False
        self._readers_waiting = 0
        self._writers_waiting = 0
        self._turns = 0
        """Readers that may enter although writers wait."""

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Hold the lock together with other readers."""
        with self._condition:
            self._readers_waiting += 1
            try:
                self._condition.wait_for(self._may_read)
                self._readers += 1
            finally:
                self._readers_waiting -= 1
                self._turns = min(max(self._turns - 1, 0), self._readers_waiting)
                self._condition.notify_all()
        try:
            yield
        finally:
            with self._condition:
                self._readers -= 1
                self._condition.notify_all()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the lock alone."""
        with self._condition:
            self._writers_waiting += 1
            try:
                self._condition.wait_for(self._may_write)
                self._writing = True
            finally:
                self._writers_waiting -= 1
                self._condition.notify_all()
        try:
            yield
        finally:
            with self._condition:
                self._writing = False
                self._turns = self._readers_waiting
                self._condition.notify_all()

    def _may_read(self) -> bool:
        return not self._writing and (self._writers_waiting == 0 or self._turns > 0)

    def _may_write(self) -> bool:
        return not self._writing and self._readers == 0 and self._turns == 0
