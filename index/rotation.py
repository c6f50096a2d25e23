"""A fixed random rotation that makes every vector look like noise to a quantiser.

Rotating probes and references alike changes no cosine. Because the rotation was drawn
once, uniformly from all rotations and without regard to any face, the direction in which
a rotated probe differs from a rotated reference is uniformly distributed: that is what
the error bound of `index.compressed_scan` rests on, whatever an encoder's vectors look
like, and why one codebook fits them all.
"""

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

ROTATION_VERSION = 1
"""Names the seed and the construction below; codes made with another one are not comparable."""

_SEED = 20261123


@dataclass(frozen=True, slots=True)
class Rotation:
    """A rotation of d dimensions, filled up with zeros to a multiple of what codes need.

    Attributes:
        dimension: Length d of a vector.
        padded: Length of a rotated vector.
        matrix: Shape (d, padded), float32, rows orthonormal: `vectors @ matrix` are the rotated vectors.
    """

    dimension: int
    padded: int
    matrix: NDArray[np.float32] = field(repr=False, compare=False)


def padded_length(dimension: int, multiple: int) -> int:
    """Return the length of a rotated vector, without making the rotation."""
    return -(-dimension // multiple) * multiple


@lru_cache(maxsize=8)
def fixed_rotation(dimension: int, multiple: int) -> Rotation:
    """Return the one rotation for a dimension and a multiple.

    The generator is NumPy's frozen legacy one, so that the draw never changes. Orthogonalising
    a Gaussian matrix with a positive diagonal draws uniformly from all rotations and reflections.

    Args:
        dimension: Length d of a vector.
        multiple: What the length of a rotated vector is to be a multiple of.

    Source:
        Mezzadri, How to generate random matrices from the classical compact groups,
        Notices of the AMS 54 (2007) 592.
    """
    padded = padded_length(dimension, multiple)
    gaussian = np.random.RandomState(_SEED + padded).standard_normal((padded, padded))
    orthogonal, triangle = np.linalg.qr(gaussian)
    matrix = (orthogonal * np.sign(np.diagonal(triangle)))[:dimension]
    return Rotation(dimension, padded, np.ascontiguousarray(matrix, dtype=np.float32))
