"""Intervals of proportions."""

import numpy as np
import pytest

from index.rates import at_least_once, proportion


def test_the_interval_is_that_of_clopper_and_pearson() -> None:
    """Figures from the tables of the exact binomial interval: 0/10, 5/10, 10/10."""
    assert (proportion(0, 10).low, proportion(0, 10).high) == pytest.approx((0.0, 0.3085), abs=1e-4)
    assert (proportion(5, 10).low, proportion(5, 10).high) == pytest.approx((0.1871, 0.8129), abs=1e-4)
    assert (proportion(10, 10).low, proportion(10, 10).high) == pytest.approx((0.6915, 1.0), abs=1e-4)


def test_a_design_effect_of_two_gives_the_interval_of_half_as_many_trials() -> None:
    wide, half = proportion(20, 2000, design_effect=2.0), proportion(10, 1000)
    assert (wide.low, wide.high) == pytest.approx((half.low, half.high))
    assert (wide.value, wide.n) == (0.01, 2000)


def test_without_a_trial_nothing_is_known() -> None:
    rate = proportion(0, 0)
    assert (rate.low, rate.high, rate.n) == (0.0, 1.0, 0)


@pytest.mark.parametrize("truth", [0.003, 0.01, 0.2])
def test_at_least_95_percent_of_intervals_contain_the_truth(truth: float) -> None:
    counts = np.random.default_rng(1).binomial(1000, truth, size=2000)
    rates = [proportion(int(count), 1000) for count in counts]
    assert np.mean([rate.low <= truth <= rate.high for rate in rates]) >= 0.945


def test_rare_chances_repeated_stay_precise() -> None:
    assert at_least_once(1e-20, 400_000) == pytest.approx(4e-15, rel=1e-9)
    assert at_least_once(0.5, 2) == pytest.approx(0.75)
    assert at_least_once(1.0, 0.5) == 1.0
    assert at_least_once(0.0, 1e9) == 0.0
