"""Composes batches ahead of the net, each from the seed and its number alone: training can be resumed."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scripts.train.detector_compose import Composer, Square
from scripts.train.detector_targets import assign
from scripts.train.scenes import Scenes

SIDES = (256, 256, 256, 320)
"""Sides of the squares, by turns: on average they cost 0.73 of the 320 that the net is used at."""

_AHEAD = 3
"""Batches composed while the net works."""


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

    def __init__(self, scenes: Scenes, *, size: int, seed: int, held_out: bool = False) -> None:
        """Keep what to compose from.

        Args:
            scenes: Pictures with one face each.
            size: Squares in a batch.
            seed: Of all choices.
            held_out: Compose from the pictures held out of training, for checks on the way.
        """
        self._composers = {side: Composer(scenes, side, held_out=held_out) for side in set(SIDES)}
        self._size, self._seed = size, seed

    def batch(self, step: int) -> Batch:
        """Compose the batch of one step; the same every time."""
        composer = self._composers[SIDES[step % len(SIDES)]]
        chances = (np.random.default_rng([self._seed, step, place]) for place in range(self._size))
        return collate([composer.compose(chance) for chance in chances])

    def since(self, step: int, until: int) -> Iterator[Batch]:
        """Give the batches from one step to another, composed by a thread ahead of their use."""
        with ThreadPoolExecutor(1, thread_name_prefix="compose") as pool:
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
