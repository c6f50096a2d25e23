"""False-alarm rate as a function of the score, measured on a gallery or taken from a pack's table.

Both curves speak of one search by a person who is not in a gallery of `persons`
persons, and both fall as the score rises, never to zero.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from index.errors import CalibrationError
from index.rates import at_least_once, proportion

TAIL_SIZE = 2000
"""Best scores kept one by one; below them 101 quantiles describe the sample."""

_SMALLEST = 1e-300
"""Stands for rates that no float can tell from zero; a false alarm is never impossible."""


@dataclass(frozen=True, slots=True)
class FalseAlarmRate:
    """How often a search by somebody not in the gallery returns a candidate scoring this high.

    Attributes:
        value: Estimate, above 0, at most 1.
        low: Lower end of the 95 % interval.
        high: Upper end of the 95 % interval.
        extrapolated: Whether the score lies beyond everything observed, so that the
            value rests on a fitted tail or a continued table.
    """

    value: float
    low: float
    high: float
    extrapolated: bool


class Curve(Protocol):
    """A false-alarm rate that falls with the score."""

    @property
    def persons(self) -> int:
        """Size of the gallery that the rates speak of."""

    def rate(self, score: float) -> FalseAlarmRate:
        """Return the rate of candidates at or above a score."""

    def threshold(self, rate: float) -> float:
        """Return the lowest score whose rate is at most `rate`, as far as the curve knows."""

    def as_document(self) -> dict[str, Any]:
        """Return plain JSON values."""


@dataclass(frozen=True, slots=True)
class FittedTail:
    """Generalised Pareto distribution of how far scores exceed a level.

    Attributes:
        level: Score from which the tail was fitted.
        scale: Of the distribution, above 0.
        shape: 0 is exponential, larger is heavier.
    """

    level: float
    scale: float
    shape: float

    def log_exceedance(self, score: float) -> float:
        """Return the logarithm of the share of the tail at or above a score, at most 0."""
        distance = max(0.0, score - self.level) / self.scale
        return -distance if self.shape == 0.0 else -math.log1p(self.shape * distance) / self.shape

    def score_at(self, log_exceedance: float) -> float:
        """Undo `log_exceedance`."""
        if self.shape == 0.0:
            return self.level - self.scale * log_exceedance
        return self.level + self.scale * math.expm1(-self.shape * log_exceedance) / self.shape


def fit_tail(scores: Sequence[float]) -> FittedTail:
    """Fit the upper tail of a sample by peaks over threshold.

    The shape is held between 0 and 0.25. Cosines are bounded, so the true shape is rarely
    above 0; not going below errs towards more false alarms, and keeps every rate above 0.

    Args:
        scores: The largest scores of the sample, descending, at least two different ones; the
            last is the level.

    Source:
        Probability-weighted moments: Hosking and Wallis, Technometrics 29 (1987) 339.
    """
    excess = np.sort(np.asarray(scores, dtype=np.float64) - scores[-1])[1:]
    places = (np.arange(1, len(excess) + 1) - 0.35) / len(excess)
    mean = float(excess.mean())
    weighted = float(((1.0 - places) * excess).mean())
    shape = 2.0 - mean / (mean - 2.0 * weighted) if mean > 2.0 * weighted else 0.25
    shape = min(max(shape, 0.0), 0.25)
    return FittedTail(float(scores[-1]), max(mean * (1.0 - shape), 1e-6), shape)


@dataclass(frozen=True)
class MeasuredCurve:
    """Shares of non-mated searches at or above a score, with a fitted tail beyond the largest.

    Attributes:
        persons: Size of the gallery that was measured.
        n: Searches in the sample.
        design_effect: See `index.calibration`.
        top: The largest scores, descending, at most `TAIL_SIZE`.
        quantiles: 101 scores at 0, 1, … 100 % of the sample, ascending.
    """

    persons: int
    n: int
    design_effect: float
    top: tuple[float, ...]
    quantiles: tuple[float, ...]

    @staticmethod
    def of(scores: NDArray[np.float64], *, persons: int, design_effect: float) -> "MeasuredCurve":
        """Summarise a sample of best scores.

        Args:
            scores: Shape (n,), any order, n at least 1.
            persons: Size of the gallery.
            design_effect: Of the shares in this sample.
        """
        descending = np.sort(scores)[::-1]
        return MeasuredCurve(
            persons=persons,
            n=len(scores),
            design_effect=design_effect,
            top=tuple(descending[:TAIL_SIZE].tolist()),
            quantiles=tuple(np.quantile(scores, np.linspace(0.0, 1.0, 101)).tolist()),
        )

    @cached_property
    def tail(self) -> FittedTail:
        """The fitted tail: the top tenth of the sample, 50 to 500 scores."""
        size = min(max(self.n // 10, 50), 500, len(self.top))
        return fit_tail(self.top[:size])

    @cached_property
    def _ascending_top(self) -> NDArray[np.float64]:
        """`top` the other way round, for binary search."""
        return np.array(self.top[::-1])

    def rate(self, score: float) -> FalseAlarmRate:
        """Return the share of searches at or above a score, or the tail's estimate beyond all."""
        if score > self.top[0]:
            log_rate = self._log_anchor + self.tail.log_exceedance(score)
            value = max(_SMALLEST, math.exp(max(log_rate, -690.0)))
            high = proportion(0, self.n, design_effect=self.design_effect).high
            return FalseAlarmRate(value, 0.0, high, extrapolated=True)
        share = proportion(self._count(score), self.n, design_effect=self.design_effect)
        return FalseAlarmRate(share.value, share.low, share.high, extrapolated=False)

    def threshold(self, rate: float) -> float:
        """Return the smallest kept score with at most this share at or above it.

        Beyond the sample the fitted tail decides.
        """
        allowed = math.floor(rate * self.n * (1.0 + 1e-12))
        if allowed > len(self.top):
            return float(np.interp(1.0 - rate, np.linspace(0.0, 1.0, 101), self.quantiles))
        fitting = [score for score in self.top[:allowed] if self._count(score) <= allowed]
        if fitting:
            return fitting[-1]
        return max(self.tail.score_at(math.log(rate) - self._log_anchor), math.nextafter(self.top[0], 2.0))

    @property
    def _log_anchor(self) -> float:
        """Makes the extrapolated rate meet the observed 1/n at the largest score."""
        return -math.log(self.n) - self.tail.log_exceedance(self.top[0])

    def _count(self, score: float) -> int:
        """Return how many searches scored at or above; interpolated below the scores kept."""
        above = len(self.top) - int(np.searchsorted(self._ascending_top, score, side="left"))
        if above < len(self.top) or len(self.top) == self.n:
            return above
        share = 1.0 - float(np.interp(score, self.quantiles, np.linspace(0.0, 1.0, 101)))
        return min(self.n, max(len(self.top), round(share * self.n)))

    def as_document(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "persons": self.persons,
            "n": self.n,
            "design_effect": self.design_effect,
            "top": list(self.top),
            "quantiles": list(self.quantiles),
        }


@dataclass(frozen=True, slots=True)
class PackCurve:
    """Rates computed from a pack's table of false match rates, where a gallery is too small to measure.

    Between the table's points the logarithm of the rate is linear in the score. Beyond its
    ends the error is on the side of more false alarms: above, it falls as slowly as anywhere
    in the table; below, it rises as steeply. Nothing was measured on this gallery, so the
    interval is everything from 0 to 1.

    Attributes:
        persons: Size of the gallery.
        points: (threshold, false match rate per pair), thresholds ascending, rates falling.
    """

    persons: int
    points: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        """Refuse a table that does not fall.

        Raises:
            CalibrationError: Fewer than two points, rates outside 0 to 1, or not falling.
        """
        ordered = all(a[0] < b[0] and a[1] > b[1] for a, b in pairwise(self.points))
        if len(self.points) < 2 or not ordered or not all(0.0 < rate <= 1.0 for _, rate in self.points):
            raise CalibrationError(
                "The pack's calibration table needs two or more thresholds with falling false match rates."
            )

    def rate(self, score: float) -> FalseAlarmRate:
        """Return the chance that at least one of `persons` strangers scores this high."""
        match_rate = min(1.0, math.exp(max(self._log_rate(score), -690.0)))
        value = max(_SMALLEST, at_least_once(match_rate, max(1, self.persons)))
        beyond = not self.points[0][0] <= score <= self.points[-1][0]
        return FalseAlarmRate(value, 0.0, 1.0, extrapolated=beyond)

    def threshold(self, rate: float) -> float:
        """Return the score at which the rate is `rate`, at most 1."""
        wanted = math.log(-math.expm1(math.log1p(-rate) / max(1, self.persons)))
        scores, logs = self._columns()
        steep, shallow = self._slopes()
        if wanted > logs[0]:
            return max(-1.0, scores[0] + (wanted - logs[0]) / steep)
        if wanted < logs[-1]:
            return min(1.0, scores[-1] + (wanted - logs[-1]) / shallow)
        return float(np.interp(-wanted, [-value for value in logs], scores))

    def _log_rate(self, score: float) -> float:
        """Return the logarithm of the false match rate per pair, continued beyond the table."""
        scores, logs = self._columns()
        steep, shallow = self._slopes()
        if score < scores[0]:
            return logs[0] + steep * (score - scores[0])
        if score > scores[-1]:
            return logs[-1] + shallow * (score - scores[-1])
        return float(np.interp(score, scores, logs))

    def _columns(self) -> tuple[list[float], list[float]]:
        """Return the thresholds and the logarithms of the rates."""
        return [score for score, _ in self.points], [math.log(rate) for _, rate in self.points]

    def _slopes(self) -> tuple[float, float]:
        """Return the steepest and the shallowest slope of the logarithm, both below 0."""
        slopes = [math.log(b[1] / a[1]) / (b[0] - a[0]) for a, b in pairwise(self.points)]
        return min(slopes), max(slopes)

    def as_document(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"persons": self.persons, "points": [list(point) for point in self.points]}
