"""Work that goes on beside the requests."""

import threading

from service.workers import Worker, Workers


def wait_for(event: threading.Event) -> None:
    assert event.wait(10)


def test_a_worker_takes_turns_until_it_is_stopped() -> None:
    turns, enough = [0], threading.Event()

    def turn() -> bool:
        turns[0] += 1
        if turns[0] == 3:
            enough.set()
        return turns[0] < 3

    workers = Workers()
    workers.start(Worker("counting", turn, every_s=60))
    wait_for(enough)
    workers.stop()
    assert turns[0] == 3


def test_a_worker_that_fails_is_tried_again_and_named_meanwhile() -> None:
    turns, recovered = [0], threading.Event()
    seen: list[dict[str, str]] = []
    workers = Workers()

    def turn() -> bool:
        turns[0] += 1
        if turns[0] == 1:
            raise OSError("away")
        seen.append(dict(workers.failing))
        recovered.set()
        return False

    workers.start(Worker("failing", turn, every_s=0.01))
    workers.wake("failing")
    wait_for(recovered)
    workers.stop()
    assert seen[0] == {"failing": "OSError"}
    assert workers.failing == {}


def test_a_resting_worker_can_be_woken() -> None:
    started, again = threading.Event(), threading.Event()

    def turn() -> bool:
        (again if started.is_set() else started).set()
        return False

    workers = Workers()
    workers.start(Worker("resting", turn, every_s=3600))
    wait_for(started)
    while not again.wait(0.05):
        workers.wake("resting")
    workers.stop()


def test_nobody_is_woken_who_does_not_run() -> None:
    Workers().wake("unknown")
