import io

import pytest
from rich.console import Console

from scripts.progress import LINE_EVERY_S, duration, progress


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def plain() -> Console:
    return Console(file=io.StringIO(), force_terminal=False, width=200)


def text_of(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_plain_lines_come_at_intervals_and_at_the_end() -> None:
    console, clock = plain(), Clock()
    with progress("import", 512, console=console, clock=clock) as shown:
        for _ in range(256):
            clock.now += LINE_EVERY_S / 128
            shown.advance()
    lines = text_of(console).splitlines()
    assert lines[0] == "import: 128 of 512 (25.0 %), 12.8/s, 30 s left"
    assert lines[-1] == "import: 256 of 512 (50.0 %), 12.8/s, 20 s left"
    assert len(lines) == 3


def test_skipped_items_count_as_done_but_not_in_the_rate() -> None:
    console, clock = plain(), Clock()
    with progress("import", 1000, console=console, clock=clock) as shown:
        shown.advance(900, worked=False)
        clock.now += 5
        shown.advance(50)
    assert text_of(console).splitlines()[-1] == "import: 950 of 1,000 (95.0 %), 10.0/s, 5 s left"


def test_finished_work_has_no_time_left() -> None:
    console, clock = plain(), Clock()
    with progress("import", 2, console=console, clock=clock) as shown:
        clock.now += 1
        shown.advance(2)
    assert text_of(console) == "import: 2 of 2 (100.0 %), 2.0/s\n"


def test_nothing_to_do_is_complete_at_once() -> None:
    console = plain()
    with progress("import", 0, console=console, clock=Clock()):
        pass
    assert text_of(console) == "import: 0 of 0 (100.0 %), 0.0/s\n"


def test_the_last_line_comes_even_when_the_work_fails() -> None:
    console = plain()

    def fail_after_three() -> None:
        with progress("import", 9, console=console, clock=Clock()) as shown:
            shown.advance(3)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_after_three()
    assert "3 of 9" in text_of(console)


def test_a_terminal_gets_a_bar_with_rate_and_time_left() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    clock = Clock()
    with progress("import", 100, console=console, clock=clock) as shown:
        clock.now += 4
        shown.advance(40)
    text = text_of(console)
    assert "40/100" in text
    assert "10.0/s, 6 s left" in text


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (3599.7, "1 h 0 min"), (6720, "1 h 52 min")],
)
def test_durations_are_told_in_their_two_largest_units(seconds: float, words: str) -> None:
    assert duration(seconds) == words
