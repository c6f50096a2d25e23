"""Registrations that come, move and go, and a recount that shares nothing with the service's."""

from collections import defaultdict
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple

import pytest

from service.database import Database
from service.months import Month
from service.register import flags
from service.register.flags import FlagBook, Standing
from service.statistics.figures import ARRIVED, LEFT, Level, levels_of

REGIONS = ("530102", "530103", "530302", "532901", "")
Row = tuple[Level, str]


class Step(NamedTuple):
    """One change of a registration: where it is flagged, "free" without a flag, None when erased."""

    person: int
    day: int
    state: str | None


def standing(state: str | None) -> Standing | None:
    if state is None:
        return None
    return Standing(state != "free", "530102" if state == "free" else state, "11")


def play(database: Database, steps: list[Step], months: list[Month], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the steps happen, in order of their days, which count through the months given."""
    states: dict[int, str | None] = {}
    for step in steps:
        at = moment_of(step, months)
        monkeypatch.setattr(flags, "now", partial(_given, at))
        before, states[step.person] = states.get(step.person), step.state
        with database.write() as session:
            book = FlagBook()
            book.note(f"P{step.person}", standing(before), standing(step.state))
            book.record(session)


def moment_of(step: Step, months: list[Month]) -> datetime:
    month, day = divmod(step.day, 28)
    return months[month].start + timedelta(days=day)


def _given(at: datetime) -> datetime:
    return at


def recount(steps: list[Step], month: int) -> dict[Row, dict[str, int]]:
    """Count by walking every person through every month: was there, came, left."""
    found: dict[Row, dict[str, int]] = defaultdict(
        lambda: dict.fromkeys((*ARRIVED, *LEFT, "end", "start"), 0)
    )
    for person in {step.person for step in steps}:
        walked = [(None, -1), *((s.state, s.day // 28) for s in steps if s.person == person)]
        for row in {row for region in REGIONS for row in levels_of(region)}:
            _walk(walked, row, month, found[row])
    return found


def _walk(walked: list[tuple[str | None, int]], row: Row, month: int, counts: dict[str, int]) -> None:
    here = [state not in (None, "free") and row in levels_of(state or "") for state, _month in walked]
    before = [at for at, (_state, of) in enumerate(walked) if of < month]
    within = [at for at, (_state, of) in enumerate(walked) if of == month]
    began = here[before[-1]]
    ended = here[within[-1]] if within else began
    counts["start"] += began
    counts["end"] += ended
    moves = [at for at in within if here[at] != here[at - 1]]
    if moves and not began:
        arrived = moves[0]
        was = walked[arrived - 1][0]
        counts["transferred_in" if was not in (None, "free") else "newly_flagged"] += 1
    if moves and not ended:
        state = walked[moves[-1]][0]
        gone = "cancelled" if state is None else "established" if state == "free" else "transferred_out"
        counts[gone] += 1
