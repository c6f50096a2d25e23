"""Draws balanced batches of augmented faces with their targets, prepared while the net works."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from scripts.train.augment import augmented, plain
from scripts.train.pool import Pool

SHARES = {"aaf": 0.27, "scut-fbp": 0.14, "celeba": 0.12, "celeba-small": 0.17, "utkface": 0.30}
"""Of each source in a batch: two fifths are of the mostly Asian collections, who are 33 % of the pool."""

HELD_OUT = {"scut-fbp": 5}
"""Of this source, every fifth face is never learned from; of the others every `HELD_OUT_ELSE`-th."""

HELD_OUT_ELSE = 20

AHEAD = 3
"""Batches prepared before they are wanted."""


@dataclass(frozen=True)
class Batch:
    """What one step learns from.

    Attributes:
        faces: Shape (n, side, side, 3), uint8, RGB.
        targets: Shape (n, d), float32, of norm 1.
        rows: Shape (n,), int64, which faces of the pool they are.
        mirrored: Shape (n,), bool, whether left and right are exchanged.
    """

    faces: NDArray[np.uint8]
    targets: NDArray[np.float32]
    rows: NDArray[np.int64]
    mirrored: NDArray[np.bool_]


def held_out(pool: Pool) -> NDArray[np.bool_]:
    """Tell which faces are kept to measure on: shape (n,)."""
    every = np.array([HELD_OUT.get(str(source), HELD_OUT_ELSE) for source in pool.sources])
    return np.arange(len(pool)) % every == every - 1


def members_and_shares(pool: Pool) -> tuple[list[NDArray[np.int64]], NDArray[np.float64]]:
    """Return the faces of each source that may be learned from, and each source's share of a batch."""
    sources, learned = np.unique(pool.sources), ~held_out(pool)
    shares = np.array([SHARES.get(str(source), 1.0) for source in sources])
    members = [np.flatnonzero((pool.sources == source) & learned) for source in sources]
    return members, shares / shares.sum()


def drawn_rows(
    members: list[NDArray[np.int64]], shares: NDArray[np.float64], count: int, chance: Generator
) -> NDArray[np.int64]:
    """Draw faces: each from a source drawn by the shares."""
    drawn = [members[int(chance.choice(len(members), p=shares))] for _ in range(count)]
    return np.array([of[chance.integers(len(of))] for of in drawn])


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
        self._members, self._shares = members_and_shares(pool)

    def since(self, step: int, side: int) -> Iterator[Batch]:
        """Yield the batches from a step on, of faces of a side in pixels."""
        with ThreadPoolExecutor(1) as executor:
            waiting: list[Future[Batch]] = []
            while True:
                while len(waiting) < AHEAD:
                    waiting.append(executor.submit(self._batch, step, side))
                    step += 1
                yield waiting.pop(0).result()

    def unseen(self, count: int, side: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Return faces that are never drawn, as they are, and their targets.

        Args:
            count: How many at most; the same ones in every run.
            side: Of the faces in pixels.

        Returns:
            Shapes (n, side, side, 3), uint8, and (n, d), float32.
        """
        kept = np.flatnonzero(held_out(self._pool))
        chosen = np.random.default_rng(self._seed).permutation(kept)[:count]
        return np.stack([plain(self._pool.faces[row], side) for row in chosen]), self._targets[chosen]

    def _batch(self, step: int, side: int) -> Batch:
        chance = np.random.default_rng((self._seed, step))
        rows = drawn_rows(self._members, self._shares, self._size, chance)
        mirrored = chance.random(self._size) < 0.5
        faces = [
            augmented(self._pool.faces[row], side, chance, mirrored=bool(turned))
            for row, turned in zip(rows, mirrored, strict=True)
        ]
        return Batch(np.stack(faces), self._targets[rows], rows, mirrored)
