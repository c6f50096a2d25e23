"""Probes in the forms that scans and comparisons take: rotated, and as tables of small numbers."""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from index.codebook import Codebook, codebook_for
from index.codes import rotator
from index.machine_code import ScanCode, scan_code
from index.scan_ir import TOP
from index.types import Vectors

MAX_GROUPS = 1024
"""Most groups of a vector that machine code sums up: 63 from each of them are less than 65535."""

POINTS = 16
"""Entries of a table: the points that a code of 4 bits names."""


def code_for(codebook: Codebook, dimension: int) -> ScanCode | None:
    """Return the machine code that scans vectors of a length, or None where FAISS does."""
    return scan_code() if codebook.padded(dimension) <= MAX_GROUPS * codebook.group else None


@dataclass(frozen=True, slots=True)
class Tables:
    """What every point of every group of coordinates adds to a probe's compressed score.

    That is `step` times the entry, plus a `start` for all groups together.

    Attributes:
        entries: Shape (16, n, M), 0 to `TOP`.
        steps: Shape (n,).
        starts: Shape (n,).
    """

    entries: NDArray[np.uint8] = field(repr=False)
    steps: NDArray[np.float64]
    starts: NDArray[np.float64]

    @staticmethod
    def of(rotated: Vectors, codebook: Codebook) -> "Tables":
        """Round what points add to multiples of the least step with which all of a probe's tables fit.

        Args:
            rotated: Shape (n, D).
            codebook: Whose points are meant.
        """
        groups = np.moveaxis(rotated.reshape(len(rotated), -1, codebook.group), 2, 0)
        points = codebook.centroids(rotated.shape[1])
        added = points[:, 0, None, None] * groups[0]
        for coordinate in range(1, codebook.group):
            added += points[:, coordinate, None, None] * groups[coordinate]
        least = added.min(axis=0)
        added -= least
        steps = np.maximum(added.max(axis=(0, 2)) / np.float32(TOP), np.float32(1e-9))
        added *= (np.float32(1.0) / steps)[:, None]
        np.rint(added, out=added)
        # A quotient may be rounded to the next number above the largest.
        entries = np.minimum(added, np.float32(TOP), out=added).astype(np.uint8)
        return Tables(entries, steps.astype(np.float64), least.sum(axis=1, dtype=np.float64))

    def taken(self, which: NDArray[np.intp]) -> "Tables":
        """Return those of some probes."""
        return Tables(self.entries[:, which], self.steps[which], self.starts[which])


@dataclass(frozen=True, slots=True)
class Probes:
    """Probes as codes and the rows of a `CompactStore` are compared with them.

    Attributes:
        rotated: Shape (n, D).
        tables: What machine code looks up, or None where FAISS makes its own.
        steps: Shape (n,), the most that a step of lookup tables can be for each.
    """

    rotated: Vectors = field(repr=False)
    tables: Tables | None
    steps: NDArray[np.float64]

    @staticmethod
    def of(vectors: Vectors) -> "Probes":
        """Rotate probes, and make tables where machine code scans.

        Args:
            vectors: Shape (n, d), rows of norm 1.
        """
        dimension = vectors.shape[1]
        codebook = codebook_for(dimension)
        rotated = rotator(dimension)(vectors)
        if code_for(codebook, dimension) is None:
            return Probes(rotated, None, _faiss_steps(rotated, codebook))
        made = Tables.of(rotated, codebook)
        return Probes(rotated, made, made.steps)

    def taken(self, which: NDArray[np.intp]) -> "Probes":
        """Return some of the probes."""
        if len(which) == len(self.steps):
            return self
        tables = None if self.tables is None else self.tables.taken(which)
        return Probes(self.rotated[which], tables, self.steps[which])


def _faiss_steps(rotated: Vectors, codebook: Codebook) -> NDArray[np.float64]:
    """Return the most that one step of FAISS's 8-bit lookup tables can be for each probe.

    Args:
        rotated: Shape (n, D).
        codebook: Whose points are scanned.

    Returns:
        Shape (n,).

    Source:
        FAISS, `quantize_LUT_and_bias`: tables are scaled by the smaller of 255 over the widest
        one and 65535 over the sum of widths. A width is at most 2·(longest point)·|probe's group|.
    """
    count, padded = rotated.shape
    groups = np.linalg.norm(rotated.reshape(count, -1, codebook.group), axis=2)
    width = 2.0 * codebook.longest / math.sqrt(padded)
    steps = width * np.maximum(groups.max(axis=1) / 255.0, groups.sum(axis=1) / 65535.0)
    return np.asarray(steps, dtype=np.float64)
