"""The one bounded pool in which portraits are encoded and galleries searched."""

import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextvars import copy_context
from copy import copy
from pathlib import Path
from typing import TypeVar

import index
from index.extraction import Extraction, Extractor
from index.pack import Pack, load_pack
from service.errors import OverloadedError, SearchTimeoutError, SettingsError
from service.part_times import timed
from service.settings import Settings

Result = TypeVar("Result")

DELIVERED_PACKS = Path(index.__file__).parent.parent / "models"
"""Where the packs that come with the product lie, beside the source."""


def find_pack(settings: Settings) -> Path:
    """Find the directory of the pack that the settings name.

    Raises:
        SettingsError: There is none; the message says how to add one.
    """
    named = Path(settings.pack)
    for directory in (named, settings.packs_dir / named, DELIVERED_PACKS / named):
        if (directory / "pack.toml").is_file():
            return directory
    raise SettingsError(
        f"ONEPERSON_PACK: no model pack '{settings.pack}'; see 'oneperson pack list', "
        "add one with 'oneperson pack add DIR', or name a directory that holds a pack.toml"
    )


class Engine:
    """Runs inference and searches on as many threads as there are processors.

    One onnxruntime session with one intra-op thread, called from several
    threads, is the fastest layout on such machines; more callers than threads
    wait in a queue of bounded length, and beyond it are refused.
    """

    def __init__(self, pack: Pack, *, threads: int, queue_limit: int) -> None:
        """Start the pool.

        Args:
            pack: The loaded model pack.
            threads: Pool size.
            queue_limit: Jobs that may wait beside the running ones.
        """
        self.pack = pack
        self.extractor = Extractor(pack)
        self._jobs = _Jobs(threads, queue_limit)

    def with_pack(self, pack: Pack) -> "Engine":
        """Return an engine for another pack that shares this one's threads and queue."""
        engine = copy(self)
        engine.pack = pack
        engine.extractor = Extractor(pack)
        return engine

    @property
    def pending(self) -> int:
        """Number of jobs that run or wait."""
        return self._jobs.pending

    def run(self, job: Callable[[], Result], *, timeout_s: float) -> Result:
        """Run a job in the pool and wait for it.

        Raises:
            OverloadedError: The queue is full, or the service is stopping.
            SearchTimeoutError: It did not finish in time; if it has not begun it never will.
        """
        with timed("wait"):
            return self._jobs.run(job, timeout_s=timeout_s)

    def extract(self, data: bytes, *, timeout_s: float) -> Extraction:
        """Decode, judge and encode one portrait in the pool.

        Raises:
            PortraitError: Not an acceptable picture.
            OverloadedError: The queue is full.
            SearchTimeoutError: It did not finish in time.
        """
        return self.run(lambda: self.extractor.extract(data), timeout_s=timeout_s)

    def close(self) -> None:
        """Wait for running jobs and stop, whichever engine's; waiting ones are dropped."""
        self._jobs.close()


class _Jobs:
    """The threads and the bounded queue before them."""

    def __init__(self, threads: int, queue_limit: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="engine")
        self._slots = threading.BoundedSemaphore(threads + queue_limit)
        self._lock = threading.Lock()
        self.pending = 0

    def run(self, job: Callable[[], Result], *, timeout_s: float) -> Result:
        """Run a job in a thread and wait for it, see `Engine.run`."""
        if not self._slots.acquire(blocking=False):
            raise OverloadedError("Too many portraits are waiting; try again in a moment.")
        with self._lock:
            self.pending += 1
        try:
            # In the request's own context: its number in the log, and its times.
            future = self._pool.submit(copy_context().run, job)
        except RuntimeError as error:  # The pool has been shut down.
            self._release()
            raise OverloadedError("The service is stopping; try again in a moment.") from error
        future.add_done_callback(self._finished)
        try:
            return future.result(timeout=timeout_s)
        except CancelledError as error:
            raise OverloadedError("The service is stopping; try again in a moment.") from error
        except FutureTimeoutError as error:
            if future.done():
                return future.result()  # It ended in the last moment, or the time-out is the job's own.
            future.cancel()
            raise SearchTimeoutError("The search took too long; nothing was decided, try again.") from error

    def close(self) -> None:
        """Wait for running jobs and stop; waiting ones are dropped."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _finished(self, _future: "Future[Result]") -> None:
        self._release()

    def _release(self) -> None:
        with self._lock:
            self.pending -= 1
        self._slots.release()


def open_engine(settings: Settings) -> Engine:
    """Load the pack that the settings name and start the pool.

    Raises:
        SettingsError: There is no such pack.
        PackError: It is damaged or does not run.
    """
    pack = load_pack(find_pack(settings))
    return Engine(pack, threads=settings.threads, queue_limit=settings.queue_limit)
