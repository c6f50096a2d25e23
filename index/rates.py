"""Proportions with an interval that is honest about how few or how dependent the trials were."""

import math

from scipy import special

from index.types import Rate

CONFIDENCE = 0.95
"""Share of intervals that contain the true proportion, at least."""


def proportion(successes: int, trials: int, *, design_effect: float = 1.0) -> Rate:
    """Return an observed proportion with its 95 % Clopper-Pearson interval.

    Args:
        successes: Trials with the outcome.
        trials: All trials.
        design_effect: Variance of the proportion divided by that of independent trials;
            successes and trials count this many times less in the interval.

    Returns:
        The proportion; without any trial 0, and the interval from 0 to 1.

    Source:
        Clopper and Pearson, Biometrika 26 (1934) 404; the beta quantiles take real-valued
        counts. Effective sample size: Kish, Survey Sampling (1965), 8.2.
    """
    if trials == 0:
        return Rate(0.0, 0.0, 1.0, 0)
    outside = (1.0 - CONFIDENCE) / 2.0
    hits = successes / design_effect
    others = (trials - successes) / design_effect
    low = 0.0 if successes == 0 else float(special.betaincinv(hits, others + 1.0, outside))
    high = 1.0 if successes == trials else float(special.betaincinv(hits + 1.0, others, 1.0 - outside))
    return Rate(successes / trials, low, high, trials)


def at_least_once(rate: float, times: float) -> float:
    """Return the chance that something of chance `rate` happens in that many independent tries.

    Precise for rates far below the resolution of 1 - rate.
    """
    if rate >= 1.0:
        return 1.0
    return -math.expm1(times * math.log1p(-rate))
