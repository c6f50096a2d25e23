"""The shared lock: readers together, writers alone, and everybody's turn comes."""

import threading
import time
from collections.abc import Callable

from service.galleries.lock import SharedLock

LONG_S = 20.0


def started(*jobs: Callable[[], None]) -> list[threading.Thread]:
    threads = [threading.Thread(target=job, daemon=True) for job in jobs]
    for thread in threads:
        thread.start()
    return threads


def ended(threads: list[threading.Thread]) -> bool:
    until = time.monotonic() + LONG_S
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    return not any(thread.is_alive() for thread in threads)


def test_readers_hold_it_together() -> None:
    lock = SharedLock()
    met = threading.Barrier(4)

    def read() -> None:
        with lock.shared():
            met.wait(LONG_S)

    assert ended(started(read, read, read, read))
    assert not met.broken


def test_writers_exclude_readers_and_each_other() -> None:
    """Two fields that a writer changes one after the other are never seen to differ."""
    lock = SharedLock()
    state = [0, 0]
    torn: list[tuple[int, int]] = []

    def write() -> None:
        for _turn in range(100):
            with lock.exclusive():
                before = state[0]
                time.sleep(0)
                state[0] = before + 1
                time.sleep(0)
                state[1] += 1

    def read() -> None:
        for _turn in range(300):
            with lock.shared():
                first = state[0]
                time.sleep(0)
                if first != state[1]:
                    torn.append((first, state[1]))

    assert ended(started(write, write, read, read, read))
    assert torn == []
    assert state == [200, 200]


def test_writer_goes_before_readers_that_come_after_it() -> None:
    lock = SharedLock()
    order: list[str] = []
    reading, release = threading.Event(), threading.Event()

    def first_reader() -> None:
        with lock.shared():
            reading.set()
            assert release.wait(LONG_S)

    def writer() -> None:
        with lock.exclusive():
            order.append("writer")

    def late_reader() -> None:
        with lock.shared():
            order.append("reader")

    threads = started(first_reader)
    assert reading.wait(LONG_S)
    threads += started(writer)
    wait_until(lambda: lock._writers_waiting == 1)
    threads += started(late_reader)
    time.sleep(0.05)
    assert order == []
    release.set()
    assert ended(threads)
    assert order == ["writer", "reader"]


def test_readers_get_their_turn_between_writers_that_never_pause() -> None:
    lock = SharedLock()
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            with lock.exclusive():
                time.sleep(0.0005)

    def read() -> None:
        for _turn in range(20):
            with lock.shared():
                pass

    writers = started(write, write, write)
    readers = started(read, read)
    in_time = ended(readers)
    stop.set()
    assert in_time
    assert ended(writers)


def test_writers_get_their_turn_between_readers_that_never_pause() -> None:
    lock = SharedLock()
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            with lock.shared():
                time.sleep(0.0005)

    def write() -> None:
        for _turn in range(20):
            with lock.exclusive():
                pass

    readers = started(read, read, read)
    writers = started(write)
    in_time = ended(writers)
    stop.set()
    assert in_time
    assert ended(readers)


def test_lock_is_free_again_after_a_fault() -> None:
    lock = SharedLock()
    for held in (lock.shared, lock.exclusive, lock.shared):
        try:
            with held():
                raise ZeroDivisionError
        except ZeroDivisionError:
            pass
    assert ended(started(lambda: _hold(lock)))


def _hold(lock: SharedLock) -> None:
    with lock.exclusive():
        pass
    with lock.shared():
        pass


def wait_until(true: Callable[[], bool]) -> None:
    until = time.monotonic() + LONG_S
    while not true():
        assert time.monotonic() < until
        time.sleep(0.001)
