"""Each part of a request is told its own time, whatever lies within it and in whichever thread."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

import pytest

from service.part_times import begin_parts, spent, timed


def test_a_part_does_not_count_the_parts_within_it() -> None:
    def request() -> dict[str, float]:
        parts = begin_parts()
        with timed("outer"):
            with timed("inner"):
                time.sleep(0.02)
            spent({"measured": 5000.0})
        return parts

    parts = copy_context().run(request)
    assert parts["inner"] >= 0.02
    assert parts["measured"] == pytest.approx(5.0)
    assert parts["outer"] == pytest.approx(0.0, abs=0.019)


def test_what_another_thread_does_for_a_request_counts_within_the_waiting() -> None:
    def request() -> dict[str, float]:
        parts = begin_parts()
        with ThreadPoolExecutor(1) as pool, timed("wait"):
            pool.submit(copy_context().run, work).result()
        return parts

    def work() -> None:
        with timed("work"):
            spent({"search": 4000.0})

    parts = copy_context().run(request)
    assert parts["search"] == pytest.approx(4.0)
    assert parts["work"] == 0.0
    assert 0.0 <= parts["wait"] < 1.0


def test_outside_a_request_nothing_is_noted() -> None:
    with timed("database"):
        spent({"search": 1.0})
    assert copy_context().run(begin_parts) == {}
