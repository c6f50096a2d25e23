"""Every history of persons balances, and counts as somebody would count it by hand."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete

from service.database import Database
from service.months import Month
from service.statistics.counting import count_month
from service.statistics.figures import ARRIVED, LEFT, Level
from service.tables import PersonFlagEvent, RegisterEntry
from tests.service.statistics.histories import REGIONS, Step, play, recount

MONTHS = [Month(2025, 12), Month(2026, 1), Month(2026, 2)]

HISTORIES = st.lists(
    st.builds(
        Step,
        st.integers(0, 3),
        st.integers(0, 28 * len(MONTHS) - 1),
        st.sampled_from([*REGIONS, "free", None]),
    ),
    max_size=24,
).map(lambda steps: sorted(steps, key=lambda step: step.day))


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None
)
@given(steps=HISTORIES)
def test_every_history_balances_and_counts_as_by_hand(database: Database, steps: list[Step]) -> None:
    with database.write() as session:
        session.execute(delete(PersonFlagEvent))
        session.execute(delete(RegisterEntry))
    with pytest.MonkeyPatch.context() as patching:
        play(database, steps, MONTHS, patching)
    for at, month in enumerate(MONTHS):
        by_hand = recount(steps, at)
        with database.read() as session:
            rows = count_month(session, month)
        assert [row for row in rows if not row.balanced] == []
        for row in rows:
            wanted = by_hand[row.level, row.region]
            counted = {name: row.month[name] for name in (*ARRIVED, *LEFT)}
            counted |= {"start": row.month["flagged_start"], "end": row.month["flagged_end"]}
            assert counted == wanted, (month, row.level, row.region)


def test_a_person_who_leaves_and_comes_back_within_a_month_is_counted_once(database: Database) -> None:
    steps = [Step(0, day, state) for day, state in enumerate(["530102", "530302", "530102", "530103"])]
    with pytest.MonkeyPatch.context() as patching:
        play(database, steps, MONTHS, patching)
    with database.read() as session:
        rows = {(row.level, row.region): row.month for row in count_month(session, MONTHS[0])}
    assert rows[Level.PREFECTURE, "530100"]["newly_flagged"] == 1
    assert rows[Level.PREFECTURE, "530100"]["transferred_out"] == 0
    assert rows[Level.COUNTY, "530103"]["transferred_in"] == 1
    assert rows[Level.TOTAL, ""]["transferred_in"] == rows[Level.TOTAL, ""]["transferred_out"] == 0


def test_an_inconsistent_record_does_not_balance(database: Database) -> None:
    month = MONTHS[0]
    with database.write() as session:
        for _twice in range(2):
            event = PersonFlagEvent(
                person_id="P", kind="flagged", region="530102", month=str(month), at=month.start
            )
            session.add(event)
    with database.read() as session:
        assert not count_month(session, month)[0].balanced
