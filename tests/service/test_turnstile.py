"""The turnstile: first come, first served, no longer than is worth while, and nobody forgotten."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import wraps

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.auth.policy import POLICY
from service.errors import OverloadedError
from service.settings import Settings
from service.turnstile import ADDRESSES, LONGEST_RETRY_S, REMEMBERED, Turnstile, turnstile_for

WAIT_S = 3.0


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def on_a_loop(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run a test on an event loop of its own."""

    @wraps(test)
    def run(*arguments: object, **named: object) -> None:
        asyncio.run(_awaited(test(*arguments, **named)))

    return run


async def _awaited(running: Awaitable[None]) -> None:
    await running


async def forever() -> None:
    """A caller who stays."""
    await asyncio.Event().wait()


async def settled() -> None:
    """Let everything run that can."""
    for _turn in range(10):
        await asyncio.sleep(0)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def make(clock: Clock, *, at_once: int = 1, most_waiting: int = 100, wait_s: float = WAIT_S) -> Turnstile:
    return Turnstile(at_once=at_once, most_waiting=most_waiting, wait_s=wait_s, clock=clock)


async def at_pace(turnstile: Turnstile, clock: Clock, seconds: float) -> None:
    """Have turns end at such intervals until nothing else is remembered; the one turn is taken then."""
    assert await turnstile.enter(forever)
    for _turn in range(REMEMBERED + 1):
        clock.now += seconds
        turnstile.leave()
        assert await turnstile.enter(forever)


async def admitted(turnstile: Turnstile, offered: int) -> list[asyncio.Task[bool]]:
    """Offer requests and return those that wait."""
    tasks = [asyncio.ensure_future(turnstile.enter(forever)) for _request in range(offered)]
    await settled()
    refused = [task for task in tasks if task.done()]
    assert all(isinstance(task.exception(), OverloadedError) for task in refused)
    return [task for task in tasks if not task.done()]


async def drop(tasks: list[asyncio.Task[bool]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize(("seconds_a_turn", "wait"), [(0.01, 100), (0.25, 12), (1.0, 3), (10.0, 0)])
@on_a_loop
async def test_as_many_wait_as_have_their_turn_in_time(
    clock: Clock, seconds_a_turn: float, wait: int
) -> None:
    turnstile = make(clock, wait_s=WAIT_S * 1.001)
    await at_pace(turnstile, clock, seconds_a_turn * (REMEMBERED + 1) / REMEMBERED)
    waiting = await admitted(turnstile, 150)
    assert len(waiting) == turnstile.waiting == wait
    await drop(waiting)
    assert turnstile.waiting == 0


@on_a_loop
async def test_whoever_need_not_wait_is_let_in_however_slow_the_last_ones_were(clock: Clock) -> None:
    turnstile = make(clock)
    await at_pace(turnstile, clock, 1000.0)
    turnstile.leave()
    assert await turnstile.enter(forever)


@on_a_loop
async def test_a_standstill_is_seen_while_it_lasts(clock: Clock) -> None:
    turnstile = make(clock)
    await at_pace(turnstile, clock, 0.01)
    turnstile.judge()
    clock.now += 200.0
    with pytest.raises(OverloadedError):
        turnstile.judge()


@on_a_loop
async def test_time_without_any_work_is_no_slow_pace(clock: Clock) -> None:
    turnstile = make(clock)
    await at_pace(turnstile, clock, 0.01)
    turnstile.leave()
    clock.now += 86_400.0
    assert await turnstile.enter(forever)
    waiting = await admitted(turnstile, 20)
    assert len(waiting) == 20
    await drop(waiting)


@on_a_loop
async def test_a_burst_is_not_refused_before_anything_could_be_measured(clock: Clock) -> None:
    turnstile = make(clock, at_once=6)
    for _request in range(6):
        assert await turnstile.enter(forever)
    clock.now += 0.19  # The first six are at work and may end any moment: ninety take three seconds.
    waiting = await admitted(turnstile, 100)
    assert len(waiting) == 94
    await drop(waiting)


@on_a_loop
async def test_a_pace_without_haste_is_no_measure(clock: Clock) -> None:
    turnstile = make(clock, at_once=2)
    for _request in range(REMEMBERED):  # Never more than one at a time: nobody knows yet how fast two go.
        assert await turnstile.enter(forever)
        clock.now += 60.0
        turnstile.leave()
    assert await turnstile.enter(forever)
    assert await turnstile.enter(forever)
    waiting = await admitted(turnstile, 20)
    assert len(waiting) == 20
    await drop(waiting)


@on_a_loop
async def test_refused_callers_are_told_when_those_before_them_will_be_done(clock: Clock) -> None:
    turnstile = make(clock, most_waiting=10)
    await at_pace(turnstile, clock, 0.2)
    waiting = await admitted(turnstile, 10)
    with pytest.raises(OverloadedError) as full:
        turnstile.judge()
    assert full.value.retry_after_s == 3  # Eleven times two tenths of a second, in whole seconds.
    clock.now += 1e6
    with pytest.raises(OverloadedError) as at_a_standstill:
        turnstile.judge()
    assert at_a_standstill.value.retry_after_s == LONGEST_RETRY_S
    await drop(waiting)


@on_a_loop
async def test_time_that_was_waited_elsewhere_counts(clock: Clock) -> None:
    turnstile = make(clock)
    await at_pace(turnstile, clock, 0.5)
    turnstile.judge(waited_s=2.0)
    with pytest.raises(OverloadedError):
        turnstile.judge(waited_s=2.9)


@on_a_loop
async def test_turns_are_given_in_the_order_of_coming_and_never_more_at_once(clock: Clock) -> None:
    turnstile = make(clock, at_once=2)
    order: list[int] = []

    async def request(number: int) -> None:
        assert await turnstile.enter(forever)
        order.append(number)

    requests = [asyncio.ensure_future(request(number)) for number in range(6)]
    await settled()
    assert order == [0, 1]
    for done in range(4):
        turnstile.leave()
        await settled()
        assert order == list(range(3 + done))
    await asyncio.gather(*requests)


@on_a_loop
async def test_whoever_goes_away_leaves_the_line(clock: Clock) -> None:
    turnstile = make(clock)
    assert await turnstile.enter(forever)
    gone = asyncio.Event()
    leaver = asyncio.ensure_future(turnstile.enter(gone.wait))
    stayer = asyncio.ensure_future(turnstile.enter(forever))
    await settled()
    gone.set()
    assert await leaver is False
    assert turnstile.waiting == 1
    turnstile.leave()
    assert await stayer is True


@on_a_loop
async def test_a_turn_that_comes_as_its_caller_goes_is_handed_on(clock: Clock) -> None:
    turnstile = make(clock)
    assert await turnstile.enter(forever)
    gone = asyncio.Event()
    leaver = asyncio.ensure_future(turnstile.enter(gone.wait))
    cancelled = asyncio.ensure_future(turnstile.enter(forever))
    stayer = asyncio.ensure_future(turnstile.enter(forever))
    await settled()
    gone.set()
    turnstile.leave()
    cancelled.cancel()
    assert await leaver is False
    assert await stayer is True
    with pytest.raises(asyncio.CancelledError):
        await cancelled


@on_a_loop
async def test_nobody_waits_for_ever_when_no_turn_comes_free(clock: Clock) -> None:
    turnstile = make(clock, wait_s=0.01)
    assert await turnstile.enter(forever)
    with pytest.raises(OverloadedError):
        await turnstile.enter(forever)
    assert turnstile.waiting == 0


@settings(max_examples=60, deadline=None)
@given(
    at_once=st.integers(1, 4),
    deeds=st.lists(st.sampled_from(["come", "end", "go", "cancel", "pass"]), max_size=60),
)
def test_no_turn_is_lost_or_given_twice(at_once: int, deeds: list[str]) -> None:
    asyncio.run(_turns_are_kept(at_once, deeds))


async def _turns_are_kept(at_once: int, deeds: list[str]) -> None:
    clock = Clock()
    turnstile = make(clock, at_once=at_once, most_waiting=5)
    requests: list[tuple[asyncio.Task[bool], asyncio.Event]] = []
    ended = 0

    def having_turns() -> int:
        done = [task for task, _gone in requests if task.done() and not task.cancelled()]
        return sum(task.exception() is None and task.result() for task in done) - ended

    for deed in deeds:
        open_ones = [(task, gone) for task, gone in requests if not task.done()]
        if deed == "come":
            gone = asyncio.Event()
            requests.append((asyncio.ensure_future(turnstile.enter(gone.wait)), gone))
        elif deed == "end" and having_turns():
            ended += 1
            turnstile.leave()
        elif deed == "go" and open_ones:
            open_ones[0][1].set()
        elif deed == "cancel" and open_ones:
            open_ones[-1][0].cancel()
        elif deed == "pass":
            await settled()
            assert having_turns() <= at_once
            assert having_turns() == at_once or not turnstile.waiting
    await settled()
    await drop([task for task, _gone in requests])
    for _turn in range(having_turns()):
        turnstile.leave()
    for _turn in range(at_once):
        assert await turnstile.enter(forever)  # All turns are free again.


@pytest.mark.parametrize(("threads", "queue_limit"), [(1, 1), (2, 64), (16, 1)])
def test_never_more_are_let_in_than_the_engine_takes(threads: int, queue_limit: int) -> None:
    turnstile = turnstile_for(Settings(threads=threads, queue_limit=queue_limit, queue_wait_s=1e6))
    asyncio.run(_fills(turnstile, threads + queue_limit))


async def _fills(turnstile: Turnstile, expected: int) -> None:
    tasks = [asyncio.ensure_future(turnstile.enter(forever)) for _request in range(expected + 1)]
    await settled()
    refused = [task for task in tasks if task.done() and task.exception() is not None]
    assert refused == [tasks[-1]]
    await drop(tasks)


def test_every_address_that_takes_turns_exists() -> None:
    assert {f"{method} {route}" for method, route in ADDRESSES} <= set(POLICY)
