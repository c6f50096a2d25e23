"""Requests that come together are answered together, a lone one at once."""

import threading
import time
from collections.abc import Sequence

import pytest

from index.combining import Combiner


class Work:
    """Doubles numbers, takes note of the batches, and waits for `open` while it is closed."""

    def __init__(self) -> None:
        self.batches: list[tuple[list[int], bool]] = []
        self.open = threading.Event()
        self.open.set()

    def __call__(self, requests: Sequence[int], alone: bool) -> list[int]:
        self.batches.append((list(requests), alone))
        if not self.open.wait(10):
            raise TimeoutError
        return [2 * request for request in requests]


def ask_in_threads(
    combiner: Combiner[int, int], work: Work, requests: Sequence[tuple[str, int]], answers: dict[int, int]
) -> list[threading.Thread]:
    def ask(kind: str, request: int) -> None:
        answers[request] = combiner.ask(kind, request, work)

    threads = [threading.Thread(target=ask, args=item, daemon=True) for item in requests]
    for thread in threads:
        thread.start()
        time.sleep(0.002)
    return threads


def join(threads: Sequence[threading.Thread]) -> None:
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


def test_a_lone_request_is_answered_at_once_and_told_that_it_is_alone() -> None:
    combiner: Combiner[int, int] = Combiner(slots=2, most=8)
    work = Work()
    assert [combiner.ask("a", i, work) for i in (1, 2)] == [2, 4]
    assert work.batches == [([1], True), ([2], True)]


def test_what_gathers_while_all_slots_are_taken_goes_together_in_order() -> None:
    combiner: Combiner[int, int] = Combiner(slots=1, most=8)
    work, answers = Work(), dict[int, int]()
    work.open.clear()
    threads = ask_in_threads(combiner, work, [("a", i) for i in range(6)], answers)
    work.open.set()
    join(threads)
    assert answers == {i: 2 * i for i in range(6)}
    assert work.batches == [([0], True), ([1, 2, 3, 4, 5], False)]


def test_requests_of_different_kinds_never_go_together() -> None:
    combiner: Combiner[int, int] = Combiner(slots=1, most=8)
    work, answers = Work(), dict[int, int]()
    work.open.clear()
    threads = ask_in_threads(combiner, work, [("a", 0), ("a", 1), ("b", 2), ("a", 3), ("b", 4)], answers)
    work.open.set()
    join(threads)
    assert [requests for requests, _ in work.batches] == [[0], [1, 3], [2, 4]]
    assert answers == {i: 2 * i for i in range(5)}


def test_a_batch_has_a_largest_size_and_nobody_is_forgotten() -> None:
    combiner: Combiner[int, int] = Combiner(slots=1, most=3)
    work, answers = Work(), dict[int, int]()
    work.open.clear()
    threads = ask_in_threads(combiner, work, [("a", i) for i in range(9)], answers)
    work.open.set()
    join(threads)
    assert [len(requests) for requests, _ in work.batches] == [1, 3, 3, 2]
    assert len(answers) == 9


def test_as_many_batches_are_under_way_as_there_are_slots() -> None:
    combiner: Combiner[int, int] = Combiner(slots=2, most=8)
    work, answers = Work(), dict[int, int]()
    work.open.clear()
    threads = ask_in_threads(combiner, work, [("a", i) for i in range(5)], answers)
    assert work.batches == [([0], True), ([1], False)]
    work.open.set()
    join(threads)
    assert answers == {i: 2 * i for i in range(5)}


def test_an_error_reaches_everybody_in_the_batch_and_frees_the_slot() -> None:
    combiner: Combiner[int, int] = Combiner(slots=1, most=8)
    gate, failed = threading.Event(), list[int]()

    def answer(requests: Sequence[int], alone: bool) -> list[int]:
        gate.wait(10)
        if 0 not in requests:
            raise ZeroDivisionError
        return list(requests)

    def ask(request: int) -> None:
        try:
            combiner.ask("a", request, answer)
        except ZeroDivisionError:
            failed.append(request)

    threads = [threading.Thread(target=ask, args=(i,), daemon=True) for i in range(4)]
    for thread in threads:
        thread.start()
        time.sleep(0.002)
    gate.set()
    join(threads)
    assert sorted(failed) == [1, 2, 3]
    with pytest.raises(ZeroDivisionError):
        combiner.ask("a", 9, answer)
    assert combiner.ask("a", 0, answer) == 0


def test_many_threads_all_get_their_own_answers() -> None:
    combiner: Combiner[int, int] = Combiner(slots=3, most=5)
    wrong: list[int] = []

    def answer(requests: Sequence[int], alone: bool) -> list[int]:
        return [request + 1 for request in requests]

    def ask(first: int) -> None:
        wrong.extend(i for i in range(first, first + 300) if combiner.ask(i % 2, i, answer) != i + 1)

    threads = [threading.Thread(target=ask, args=(1000 * i,), daemon=True) for i in range(12)]
    for thread in threads:
        thread.start()
    join(threads)
    assert wrong == []
