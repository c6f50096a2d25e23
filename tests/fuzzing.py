"""Fuzzing with Hypothesis: seconds in the ordinary run, as many processor minutes as asked for otherwise.

    FUZZ_CPU_MINUTES=30 pytest -n 0 -s tests/index/test_portrait_fuzz.py

The short run tries the same examples every time, so that it cannot fail by chance; a long one takes fresh
ones until its time is up. In both, an example that takes too long or makes the process too large is a
finding like an exception that nobody foresaw.
"""

import faulthandler
import os
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from hypothesis import strategies as st

CPU_MINUTES = float(os.environ.get("FUZZ_CPU_MINUTES", "0"))
"""How long each fuzz test shall run, in minutes of processor time; 0: only the short run."""

LONGEST_S = 5.0
"""Processor seconds that one example may take."""

HANG_S = 300
"""Seconds by the clock after which a long run is broken off with the place where it hangs."""

ROUND = 200
"""Examples between two looks at the clock in a long run."""

Check = Callable[[st.DataObject], None]


@dataclass(frozen=True, slots=True)
class Bounds:
    """What an example may take.

    Attributes:
        examples: Number of examples of the short run.
        growth_bytes: How much larger the process may become, from the first example to the last.
    """

    examples: int
    growth_bytes: int = 256 * 2**20


def fuzz(check: Check, bounds: Bounds) -> None:
    """Try a property on many examples.

    Args:
        check: Draws an example and raises if it finds something.
        bounds: What examples may take.

    Raises:
        AssertionError: An example took too long or too much, or the check raised it.
    """
    began, at_first, count = time.process_time(), 0, 0

    def watched(data: st.DataObject) -> None:
        nonlocal at_first, count
        started = time.thread_time()
        check(data)
        assert time.thread_time() - started < LONGEST_S, "one example took too long"
        count += 1
        if count == 10:  # What is loaded on first use is there by now.
            at_first = peak_bytes()
        assert count <= 10 or peak_bytes() - at_first < bounds.growth_bytes, "the process became too large"

    number = 0
    while True:
        _round(watched, bounds, number)
        number += 1
        if time.process_time() - began >= 60 * CPU_MINUTES:
            break
    if CPU_MINUTES:
        spent_min = (time.process_time() - began) / 60
        name = getattr(check, "func", check).__qualname__  # Some are made by functools.partial.
        print(f"{name}: {count} examples in {spent_min:.1f} processor minutes", file=sys.stderr)


def peak_bytes() -> int:
    """Return the most memory that this process has ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _round(check: Check, bounds: Bounds, number: int) -> None:
    long = CPU_MINUTES > 0
    if long:
        faulthandler.dump_traceback_later(HANG_S, exit=True)
    run = settings(
        max_examples=ROUND if long else bounds.examples,
        derandomize=not long,
        database=None,
        deadline=None,  # The clock of a busy machine says nothing; `watched` looks at the processor's.
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.normal,
    )(given(st.data())(check))
    if long:
        run = seed(number + int(time.time()) * 1000)(run)
    try:
        run()
    finally:
        if long:
            faulthandler.cancel_dump_traceback_later()


def mutated(data: st.DataObject, content: bytes, *, most: int = 6) -> bytes:
    """Change bytes anywhere: set, flip, cut out, repeat, insert, cut off.

    Args:
        data: Draws.
        content: What is changed.
        most: Changes at most.
    """
    changed = bytearray(content)
    for _ in range(data.draw(st.integers(0, most))):
        at = data.draw(st.integers(0, max(0, len(changed) - 1)))
        length = data.draw(st.integers(1, 64))
        match data.draw(st.sampled_from(["set", "flip", "cut", "repeat", "insert", "end", "number"])):
            case "set":
                changed[at : at + 1] = data.draw(st.binary(min_size=1, max_size=1))
            case "flip" if changed:
                changed[at] ^= 1 << data.draw(st.integers(0, 7))
            case "cut":
                del changed[at : at + length]
            case "repeat":
                changed[at:at] = changed[at : at + length] * data.draw(st.integers(1, 8))
            case "insert":
                changed[at:at] = data.draw(st.binary(max_size=16))
            case "end":
                del changed[at:]
            case _:
                changed[at : at + 4] = data.draw(st.sampled_from(ODD_NUMBERS))
    return bytes(changed)


ODD_NUMBERS = [
    b"\0\0\0\0",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\x80\0\0\0",
    b"\0\0\0\x80",
    b"\0\0\0\x01",
    b"\x01\0\0\0",
]
"""Lengths and counts at the ends of their ranges, in both orders of bytes."""
