"""Draws batches of labelled squares, each from the seed and its number alone: training can be resumed."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from scripts.train.detector_bank import SIDE, Bank, reduced, windowed
from scripts.train.detector_compose import Square
from scripts.train.detector_photometry import slightly_toned
from scripts.train.detector_targets import assign

REDUCED = 160
"""Side at which squares are shown reduced: that of the packs' first look at a picture."""

SIDES = (REDUCED, REDUCED, REDUCED, 192, REDUCED, REDUCED, REDUCED, SIDE)
"""Sides by turns: squares reduced; windows of 192, into which a portrait's face fits at a third of the cost,
and whole squares, for the second look at pictures in which the first found nothing."""

_AHEAD = 3
"""Batches prepared while the net works."""


@dataclass(frozen=True)
class Batch:
    """Squares and what a net should say of them.

    Attributes:
        pictures: Shape (n, s, s, 3), uint8, RGB.
        assigned: Shape (n, a): row of `boxes`, or `NOBODY`, or `IGNORED`.
        boxes: Shape (faces, 4): left, top, right, bottom, float32.
        points: Shape (faces, 5, 2), float32.
        owners: Shape (faces,): which square each face is in.
    """

    pictures: NDArray[np.uint8]
    assigned: NDArray[np.int64]
    boxes: NDArray[np.float32]
    points: NDArray[np.float32]
    owners: NDArray[np.int64]


class Batches:
    """The batches of one training, in their order."""

    def __init__(self, bank: Bank, *, size: int, seed: int) -> None:
        """Keep what to draw from.

        Args:
            bank: Labelled squares.
            size: Squares in a batch.
            seed: Of all choices.
        """
        self._bank, self._size, self._seed = bank, size, seed

    def batch(self, step: int) -> Batch:
        """Draw the batch of one step; the same every time."""
        chance = np.random.default_rng([self._seed, step])
        side = SIDES[step % len(SIDES)]
        numbers = chance.integers(0, len(self._bank), self._size)
        return collate([self._window(int(number), side, chance) for number in numbers])

    def since(self, step: int, until: int) -> Iterator[Batch]:
        """Give the batches from one step to another, prepared by a thread ahead of their use."""
        with ThreadPoolExecutor(1, thread_name_prefix="batches") as pool:
            ahead: list[Future[Batch]] = []
            try:
                for number in range(step, until + _AHEAD):
                    if number < until:
                        ahead.append(pool.submit(self.batch, number))
                    if number >= step + _AHEAD:
                        yield ahead.pop(0).result()
            finally:
                for future in ahead:
                    future.cancel()

    def _window(self, number: int, side: int, chance: Generator) -> Square:
        square = self._bank.square(number)
        if side == REDUCED:
            square = reduced(square, side, chance)
        elif side != SIDE:
            square = windowed(square, side, chance)
        return replace(square, picture=slightly_toned(square.picture, chance))


def collate(squares: list[Square]) -> Batch:
    """Put squares of one size together."""
    assigned, before = [], 0
    for square in squares:
        rows = assign(square)
        assigned.append(np.where(rows >= 0, rows + before, rows))
        before += len(square.boxes)
    boxes = [box for square in squares for box in square.boxes]
    points = [five for square in squares for five in square.points]
    return Batch(
        pictures=np.stack([square.picture for square in squares]),
        assigned=np.stack(assigned),
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        points=np.array(points, np.float32).reshape(-1, 5, 2),
        owners=np.repeat(np.arange(len(squares)), [len(square.boxes) for square in squares]),
    )
