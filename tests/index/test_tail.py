"""The margin of compressed scores against plain quadrature of the densities it is made of."""

import math

import numpy as np
import pytest
from scipy import special

from index.tail import MISS_PROBABILITY, SURE, Tail


def beyond(dimension: int, starts: np.ndarray) -> np.ndarray:
    """P(w >= start) by the trapezoidal rule, for w one coordinate of a point on the sphere."""
    grid = np.linspace(-1.0, 1.0, 400_001)
    density = np.exp((dimension - 3) / 2.0 * np.log1p(-np.minimum(grid * grid, 1.0 - 1e-16)))
    steps = 0.5 * (density[1:] + density[:-1])
    tail = np.r_[np.cumsum(steps[::-1])[::-1], 0.0] / steps.sum()
    return np.asarray(np.interp(np.clip(starts, -1.0, 1.0), grid, tail))


@pytest.mark.parametrize("dimension", [31, 127, 515])
def test_the_quantile_is_exceeded_with_the_probability_stated(dimension: int) -> None:
    tail = Tail.of(dimension)
    assert float(beyond(dimension, np.array([tail.quantile]))[0]) == pytest.approx(MISS_PROBABILITY, rel=1e-3)
    width = 1e-4
    around = beyond(dimension, np.array([tail.quantile - width, tail.quantile + width]))
    assert (around[0] - around[1]) / (2 * width) / MISS_PROBABILITY == pytest.approx(tail.hazard, rel=1e-2)


def test_in_many_dimensions_the_quantile_is_the_normal_one() -> None:
    """-5.99781 is the tabulated quantile of 1e-9."""
    assert Tail.of(10**7).quantile * math.sqrt(1e7) == pytest.approx(5.99781, abs=1e-3)
    assert special.ndtri(MISS_PROBABILITY) == pytest.approx(-5.99781, abs=1e-5)


@pytest.mark.parametrize("across", [1.0, 0.9, 0.3, 0.0])
@pytest.mark.parametrize("share", [0.02, 0.1, 0.5, 3.0])
def test_chance_and_rounding_together_exceed_the_margin_with_at_most_that_probability(
    across: float, share: float
) -> None:
    """Rounding is taken for normal, the worst that a sub-Gaussian variable is far out."""
    dimension, spread = 255, 0.4
    tail = Tail.of(dimension)
    rounding = share * spread / math.sqrt(dimension)
    swing = float(tail.swing(np.array([spread]), np.array([rounding]))[0])
    margin = across * swing + SURE * rounding
    normal = np.linspace(-9.0, 9.0, 20_001)
    weights = np.exp(-normal * normal / 2.0)
    left = (margin - rounding * normal) / max(across * spread, 1e-12)
    chance = float((weights * beyond(dimension, left)).sum() / weights.sum())
    assert chance <= MISS_PROBABILITY * 1.001
    if across == 1.0 and share < 0.2:
        assert chance > MISS_PROBABILITY / 2.0


@pytest.mark.parametrize("share", [1e-6, 0.02, 0.1, 0.5, 3.0])
@pytest.mark.parametrize(("lowest", "highest"), [(0.0, 0.6), (0.38, 0.47), (0.42, 0.42)])
def test_a_line_lies_nowhere_below_the_swing_and_close_to_it_where_codes_are(
    share: float, lowest: float, highest: float
) -> None:
    tail = Tail.of(515)
    rounding = np.array([share * 0.42 / math.sqrt(515)])
    start, steepness = tail.lines(lowest, highest, rounding)
    spread = np.linspace(lowest, highest, 101)
    swing = tail.swing(spread, rounding)
    assert (start + steepness * spread >= swing - 1e-9).all()
    if lowest > 0.0 and share < 0.2:
        assert (start + steepness * spread <= swing * 1.002).all()
