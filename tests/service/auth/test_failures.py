"""The throttle of sign-in failures."""

from service.auth.failures import ADDRESSES, FailureThrottle


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


def failing(throttle: FailureThrottle, address: str, times: int) -> None:
    for _ in range(times):
        throttle.note_failure(address)


def test_address_is_blocked_after_the_limit_and_no_other_address_is() -> None:
    throttle = FailureThrottle(limit=3, window_s=60, clock=Clock())
    failing(throttle, "a", 2)
    assert not throttle.is_blocked("a")
    failing(throttle, "a", 1)
    assert throttle.is_blocked("a")
    assert not throttle.is_blocked("b")


def test_failures_are_forgotten_after_the_window() -> None:
    clock = Clock()
    throttle = FailureThrottle(limit=3, window_s=60, clock=clock)
    failing(throttle, "a", 2)
    clock.at += 59
    failing(throttle, "a", 1)
    assert throttle.is_blocked("a")
    clock.at += 2
    assert not throttle.is_blocked("a")


def test_memory_stays_bounded() -> None:
    throttle = FailureThrottle(limit=1, window_s=60, clock=Clock())
    for number in range(ADDRESSES + 5):
        throttle.note_failure(str(number))
    assert not throttle.is_blocked("0")
    assert throttle.is_blocked(str(ADDRESSES + 4))
