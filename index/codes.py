"""Turning vectors into 4-bit codes: rotated, and every group of coordinates one of 16 points.

What the codes promise of a score is worked out in `index.compressed_scan`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import cast

import faiss
import numpy as np
from numpy.typing import NDArray

from index.codebook import BITS, Codebook, codebook_for
from index.types import Vectors

BOUNDS_VERSION = 1
"""Names the form of `Codes.bounds`."""

ENCODE_ROWS = 4096
"""Rows encoded at a time: 8 MB at 512 dimensions."""


@dataclass(frozen=True, slots=True)
class Codes:
    """The codes of m vectors and what is known of each and of the worst of them.

    Attributes:
        packed: Shape (m, bytes), two codes in a byte.
        bounds: Shape (m, 2), float16: a rounded down and b rounded up, see `index.compressed_scan`.
        worst: Shape (2, kept), see `worst_of`.
    """

    packed: NDArray[np.uint8] = field(repr=False)
    bounds: NDArray[np.float16] = field(repr=False)
    worst: NDArray[np.float64] = field(repr=False)

    def __len__(self) -> int:
        """Return the number of vectors, m."""
        return len(self.packed)

    def part(self, rows: slice) -> "Codes":
        """Return some adjacent vectors' codes, not copied; the worst may be worse than any of them."""
        return Codes(self.packed[rows], self.bounds[rows], self.worst)


def encode(vectors: Vectors | Iterable[Vectors], *, rows: int, dimension: int) -> Codes:
    """Encode vectors, some at a time, so that only the codes take memory.

    Args:
        vectors: All rows, of norm 1, in one array; or blocks of them, each of at most `ENCODE_ROWS`.
        rows: How many, m.
        dimension: Length d of a vector.
    """
    rotate, codebook = rotator(dimension), codebook_for(dimension)
    packed = np.empty((rows, codebook.code_bytes(dimension)), dtype=np.uint8)
    bounds = np.empty((rows, 2), dtype=np.float16)
    at = 0
    for block in in_blocks(vectors) if isinstance(vectors, np.ndarray) else vectors:
        part = slice(at, at + len(block))
        packed[part], bounds[part] = encoded(rotate(block), codebook)
        at += len(block)
    return Codes(packed, bounds, worst_of(bounds))


def in_blocks(vectors: Vectors) -> Iterable[Vectors]:
    """Yield `ENCODE_ROWS` rows at a time."""
    for start in range(0, len(vectors), ENCODE_ROWS):
        yield np.asarray(vectors[start : start + ENCODE_ROWS])


@lru_cache(maxsize=8)
def rotator(dimension: int) -> Callable[[Vectors], Vectors]:
    """Return what rotates rows, through FAISS: its BLAS keeps to the threads allowed to the caller.

    NumPy's would wake threads of its own for every probe, which costs more than the product.
    """
    rotation = codebook_for(dimension).rotation(dimension)
    transform = faiss.LinearTransform(rotation.dimension, rotation.padded, False)
    faiss.copy_array_to_vector(np.ascontiguousarray(rotation.matrix.T).reshape(-1), transform.A)
    transform.is_trained = True
    return cast("Callable[[Vectors], Vectors]", transform.apply)


def encoded(rotated: Vectors, codebook: Codebook) -> tuple[NDArray[np.uint8], NDArray[np.float16]]:
    """Encode some vectors.

    Args:
        rotated: Shape (m, D).
        codebook: Whose points to use.

    Returns:
        Codes of shape (m, bytes), two in a byte; and shape (m, 2), `Codes.bounds`.
    """
    codes = codebook.codes(rotated)
    decoded = codebook.decoded(codes)
    along = np.einsum("ij,ij->i", rotated, decoded).astype(np.float64)
    norms = np.einsum("ij,ij->i", decoded, decoded).astype(np.float64)
    off = np.sqrt(np.maximum(norms - along**2, 0.0))
    packed = np.asarray(codes[:, 0::2] | (codes[:, 1::2] << BITS), dtype=np.uint8)
    return packed, np.stack([_half(along, -np.inf), _half(off, np.inf)], axis=1)


def _half(values: NDArray[np.float64], towards: float) -> NDArray[np.float16]:
    """Round to half precision, never away from infinity of the sign given."""
    rounded = values.astype(np.float16)
    passed = rounded > values if towards < 0 else rounded < values
    rounded[passed] = np.nextafter(rounded[passed], np.float16(towards))
    return rounded


def worst_of(bounds: NDArray[np.floating]) -> NDArray[np.float64]:
    """Keep only pairs (a, b) that no other is worse than in both; some twenty of any number.

    Args:
        bounds: Shape (m, 2).

    Returns:
        Shape (2, kept): whatever the threshold, the lowest cut is that of one of these.
    """
    pairs = bounds.T.astype(np.float64)
    by_alignment = pairs[:, np.lexsort((-pairs[1], pairs[0]))]
    worst_so_far = np.maximum.accumulate(by_alignment[1])
    return by_alignment[:, np.r_[True, by_alignment[1][1:] > worst_so_far[:-1]]]
