"""Exhaustive scan over 4-bit codes, a small part of the memory traffic, with a stated error bound.

Every group of two or three coordinates of a rotated reference x becomes one of 16 points
(`index.codebook`; product quantisation): 86 bytes at 512 dimensions. The scan, by machine code of
our own (`index.native_scan`) or where that cannot run by FAISS (`index.faiss_scan`), gives <Rp, x̂>
for every reference; candidates are then compared exactly, so only a reference
whose compressed score is *too low* can do harm.

**How low can it be?** Write the rotated probe as s·x + sqrt(1-s²)·u, with s the true
cosine and u of norm 1 at a right angle to x. Then

    <Rp, x̂> = s·a + sqrt(1-s²)·b·w + e

with a = <x, x̂> and b = |x̂ - a·x|, both known for every reference once it is encoded;
w = <u, direction of x̂ - a·x>; and e the rounding of lookup tables, to 6 bits or by FAISS to 8.
The rotation is uniformly random and independent of faces, so given x and its code u is
uniform on the sphere of D-1 dimensions, for any encoder and any person, and the distribution of w
is known exactly. e is the sum of M = D/g roundings of at most half a step: sub-Gaussian with variance
σ² = M/4·step², *if* the roundings are taken for independent, which is the only thing assumed;
it adds one to two per cent to the margin. So for s at or above a threshold T >= 0, except with
probability `MISS_PROBABILITY`,

    <Rp, x̂> >= cut(T) = a·T - r(sqrt(1-T²))

with the margin r of `index.tail`, which says how the two parts add up. A scan that has returned every
reference at or above its cut(T) has lost a given reference scoring T or more with at most that
probability. There is no better certainty at this size: the deterministic bound, |p|·|x - x̂|, is 0.33
for pairs and 0.48 for triples.

a and b differ between references, and the worst one's cut lies far below the usual one. The scan knows one
cut for all, the worst's; what it returns is then held against its own cut, kept as two half-precision
numbers a reference, and about five in six are dropped before they are compared.

A scan answers in one of two ways: the k largest (`CompressedScan.search`), where callers check how far
down they reach (`Hits.floor`), or all above a cut (`CompressedScan.within`), which costs less, since it
needs no order; see `index.segment_search` for which when.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import faiss
import numpy as np
from numpy.typing import NDArray

from index.codebook import codebook_for
from index.codes import Codes, encode
from index.faiss_scan import FaissScan
from index.native_scan import NativeScan
from index.probes import Probes, code_for
from index.tail import SURE, Tail
from index.types import Vectors

BATCH = 16
"""Probes that are searched for together."""

_SLACK = 1e-4
"""Covers float32 rounding in the scan, which is some 1e-6, many times over."""


@dataclass(frozen=True, slots=True)
class Hits:
    """The references that may score high enough for each of n probes, k of them together.

    Attributes:
        probes: Shape (k,), ascending places among the probes.
        rows: Shape (k,), rows of the scanned vectors that are not below their own cut.
        scores: Shape (k,), their compressed scores.
        near: Shape (n,), how many rows the scan returned that are not below the worst row's cut.
        ranked: Shape (n, depth), all scores that it returned, descending; None from `within`.
        steps: Shape (n,), those of the probes.
        floor: Shape (n,): every row of a true score at or above this, and at or above the threshold
            asked for, is in `rows`, each except with probability `MISS_PROBABILITY`; minus infinity
            where all rows were returned.
    """

    probes: NDArray[np.intp]
    rows: NDArray[np.int64]
    scores: NDArray[np.float32]
    near: NDArray[np.intp]
    ranked: NDArray[np.float32] | None = field(repr=False)
    steps: NDArray[np.float64]
    floor: NDArray[np.float64]


class CompressedScan:
    """The codes of a fixed set of vectors, ready to be scanned by any number of threads."""

    def __init__(self, vectors: Vectors) -> None:
        """Encode vectors.

        Args:
            vectors: Shape (m, d), rows of norm 1, m at least 1. Not kept.
        """
        rows, dimension = vectors.shape
        self._prepare(encode(vectors, rows=rows, dimension=dimension), dimension)

    @classmethod
    def of_codes(cls, codes: Codes, *, dimension: int) -> "CompressedScan":
        """Arrange codes that were made before, or of vectors that are not in memory.

        Args:
            codes: At least one. Only their bounds are kept.
            dimension: Length d of the vectors.
        """
        scan = cls.__new__(cls)
        scan._prepare(codes, dimension)
        return scan

    def _prepare(self, codes: Codes, dimension: int) -> None:
        """Set everything that a search needs."""
        self._codebook = codebook_for(dimension)
        self._padded = self._codebook.padded(dimension)
        self._tail = Tail.of(self._padded - 1)
        self._bounds = codes.bounds
        # The bits of half-precision numbers that are not negative are in their order, and compared faster.
        self._least_spread = float(codes.bounds[:, 1].view(np.uint16).min().view(np.float16))
        self._alignment, self._spread = codes.worst
        code = code_for(self._codebook, dimension)
        self._scan: NativeScan | FaissScan = (
            NativeScan(codes.packed, code) if code else FaissScan(codes.packed, self._codebook)
        )

    def __len__(self) -> int:
        """Return the number of vectors, m."""
        return len(self._bounds)

    def search(self, probes: Probes, *, depth: int, threshold: float = -1.0) -> Hits:
        """Return those of the `depth` best compressed scores for each probe that may reach a threshold.

        Args:
            probes: n probes.
            depth: How many to take, at least 1; no more than there are.
            threshold: T, from which true scores matter.
        """
        depth = min(depth, len(self))
        ranked, rows = self._scan.best(probes, depth)
        margins = self._margins(probes.steps)
        near = (ranked >= self._cut(threshold, *margins)[:, None]).sum(axis=1)
        complete = depth == len(self)
        floor = np.full(len(rows), -np.inf) if complete else self._floor(ranked[:, -1], *margins)
        taken = np.arange(depth) < near[:, None]
        which = np.repeat(np.arange(len(near)), near)
        which, rows, scores = self._own_cut(which, rows[taken], ranked[taken], threshold, probes.steps)
        return Hits(which, rows, scores, near, ranked, probes.steps, floor)

    def within(self, probes: Probes, *, threshold: float) -> Hits | None:
        """Return all references that may reach a threshold, however many.

        Args:
            probes: n probes.
            threshold: T, from which true scores matter.

        Returns:
            None where the threshold is so low that a cut is not positive: half of all rows are above it.
        """
        cuts = self._cut(threshold, *self._margins(probes.steps))
        if cuts.min() <= 0.0:
            return None
        near, rows, scores = self._scan.above(probes, cuts)
        which = np.repeat(np.arange(len(near)), near)
        which, rows, scores = self._own_cut(which, rows, scores, threshold, probes.steps)
        return Hits(which, rows, scores, near, None, probes.steps, np.full(len(near), threshold))

    def _own_cut(
        self,
        which: NDArray[np.intp],
        rows: NDArray[np.int64],
        scores: NDArray[np.float32],
        threshold: float,
        steps: NDArray[np.float64],
    ) -> tuple[NDArray[np.intp], NDArray[np.int64], NDArray[np.float32]]:
        """Leave out rows below their own cut.

        Args:
            which: Shape (k,), places among the probes.
            rows: Shape (k,).
            scores: Shape (k,), compressed scores.
            threshold: T.
            steps: Shape (n,), see `Probes`.
        """
        if threshold < 0.0 or not len(rows):
            return which, rows, scores
        bounds = self._bounds.view(np.uint32)[:, 0].take(rows).view(np.float16).astype(np.float32)
        across = math.sqrt(max(0.0, 1.0 - threshold * threshold))
        rounding = self._rounding(steps)
        start, steepness = self._tail.lines(self._least_spread, float(self._spread.max()), rounding)
        slack = start * across + SURE * rounding + _SLACK
        reached = bounds[1::2] * (across * steepness).astype(np.float32).take(which)
        reached -= bounds[0::2] * np.float32(min(threshold, 1.0))
        reached += scores
        kept = reached >= (-slack).astype(np.float32).take(which)
        return which[kept], rows[kept], scores[kept]

    def cut(self, thresholds: NDArray[np.float64], *, steps: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the compressed score at or above which a reference of true score >= T lies.

        This is the worst reference's, below which none of them lies.

        Args:
            thresholds: Shape (n,), one T for each probe.
            steps: Shape (n,), see `Probes`.

        Returns:
            Shape (n,); minus infinity for T below 0, where nothing is known.
        """
        return self._cut(thresholds[:, None], *self._margins(steps))

    def floor(self, scores: NDArray[np.float64], *, steps: NDArray[np.float64]) -> NDArray[np.float64]:
        """Undo `cut`: the lowest threshold whose cut is above these compressed scores.

        Args:
            scores: Shape (n,), lowest compressed score returned for each probe.
            steps: Shape (n,).

        Returns:
            Shape (n,), 0 to 1; 2 where no threshold has so high a cut.
        """
        return self._floor(scores, *self._margins(steps))

    def _cut(
        self,
        thresholds: float | NDArray[np.float64],
        swing: NDArray[np.float64],
        rounding: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Compute `cut` from margins; thresholds are one number or of shape (n, 1)."""
        known = np.minimum(np.maximum(thresholds, 0.0), 1.0)
        cuts = self._alignment * known - swing * np.sqrt(1.0 - known * known) - rounding
        cuts[np.broadcast_to(np.less(thresholds, 0.0), cuts.shape)] = -np.inf
        return np.asarray(cuts.min(axis=1))

    def _floor(
        self, scores: NDArray[np.floating], swing: NDArray[np.float64], rounding: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Compute `floor` from margins: solve a·T - swing·sqrt(1-T²) = score + rounding for T."""
        height = (scores[:, None] + rounding) / np.hypot(self._alignment, swing)
        tilt = np.arctan2(swing, self._alignment)
        angle = tilt + np.arcsin(np.minimum(np.maximum(height, -1.0), 1.0))
        floors = np.sin(np.minimum(np.maximum(angle, 0.0), math.pi / 2.0))
        floors[(height > 1.0) | (angle > math.pi / 2.0)] = 2.0
        return np.asarray(floors.max(axis=1))

    def _margins(self, steps: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the parts of the margin that shrink with sqrt(1-T²), and that do not.

        Returns:
            Shape (n, kept) and (n, 1), for the worst references kept.
        """
        rounding = self._rounding(steps)[:, None]
        return self._tail.swing(self._spread, rounding), SURE * rounding + _SLACK

    def _rounding(self, steps: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return σ, the standard deviation of e: half a step for each of the M tables."""
        return steps * (0.5 * math.sqrt(self._padded / self._codebook.group))


@contextmanager
def one_thread_here() -> Iterator[None]:
    """Make FAISS work in the calling thread only, and as before afterwards."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def use_one_thread() -> None:
    """Make FAISS work in the calling thread only; the setting is one of that thread."""
    faiss.omp_set_num_threads(1)
