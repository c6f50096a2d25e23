"""Decides which places of the detector answer for which face; needs no torch."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from scripts.train.detector_compose import Square

STRIDES = (8, 16, 32)
"""Pixels of the square from place to place; those that insightface's SCRFD class reads from 9 outputs."""

ANCHORS = 2
"""Answers at each place: again what that class expects."""

BASES_PX = ((16.0, 32.0), (64.0, 120.0), (185.0, 270.0))
"""Size of face (root of the box's area) that each answer is for, by stride. Portraits of 358 x 441 and
LFW's pictures, fitted into 320, hold faces of 100 to 140 px: stride 16, where the net works most."""

NOBODY, IGNORED = -1, -2
"""What a place is assigned to that must stay silent, and one that may say anything."""

_SIZE_SLACK, _SIZE_IGNORED = 0.2, 0.6
"""In octaves beyond the nearest base: answers that a face is also assigned to, and those left alone."""


@dataclass(frozen=True)
class Layout:
    """Where the answers of a square of one size are.

    Attributes:
        centres: Shape (a, 2), x and y in pixels, level by level, row by row, anchors of a place together.
        bases: Shape (a,), see `BASES_PX`.
        strides: Shape (a,).
    """

    centres: NDArray[np.float32]
    bases: NDArray[np.float32]
    strides: NDArray[np.float32]


@lru_cache(maxsize=8)
def layout(side: int) -> Layout:
    """Return the answers' places for squares of a size.

    Args:
        side: In pixels, a multiple of 32.
    """
    centres, bases, strides = [], [], []
    for stride, pair in zip(STRIDES, BASES_PX, strict=True):
        count = side // stride
        rows, columns = np.mgrid[:count, :count]
        places = np.stack([columns, rows], axis=-1).reshape(-1, 2) * stride
        centres.append(np.repeat(places, ANCHORS, axis=0))
        bases.append(np.tile(pair, count * count))
        strides.append(np.full(count * count * ANCHORS, stride))
    return Layout(
        np.concatenate(centres).astype(np.float32),
        np.concatenate(bases).astype(np.float32),
        np.concatenate(strides).astype(np.float32),
    )


def assign(square: Square) -> NDArray[np.int64]:
    """Assign the answers about a square to its faces.

    A face goes to the answers for the nearest size whose places lie near its middle: within a fifth of its
    size, at least three quarters of a stride (so that there is always one) and at most 1.75. A ring
    around those is left alone, for its answers are neither wrong nor wanted.

    Returns:
        Shape (a,): number of the face, `NOBODY` or `IGNORED`.
    """
    where = layout(square.picture.shape[0])
    assigned = np.full(len(where.bases), NOBODY, np.int64)
    for box in square.ignored:
        inside = ((where.centres >= box[:2]) & (where.centres <= box[2:])).all(axis=1)
        assigned[inside] = IGNORED
    nearest = np.full(len(where.bases), np.inf)
    for number, box in enumerate(square.boxes):
        size = float(np.sqrt(np.prod(box[2:] - box[:2])))
        octaves = np.abs(np.log2(size / where.bases))
        octaves -= octaves.min()
        distance = np.linalg.norm(where.centres - (box[:2] + box[2:]) / 2, axis=1)
        reach = np.clip(0.2 * size, 0.75 * where.strides, 1.75 * where.strides)
        wanted = (octaves <= _SIZE_SLACK) & (distance <= reach)
        spared = (octaves <= _SIZE_IGNORED) & (distance <= 1.6 * reach) & (assigned == NOBODY)
        assigned[spared] = IGNORED
        taken = wanted & (distance < nearest)
        assigned[taken], nearest[taken] = number, distance[taken]
    return assigned
