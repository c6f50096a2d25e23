"""Work that goes on beside the requests: a thread for each kind, started and stopped with the app."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

import structlog

log = structlog.get_logger(__name__)

LONGEST_REST_S = 600.0
"""Seconds: what keeps failing is tried at least this often, so that it recovers without hands."""


@dataclass(frozen=True, slots=True)
class Worker:
    """One kind of work.

    Attributes:
        name: As the log and the readiness report name it.
        turn: Does what is due, soon returns, and says whether more is due at once.
        every_s: Seconds of rest between turns when nothing more is due.
    """

    name: str
    turn: Callable[[], bool]
    every_s: float


class Workers:
    """Runs workers until they are stopped; one that fails is logged and tried again, ever more slowly."""

    def __init__(self) -> None:
        """Start none yet."""
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._wake: dict[str, threading.Event] = {}
        self.failing: dict[str, str] = {}

    def start(self, worker: Worker) -> None:
        """Run a worker from now on.

        Args:
            worker: Its turn must return within seconds, or `stop` waits for it.
        """
        self._wake[worker.name] = threading.Event()
        thread = threading.Thread(target=self._run, args=(worker,), name=worker.name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def wake(self, name: str) -> None:
        """Have a worker take a turn now; of a worker that does not run nothing happens."""
        if name in self._wake:
            self._wake[name].set()

    def stop(self, *, timeout_s: float = 10.0) -> None:
        """Let every worker end its turn, and wait for that."""
        self._stopping.set()
        for event in self._wake.values():
            event.set()
        for thread in self._threads:
            thread.join(timeout_s)

    def _run(self, worker: Worker) -> None:
        wake, rest_s = self._wake[worker.name], worker.every_s
        while not self._stopping.is_set():
            wake.clear()
            try:
                more = worker.turn()
            except Exception as error:  # The edge of the thread.
                rest_s = min(max(rest_s, 1.0) * 2, max(LONGEST_REST_S, worker.every_s))
                self.failing[worker.name] = type(error).__name__
                log.exception("worker failed", worker=worker.name, again_in_s=rest_s)
                more = False
            else:
                rest_s = worker.every_s
                self.failing.pop(worker.name, None)
            if not more:
                wake.wait(rest_s)
