"""Rates of subgroups against counts made by hand."""

import numpy as np
import pytest

from index.non_mated import NonMatedSearches
from index.subgroups import FEW, MIN_SEARCHES, subgroup_rates


def searches(scores: list[float]) -> NonMatedSearches:
    """One search per person 1..n, each one's nearest being the next person."""
    persons = np.arange(1, len(scores) + 1, dtype=np.int64)
    return NonMatedSearches(persons, np.array(scores), np.roll(persons, -1))


def test_rate_counts_the_searches_of_each_group_at_or_above_the_threshold() -> None:
    found = searches([0.5] * 3 + [0.1] * 37 + [0.5] * 10 + [0.1] * 40)
    sex = {person: "female" if person <= 40 else "male" for person in range(1, 91)}
    rates = {rate.group: rate for rate in subgroup_rates(found, {"sex": sex}, threshold=0.5)}
    assert (rates["female"].fpir.value, rates["female"].fpir.n) == (3 / 40, 40)
    assert (rates["male"].fpir.value, rates["male"].fpir.n) == (10 / 50, 50)
    assert rates["female"].fpir.low < 3 / 40 < rates["female"].fpir.high
    assert rates["female"].same_group == 1.0


def test_small_groups_are_pooled_and_unknown_ones_left_out() -> None:
    found = searches([0.5] * (MIN_SEARCHES + 8))
    ethnicity = dict.fromkeys(range(1, MIN_SEARCHES + 1), "01")
    ethnicity |= {MIN_SEARCHES + 1: "51", MIN_SEARCHES + 2: "56"}
    rates = subgroup_rates(found, {"ethnicity": ethnicity}, threshold=0.4)
    assert [(rate.group, rate.fpir.n) for rate in rates] == [("01", MIN_SEARCHES), (FEW, 2)]


def test_group_without_false_alarms_names_no_share() -> None:
    found = searches([0.1] * MIN_SEARCHES)
    rate = subgroup_rates(found, {"sex": dict.fromkeys(range(1, MIN_SEARCHES + 1), "male")}, threshold=0.5)[0]
    assert rate.same_group is None
    assert rate.fpir.value == 0.0
    assert rate.fpir.high == pytest.approx(1 - 0.025 ** (1 / MIN_SEARCHES))
