"""Draws balanced batches of augmented faces with their targets, prepared while the net works."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from scripts.train.augment import augmented
from scripts.train.pool import Pool

SHARES = {"aaf": 0.27, "scut-fbp": 0.14, "celeba": 0.12, "celeba-small": 0.17, "utkface": 0.30}
"""Of each source in a batch: two fifths are of the mostly Asian collections, who are 33 % of the pool."""

AHEAD = 3
"""Batches prepared before they are wanted."""


@dataclass(frozen=True)
class Batch:
    """What one step learns from.

    Attributes:
        faces: Shape (n, side, side, 3), uint8, RGB.
        targets: Shape (n, d), float32, of norm 1.
        identities: Shape (n,), int64; -1 where unknown.
    """

    faces: NDArray[np.uint8]
    targets: NDArray[np.float32]
    identities: NDArray[np.int64]


class Batches:
    """An endless, seeded row of batches: batch k is the same in every run that asks for it."""

    def __init__(self, pool: Pool, targets: NDArray[np.float32], *, size: int, seed: int) -> None:
        """Prepare the drawing.

        Args:
            pool: The faces.
            targets: Shape (n, d), one row per face.
            size: Faces in a batch.
            seed: Of everything that is drawn.
        """
        self._pool, self._targets, self._size, self._seed = pool, targets, size, seed
        shares = np.array([SHARES.get(str(source), 1.0) for source in np.unique(pool.sources)])
        self._members = [np.flatnonzero(pool.sources == source) for source in np.unique(pool.sources)]
        self._shares = shares / shares.sum()

    def since(self, step: int, side: int) -> Iterator[Batch]:
        """Yield the batches from a step on, of faces of a side in pixels."""
        with ThreadPoolExecutor(1) as executor:
            waiting: list[Future[Batch]] = []
            while True:
                while len(waiting) < AHEAD:
                    waiting.append(executor.submit(self._batch, step, side))
                    step += 1
                yield waiting.pop(0).result()

    def _batch(self, step: int, side: int) -> Batch:
        chance = np.random.default_rng((self._seed, step))
        rows = np.array([self._draw(chance) for _ in range(self._size)])
        faces = np.stack([augmented(self._pool.faces[row], side, chance) for row in rows])
        return Batch(faces, self._targets[rows], self._pool.identities[rows])

    def _draw(self, chance: Generator) -> int:
        members = self._members[int(chance.choice(len(self._members), p=self._shares))]
        return int(members[chance.integers(len(members))])
