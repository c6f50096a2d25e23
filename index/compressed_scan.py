"""Exhaustive scan over 4-bit codes, a sixteenth of the memory traffic, with a stated error bound.

Every pair of coordinates of a rotated reference x becomes one of 16 points (product
quantisation, FAISS's `PQ…x4fs`): 128 bytes at 512 dimensions. The scan gives <Rp, x̂>
for every reference; candidates are then compared exactly, so only a reference whose
compressed score is *too low* can do harm.

**How low can it be?** Write the rotated probe as s·x + sqrt(1-s²)·u, with s the true
cosine and u of norm 1 at a right angle to x. Then

    <Rp, x̂> = s·a + sqrt(1-s²)·b·w + e

with a = <x, x̂> and b = |x̂ - a·x|, both known for every reference once it is encoded;
w = <u, direction of x̂ - a·x>; and e the rounding of FAISS's lookup tables to 8 bits.
The rotation is uniformly random and independent of faces, so given x and its code u is
uniform on the sphere of D-1 dimensions, and w is sub-Gaussian with variance 1/(D-1)
exactly, for any encoder and any person. e is the sum of D/2 roundings of at most half a
step: sub-Gaussian with variance D/8·step², *if* the roundings are taken for independent,
which is the only thing assumed; it adds about 1 % to the margin. So for s at or above a
threshold T >= 0, except with probability `MISS_PROBABILITY`,

    <Rp, x̂> >= cut(T) = min over references of a·T - z·sqrt(b²·(1-T²)/(D-1) + D/8·step²)

with z = sqrt(2·ln(1/MISS_PROBABILITY)). A scan that has returned everything at or above
cut(T) has lost a given reference scoring T or more with at most that probability. There
is no better certainty at this size: the deterministic bound, |p|·|x - x̂|, is 0.33.

FAISS returns the k largest, not all above a cut, so callers check that the k-th lies
below it and ask for more otherwise: `Hits.floor` says down to which T an answer is complete.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import faiss
import numpy as np
from numpy.typing import NDArray

from index.codes import BITS, LARGEST_POINT, Codes, centroids, encode, rotator
from index.rotation import fixed_rotation
from index.types import Vectors

MISS_PROBABILITY = 1e-9
"""Chance that a scan complete down to T loses one given reference that scores T or more."""

_SURE = math.sqrt(2.0 * math.log(1.0 / MISS_PROBABILITY))
"""Standard deviations that a sub-Gaussian variable exceeds with at most that probability."""

_BLOCK = 32
"""Codes side by side in FAISS's layout; the smallest that it has."""

_RESERVOIR = 13
"""FAISS's variant that keeps a reservoir of finds per probe and looks a group of probes up together."""

BATCH = 16
"""Probes that are scanned together fastest: on AVX2 0.91 ms each in 200,000 rows, by eight 1.0, alone 1.9."""

_PAIRS = 0x22222222
"""Sixteen probes in groups of two: sums of more do not fit the sixteen registers of AVX2 (12 % slower)."""

_SLACK = 1e-4
"""Covers float32 rounding in the scan, which is some 1e-6, many times over."""


@dataclass(frozen=True, slots=True)
class Hits:
    """The references with the best compressed scores for each of n probes.

    Attributes:
        rows: Shape (n, k), rows of the scanned vectors, best compressed score first.
        scores: Shape (n, k), the compressed scores, descending.
        near: Shape (n,), how many of them are not too low for the threshold asked for.
        steps: Shape (n,), resolution of the lookup tables that FAISS made for each probe.
        rotated: Shape (n, D), the probes as they were compared.
        floor: Shape (n,): every row of a true score at or above this is in `rows`, each except
            with probability `MISS_PROBABILITY`; minus infinity where all rows were returned.
    """

    rows: NDArray[np.int64]
    scores: NDArray[np.float32]
    near: NDArray[np.intp]
    steps: NDArray[np.float64]
    rotated: Vectors = field(repr=False)
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
            codes: At least one. Not kept.
            dimension: Length d of the vectors.
        """
        scan = cls.__new__(cls)
        scan._prepare(codes, dimension)
        return scan

    def _prepare(self, codes: Codes, dimension: int) -> None:
        """Set everything that a search needs."""
        padded = fixed_rotation(dimension).padded
        self._size = len(codes.packed)
        self._padded = padded
        self._rotate = rotator(dimension)
        self._alignment, spread = codes.quality
        self._swing = _SURE * spread / math.sqrt(padded - 1)
        self._index = _index_of(codes.packed, padded)

    def __len__(self) -> int:
        """Return the number of vectors, m."""
        return self._size

    def rotated(self, probes: Vectors) -> Vectors:
        """Return probes as the rows of a `CompactStore` are compared with them, shape (n, D)."""
        return self._rotate(probes)

    def search(self, probes: Vectors, *, depth: int, threshold: float = -1.0) -> Hits:
        """Return the `depth` references with the best compressed scores for each probe.

        FAISS uses as many threads as the calling thread allows it; see `use_one_thread`.

        Args:
            probes: Shape (n, d), rows of norm 1.
            depth: How many to return, at least 1; no more than there are come back.
            threshold: T, from which true scores matter.
        """
        rotated = self._rotate(probes)
        steps = _table_steps(rotated)
        depth = min(depth, self._size)
        scores, rows = self._index.search(rotated, depth)
        margins = self._margins(steps)
        near = (scores >= self._cut(threshold, *margins)[:, None]).sum(axis=1)
        complete = depth == self._size
        floor = np.full(len(rows), -np.inf) if complete else self._floor(scores[:, -1], *margins)
        return Hits(rows=rows, scores=scores, near=near, steps=steps, rotated=rotated, floor=floor)

    def cut(self, thresholds: NDArray[np.float64], *, steps: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the compressed score at or above which a reference of true score >= T lies.

        To be invertible, sqrt(…·(1-T²) + …) is replaced by its chord between sqrt(1-T²) = 0
        and 1, which lies above it.

        Args:
            thresholds: Shape (n,), one T for each probe.
            steps: Shape (n,), see `Hits`.

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
        rounding = _SURE * math.sqrt(self._padded / 8.0) * steps[:, None]
        return np.hypot(self._swing, rounding) - rounding, rounding + _SLACK


def use_one_thread() -> None:
    """Make FAISS work in the calling thread only; the setting is one of that thread."""
    faiss.omp_set_num_threads(1)


def _table_steps(rotated: Vectors) -> NDArray[np.float64]:
    """Return the most that one step of FAISS's 8-bit lookup tables can be for each probe.

    Args:
        rotated: Shape (n, D).

    Returns:
        Shape (n,).

    Source:
        FAISS, `quantize_LUT_and_bias`: tables are scaled by the smaller of 255 over the widest
        one and 65535 over the sum of widths. A width is at most 2·(largest point)·|probe's pair|.
    """
    pairs = np.hypot(rotated[:, 0::2], rotated[:, 1::2])
    width = 2.0 * LARGEST_POINT / math.sqrt(rotated.shape[1])
    steps = width * np.maximum(pairs.max(axis=1) / 255.0, pairs.sum(axis=1) / 65535.0)
    return np.asarray(steps, dtype=np.float64)


def _index_of(codes: NDArray[np.uint8], padded: int) -> "faiss.IndexPQFastScan":
    """Arrange codes as FAISS's scan wants them.

    Args:
        codes: Shape (m, D/4).
        padded: D.
    """
    pairs = padded // 2
    plain = faiss.IndexPQ(padded, pairs, BITS, faiss.METRIC_INNER_PRODUCT)
    faiss.copy_array_to_vector(np.tile(centroids(padded), (pairs, 1)).reshape(-1), plain.pq.centroids)
    plain.is_trained = True
    faiss.copy_array_to_vector(codes.reshape(-1), plain.codes)
    plain.ntotal = len(codes)
    # FAISS's stubs know one of the two constructors only.
    from_plain = cast("Callable[[faiss.IndexPQ, int], faiss.IndexPQFastScan]", faiss.IndexPQFastScan)
    index = from_plain(plain, _BLOCK)
    index.implem = _RESERVOIR
    if faiss.SIMDConfig.get_level() == faiss.SIMDLevel_AVX2:
        index.qbs = _PAIRS
    return index
