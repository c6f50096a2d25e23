"""Scanning codes by FAISS (`PQ…x4fs`), where machine code of our own cannot run.

FAISS knows one cut for all probes, and answers in one of two ways: the k largest, in an ordered
reservoir that costs a third of the scan where k is a thousand, or all above a cut, which costs
less where hundreds are.
"""

from collections.abc import Callable
from typing import Any, cast

import faiss
import numpy as np
from numpy.typing import NDArray

from index.codebook import BITS, Codebook
from index.probes import Probes

_BLOCK = 32
"""Codes side by side in FAISS's layout; the smallest that it has."""

_PAIR = 2
"""Probes that FAISS looks up together: sums of more do not fit the registers of AVX2 (12 % slower)."""


class FaissScan:
    """Codes of a fixed set of vectors; any number of threads may scan them.

    FAISS uses as many threads as the calling thread allows it; see `index.compressed_scan.use_one_thread`.
    """

    def __init__(self, packed: NDArray[np.uint8], codebook: Codebook) -> None:
        """Arrange codes.

        Args:
            packed: Shape (m, bytes), two codes in a byte. Not kept.
            codebook: Whose points they are.
        """
        self._index = _index_of(packed, codebook)

    def above(
        self, probes: Probes, cuts: NDArray[np.float64]
    ) -> tuple[NDArray[np.intp], NDArray[np.int64], NDArray[np.float32]]:
        """Return all rows whose compressed score is at or above the lowest cut; see `NativeScan.above`.

        Args:
            probes: n probes.
            cuts: Shape (n,), all positive: FAISS cannot scale others (`RangeHandler`: a cut below the
                least score that its tables can give wraps round).
        """
        bounds, scores, rows = self._index.range_search(probes.rotated, float(cuts.min()))
        return np.diff(bounds.astype(np.intp)), rows, scores

    def best(self, probes: Probes, depth: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return the highest compressed scores, descending, and their rows; see `NativeScan.best`."""
        ranked, rows = self._index.search(probes.rotated, depth)
        return ranked, rows


def _index_of(codes: NDArray[np.uint8], codebook: Codebook) -> "faiss.IndexIVFPQFastScan":
    """Arrange codes as FAISS's scan wants them: in one list, since only lists can be searched by a cut.

    Args:
        codes: Shape (m, bytes).
        codebook: Whose points they are.
    """
    groups = 2 * codes.shape[1]
    padded = groups * codebook.group
    everywhere = faiss.IndexFlatIP(padded)
    everywhere.add(np.zeros((1, padded), dtype=np.float32))
    plain = faiss.IndexIVFPQ(everywhere, padded, 1, groups, BITS, faiss.METRIC_INNER_PRODUCT)
    plain.by_residual = False
    points = np.tile(codebook.centroids(padded), (groups, 1)).reshape(-1)
    faiss.copy_array_to_vector(points, plain.pq.centroids)
    plain.is_trained = True
    rows, packed = np.arange(len(codes), dtype=np.int64), np.ascontiguousarray(codes)
    cast("faiss.InvertedLists", plain.invlists).add_entries(
        0, len(codes), faiss.swig_ptr(rows), faiss.swig_ptr(packed)
    )
    plain.ntotal = len(codes)
    # FAISS's stubs know neither this constructor nor `qbs2`, nor that lists may be None.
    from_plain = cast("Callable[[faiss.IndexIVFPQ, int], faiss.IndexIVFPQFastScan]", faiss.IndexIVFPQFastScan)
    index = from_plain(plain, _BLOCK)
    # The new index keeps the plain one, for its quantiser: without its copy of the codes.
    plain.replace_invlists(cast("faiss.InvertedLists", None), False)
    if faiss.SIMDConfig.get_level() == faiss.SIMDLevel_AVX2:
        cast("Any", index).qbs2 = _PAIR
    return index
