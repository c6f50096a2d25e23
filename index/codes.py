"""Turning vectors into 4-bit codes: rotated, and every pair of coordinates one of 16 points.

What the codes promise of a score is worked out in `index.compressed_scan`.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import cast

import faiss
import numpy as np
from numpy.typing import NDArray

from index.rotation import fixed_rotation
from index.types import Vectors

CODEBOOK_VERSION = 1
"""Names the sixteen points below."""

POINTS = np.array(
    [
        (-2.0003, -0.1226),
        (-1.5143, 1.0908),
        (-1.3727, -1.2698),
        (-0.9567, -0.0577),
        (-0.4919, 0.7423),
        (-0.4144, 1.8184),
        (-0.4048, -0.7992),
        (-0.1871, -1.8588),
        (-0.0024, -0.0031),
        (0.4261, 0.8512),
        (0.5213, -0.8004),
        (0.8885, 1.7915),
        (0.8885, 0.0498),
        (1.1082, -1.6671),
        (1.6992, 0.7670),
        (1.7821, -0.5505),
    ]
)
"""Best of twelve runs of Lloyd's algorithm for two standard normal variables, on a grid of step 1/80.

Mean squared error 0.1076 per coordinate. Coordinates of a rotated vector of norm 1 are
close to normal with variance 1/D, so dividing by sqrt(D) fits every dimension.
"""

LARGEST_POINT = float(np.hypot(*POINTS.T).max())

BITS = 4

_LEVELS = 256
_REACH = 4.0
"""Coordinates are looked up in steps of 2·4/256 standard deviations; beyond 4 they are cut off."""

ENCODE_ROWS = 4096
"""Rows encoded at a time: 8 MB at 512 dimensions."""


@dataclass(frozen=True, slots=True)
class Codes:
    """The codes of m vectors and what is known of the worst of them.

    Attributes:
        packed: Shape (m, D/4), two codes in a byte.
        quality: Shape (2, kept), see `worst_of`.
    """

    packed: NDArray[np.uint8] = field(repr=False)
    quality: NDArray[np.float64] = field(repr=False)


def encode(vectors: Vectors | Iterable[Vectors], *, rows: int, dimension: int) -> Codes:
    """Encode vectors, some at a time, so that only the codes take memory.

    Args:
        vectors: All rows, of norm 1, in one array; or blocks of them, each of at most `ENCODE_ROWS`.
        rows: How many, m.
        dimension: Length d of a vector.
    """
    rotate = rotator(dimension)
    packed = np.empty((rows, fixed_rotation(dimension).padded // 4), dtype=np.uint8)
    worst = np.empty((2, 0))
    at = 0
    for block in in_blocks(vectors) if isinstance(vectors, np.ndarray) else vectors:
        packed[at : at + len(block)], quality = encoded(rotate(block))
        worst = worst_of(np.concatenate([worst, quality], axis=1))
        at += len(block)
    return Codes(packed, worst)


def in_blocks(vectors: Vectors) -> Iterable[Vectors]:
    """Yield `ENCODE_ROWS` rows at a time."""
    for start in range(0, len(vectors), ENCODE_ROWS):
        yield np.asarray(vectors[start : start + ENCODE_ROWS])


def centroids(padded: int) -> NDArray[np.float32]:
    """Return the sixteen points at the scale of D dimensions, shape (16, 2)."""
    return np.asarray(POINTS / math.sqrt(padded), dtype=np.float32)


def _nearest_table() -> NDArray[np.uint8]:
    """Return the code of every pair of levels; the first coordinate's level is the low byte."""
    levels = (np.arange(_LEVELS) + 0.5) * (2.0 * _REACH / _LEVELS) - _REACH
    second, first = np.meshgrid(levels, levels, indexing="ij")
    distances = (first[..., None] - POINTS[:, 0]) ** 2 + (second[..., None] - POINTS[:, 1]) ** 2
    return np.asarray(distances.argmin(axis=-1).reshape(-1), dtype=np.uint8)


_CODE_OF_LEVELS = _nearest_table()


@lru_cache(maxsize=8)
def rotator(dimension: int) -> Callable[[Vectors], Vectors]:
    """Return what rotates rows, through FAISS: its BLAS keeps to the threads allowed to the caller.

    NumPy's would wake threads of its own for every probe, which costs more than the product.
    """
    rotation = fixed_rotation(dimension)
    transform = faiss.LinearTransform(rotation.dimension, rotation.padded, False)
    faiss.copy_array_to_vector(np.ascontiguousarray(rotation.matrix.T).reshape(-1), transform.A)
    transform.is_trained = True
    return cast("Callable[[Vectors], Vectors]", transform.apply)


def encoded(rotated: Vectors) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Encode some vectors.

    Args:
        rotated: Shape (m, D).

    Returns:
        Codes of shape (m, D/4), two in a byte; and shape (2, m), a and b of the module's formula.
    """
    padded = rotated.shape[1]
    scale = np.float32(math.sqrt(padded) * _LEVELS / (2.0 * _REACH))
    levels = rotated * scale
    levels += np.float32(_LEVELS / 2)
    np.clip(levels, 0, _LEVELS - 1, out=levels)
    codes = _CODE_OF_LEVELS.take(levels.astype(np.uint8).view("<u2"))
    decoded = centroids(padded).view(np.complex64)[:, 0].take(codes).view(np.float32)
    along = np.einsum("ij,ij->i", rotated, decoded).astype(np.float64)
    norms = np.einsum("ij,ij->i", decoded, decoded).astype(np.float64)
    off = np.sqrt(np.maximum(norms - along**2, 0.0))
    packed = np.asarray(codes[:, 0::2] | (codes[:, 1::2] << BITS), dtype=np.uint8)
    return packed, np.stack([along, off])


def worst_of(quality: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keep only pairs (a, b) that no other is worse than in both; some twenty of any number.

    Args:
        quality: Shape (2, m).

    Returns:
        Shape (2, kept): whatever the threshold, the lowest cut is that of one of these.
    """
    by_alignment = quality[:, np.lexsort((-quality[1], quality[0]))]
    worst_so_far = np.maximum.accumulate(by_alignment[1])
    return by_alignment[:, np.r_[True, by_alignment[1][1:] > worst_so_far[:-1]]]
