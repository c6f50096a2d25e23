"""Which points of 4 bits groups of rotated coordinates become: pairs, or triples in long vectors.

Points of three coordinates take a third less memory and time to scan than points of two and
say less: at 512 dimensions the compared rows are cheaper than the scan they save, in
short vectors they are not (docs/decisions/0035).
"""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from index.rotation import Rotation, fixed_rotation, padded_length
from index.types import Vectors

BITS = 4

TRIPLES_FROM = 448
"""Dimension from which triples pay; see the decision for what was measured."""

_REACH = 4.0
"""Coordinates are looked up in equal steps between 4 standard deviations; beyond they are cut off."""


@dataclass(frozen=True, slots=True, eq=False)
class Codebook:
    """Sixteen points for groups of standard normal coordinates.

    Coordinates of a rotated vector of norm 1 are close to normal with variance 1/D, so dividing
    by sqrt(D) fits every dimension.

    Attributes:
        name: Names the points; codes of another name are made again.
        points: Shape (16, g), g coordinates a point.
        level_bits: Coordinates are looked up in 2 to this levels.
        code_of_levels: Shape (levels^g,): code of every group of levels, the first the lowest bits.
    """

    name: str
    points: NDArray[np.float64] = field(repr=False)
    level_bits: int
    code_of_levels: NDArray[np.uint8] = field(repr=False)

    @staticmethod
    def of(name: str, points: NDArray[np.float64], *, level_bits: int) -> "Codebook":
        """Tabulate the nearest point of every group of levels."""
        levels = (np.arange(1 << level_bits) + 0.5) * (2.0 * _REACH / (1 << level_bits)) - _REACH
        axes = np.meshgrid(*[levels] * points.shape[1], indexing="ij")
        distances = sum(
            (axis[..., None] - column) ** 2 for axis, column in zip(reversed(axes), points.T, strict=True)
        )
        nearest = np.asarray(distances).argmin(axis=-1).reshape(-1)
        return Codebook(name, points, level_bits, nearest.astype(np.uint8))

    @property
    def group(self) -> int:
        """Coordinates a point, g."""
        return int(self.points.shape[1])

    @property
    def longest(self) -> float:
        """Largest norm of a point."""
        return float(np.linalg.norm(self.points, axis=1).max())

    def rotation(self, dimension: int) -> Rotation:
        """Return the rotation for vectors of length d; two codes fill a byte, so D is a multiple of 2·g."""
        return fixed_rotation(dimension, 2 * self.group)

    def padded(self, dimension: int) -> int:
        """Return the length D of a rotated vector."""
        return padded_length(dimension, 2 * self.group)

    def code_bytes(self, dimension: int) -> int:
        """Return the bytes of one vector's codes, D/(2·g)."""
        return self.padded(dimension) // (2 * self.group)

    def centroids(self, padded: int) -> NDArray[np.float32]:
        """Return the points at the scale of D dimensions, shape (16, g)."""
        return np.asarray(self.points / math.sqrt(padded), dtype=np.float32)

    def codes(self, rotated: Vectors) -> NDArray[np.uint8]:
        """Return the code of every group of coordinates, shape (m, D/g).

        Args:
            rotated: Shape (m, D).
        """
        count = 1 << self.level_bits
        levels = rotated * np.float32(math.sqrt(rotated.shape[1]) * count / (2.0 * _REACH))
        levels += np.float32(count / 2)
        np.clip(levels, 0, count - 1, out=levels)
        small = levels.astype(np.uint8)
        if self.group == 2 and self.level_bits == 8:  # Two bytes are such a place already.
            return self.code_of_levels.take(small.view("<u2"))
        places = small[:, 0 :: self.group].astype(np.int32)
        for at in range(1, self.group):
            places |= small[:, at :: self.group].astype(np.int32) << (at * self.level_bits)
        return self.code_of_levels.take(places)

    def decoded(self, codes: NDArray[np.uint8]) -> Vectors:
        """Return what codes stand for, shape (m, D)."""
        padded = codes.shape[1] * self.group
        whole = self.centroids(padded).view(np.dtype((np.void, 4 * self.group)))[:, 0]
        return np.asarray(whole.take(codes).view(np.float32))


PAIRS = Codebook.of(
    "pairs 1",
    np.array(
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
    ),
    level_bits=8,
)
"""Best of twelve runs of Lloyd's algorithm for two standard normal variables, on a grid of step 1/80.

Mean squared error 0.1076 per coordinate.
"""

TRIPLES = Codebook.of(
    "triples 1",
    np.array(
        [
            (-1.5590, 0.0092, -0.8029),
            (-1.2862, -0.5886, 0.7846),
            (-1.2469, 0.8374, 0.6075),
            (-0.8911, -1.4354, -0.6652),
            (-0.6139, 1.1593, -0.8289),
            (-0.1795, -0.2816, -0.3391),
            (-0.0764, -1.3709, 0.8444),
            (-0.0389, 0.1682, 1.7625),
            (0.0316, 1.6708, 0.6185),
            (0.0337, -0.1420, -1.7416),
            (0.1725, 0.2630, 0.3912),
            (0.7058, -1.4314, -0.6399),
            (0.8113, 1.1363, -0.8189),
            (1.2221, -0.7284, 0.8325),
            (1.4093, -0.1494, -0.6740),
            (1.4226, 0.8161, 0.7322),
        ]
    ),
    level_bits=6,
)
"""Best of 24 runs of Lloyd's algorithm for three standard normal variables, refined on a grid of step 1/5.

Mean squared error 0.2348 per coordinate.
"""


def codebook_for(dimension: int) -> Codebook:
    """Return the points used for vectors of a length."""
    return TRIPLES if dimension >= TRIPLES_FROM else PAIRS
