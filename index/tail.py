"""How far chance may move a compressed score, from the exact distribution of directions.

Two things move it (`index.compressed_scan`): b·w, with w one coordinate of a point drawn
uniformly from the unit sphere of n = D-1 dimensions, and e, the rounding of lookup tables,
sub-Gaussian with standard deviation σ and independent of w. Wanted is a margin r that
b·w + e exceeds with probability at most p = `MISS_PROBABILITY`.

**w alone.** P(w >= t) = ½·I(1-t²; (n-1)/2, ½), the regularised incomplete beta function, so the
q that w exceeds with probability p is known exactly: 5.90/sqrt(n) at 512 dimensions, where the
sub-Gaussian bound sqrt(2·ln(1/p)/n) that served before is 6.44/sqrt(n).

**Both.** The density of w, proportional to (1-w²)^((n-3)/2), is log-concave for n >= 3, and so is
its tail G(t) = P(w >= t) (Prékopa). So ln G lies below its tangent at q, whose slope is minus
the hazard rate h = density(q)/p: G(t) <= p·exp(-h·(t-q)) for every t. Averaged over e,

    P(b·w + e >= r) = E[G((r-e)/b)] <= p·exp(-h·(r/b-q))·E[exp(h·e/b)]
                   <= p·exp(-h·(r/b-q) + h²·σ²/(2·b²)),

which is p where r = q·b + h·σ²/(2·b). With both taken for sub-Gaussian, r = z·sqrt(b²/n + σ²) holds as
well, z = sqrt(2·ln(1/p)); it is less where σ is not small beside b/sqrt(n). The smaller of the two counts.

**Smaller swings.** A score s leaves s'·b·w with s' = sqrt(1-s²) between 0 and 1. The least r that
arguments of this kind give for s' is the infimum over u = 1/λ > 0 of u·ln(1/p) + u·g(s'·b/u) + σ²/(2·u),
g(θ) being the convex logarithm of the bound's factor, ln G(t)·exp(θ·t) at the tangent point of slope θ.
u·g(s'·b/u) is the perspective of a convex function, so the whole is convex in (s', u) together, and
its infimum over u convex in s'. A convex function lies below its chord, so

    r(s') <= z·σ + s'·(r(1) - z·σ)

where z·σ is r(0): that is the form used, since it can be solved for the score.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

MISS_PROBABILITY = 1e-9
"""Chance that a scan complete down to T loses one given reference that scores T or more."""

SURE = math.sqrt(2.0 * math.log(1.0 / MISS_PROBABILITY))
"""Standard deviations, z, that a sub-Gaussian variable exceeds with at most that probability."""


@dataclass(frozen=True, slots=True)
class Tail:
    """What one coordinate of a random direction does not exceed, except with `MISS_PROBABILITY`.

    Attributes:
        dimension: Dimensions n of the sphere's space, at least 3.
        quantile: q, exceeded with exactly that probability.
        hazard: h, density at q divided by that probability.
    """

    dimension: int
    quantile: float
    hazard: float

    @staticmethod
    def of(dimension: int) -> "Tail":
        """Compute both for a sphere.

        Args:
            dimension: n, at least 3.

        Source:
            Johnson, Kotz and Balakrishnan, Continuous Univariate Distributions 2, 25: w² has the beta
            distribution of (½, (n-1)/2).
        """
        half = (dimension - 1) / 2.0
        quantile = math.sqrt(1.0 - special.betaincinv(half, 0.5, 2.0 * MISS_PROBABILITY))
        log_density = (
            math.lgamma(dimension / 2.0)
            - math.lgamma(half)
            - 0.5 * math.log(math.pi)
            + (half - 1.0) * math.log1p(-quantile * quantile)
        )
        return Tail(dimension, quantile, math.exp(log_density) / MISS_PROBABILITY)

    def swing(self, spread: NDArray[np.float64], rounding: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what the margin is more at a right angle (s' = 1) than z·σ.

        Args:
            spread: b of some references.
            rounding: σ, of a shape that goes with them.
        """
        return np.asarray(np.minimum(*self._two(spread, rounding)) - SURE * rounding)

    def lines(
        self, lowest: float, highest: float, rounding: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return straight lines in b that are nowhere below `swing` from the lowest b to the highest.

        Both bounds that swing is the lesser of are convex in b, so each lies below its chord.

        Args:
            lowest: Least b.
            highest: Largest b.
            rounding: Shape (n,), σ.

        Returns:
            Shape (n,) each: c and k of c + k·b.
        """
        ends = np.array([[lowest], [highest]])
        chords = np.stack(self._two(ends, rounding[None, :]))
        first, last = chords[chords.sum(axis=1).argmin(axis=0), :, np.arange(len(rounding))].T
        steepness = (last - first) / max(highest - lowest, 1e-9)
        return first - steepness * lowest - SURE * rounding, steepness

    def _two(
        self, spread: NDArray[np.float64], rounding: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the margin at a right angle by the exact tail, and by the sub-Gaussian bound."""
        spread = np.maximum(spread, 1e-9)
        exact = self.quantile * spread + (0.5 * self.hazard) * rounding * rounding / spread
        return exact, SURE * np.hypot(spread / math.sqrt(self.dimension), rounding)
