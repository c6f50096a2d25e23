"""Draws views of faces, cut as a coarse detector would, and views of what is none; needs no torch."""

import math
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from index.crops import cut_averaged
from index.encoder import ARCFACE_TEMPLATE
from index.errors import AlignmentError
from index.landmarks import view_transform
from index.types import Image
from scripts.train.augment import coarse, compressed, covered, grey, lit, noisy
from scripts.train.batches import drawn_rows, held_out, members_and_shares
from scripts.train.detector_backgrounds import rendered_background
from scripts.train.detector_compose import MIRRORED_POINTS
from scripts.train.pool import Pool
from scripts.train.scenes import Scene, Scenes

VIEW_PX, MARGIN = 64, 0.12
"""Side of the views and what they show beyond the ArcFace template: a picture of LFW, whose eyes are some 42
pixels apart, becomes 2.7 times smaller, and a portrait of 358 x 441 some six times."""

AHEAD = 3
"""Batches prepared while the net works."""

_CROPS, _SCENES, _MISPLACED, _MISTAKES = 0.46, 0.26, 0.14, 0.08
"""Shares of a batch: faces of aligned crops, faces of whole pictures, views so far off a face that they show
none, what a detector took for a face; the rest are backgrounds."""


Drawn = tuple[Image, NDArray[np.float64] | None]
"""A view, and its five points in sides of it, or None where it shows no face."""


@dataclass(frozen=True)
class Views:
    """A batch.

    Attributes:
        pictures: Shape (n, VIEW_PX, VIEW_PX, 3), uint8, RGB.
        points: Shape (n, 5, 2), float32, in sides of the view; 0 where there is no face.
        faces: Shape (n,), bool.
    """

    pictures: NDArray[np.uint8]
    points: NDArray[np.float32]
    faces: NDArray[np.bool_]


class Drawing:
    """The batches of one training, each from the seed and its number alone."""

    def __init__(
        self, crops: Pool, scenes: Scenes, mistakes: NDArray[np.uint8], *, size: int, seed: int
    ) -> None:
        """Keep what to draw from.

        Args:
            crops: Aligned faces.
            scenes: Whole pictures with a face each.
            mistakes: Shape (m, VIEW_PX, VIEW_PX, 3): what a detector took for faces.
            size: Views in a batch.
            seed: Of all choices.
        """
        self._crops, self._scenes, self._mistakes = crops, scenes, mistakes
        self._size, self._seed = size, seed
        self._members, self._shares = members_and_shares(crops)
        self._numbers = np.flatnonzero(~scenes.held_out)

    def batch(self, step: int) -> Views:
        """Draw the batch of one step; the same every time."""
        chance = np.random.default_rng([self._seed, step])
        return _collated([self._drawn(chance) for _ in range(self._size)])

    def since(self, step: int, until: int) -> Iterator[Views]:
        """Give the batches from one step to another, prepared ahead of their use."""
        with ThreadPoolExecutor(1, thread_name_prefix="views") as pool:
            ahead: list[Future[Views]] = []
            for number in range(step, until + AHEAD):
                if number < until:
                    ahead.append(pool.submit(self.batch, number))
                if number >= step + AHEAD:
                    yield ahead.pop(0).result()

    def unseen(self, count: int) -> Views:
        """Draw faces that are never learned from, and as many backgrounds.

        Args:
            count: Of crops, of scenes and of backgrounds, each.
        """
        chance = np.random.default_rng([self._seed, 0, 1])
        kept = np.flatnonzero(held_out(self._crops))
        rows = chance.permutation(kept)[:count]
        numbers = np.flatnonzero(self._scenes.held_out)[:count]
        drawn: list[Drawn] = [_face(self._crop(row), chance) for row in rows]
        drawn += [_face(self._scenes[int(number)], chance) for number in numbers]
        drawn += [_background(chance) for _ in range(count)]
        return _collated(drawn)

    def _drawn(self, chance: Generator) -> Drawn:
        while True:
            try:
                return self._draw(chance)
            except AlignmentError:  # A face of a few pixels, made smaller still: draw another one.
                continue

    def _draw(self, chance: Generator) -> Drawn:
        pick = chance.random()
        if pick < _CROPS:
            return _face(self._crop(drawn_rows(self._members, self._shares, 1, chance)[0]), chance)
        if pick < _CROPS + _SCENES:
            return _face(self._scene(chance), chance)
        if pick < _CROPS + _SCENES + _MISPLACED:
            return _misplaced(self._scene(chance), chance)
        if pick < _CROPS + _SCENES + _MISPLACED + _MISTAKES and len(self._mistakes):
            view = self._mistakes[chance.integers(len(self._mistakes))]
            return _worn(view[:, ::-1] if chance.random() < 0.5 else view, chance), None
        return _background(chance)

    def _crop(self, row: int) -> Scene:
        points = self._crops.points[row]
        return Scene(self._crops.faces[row], np.zeros(4, np.float32), points)

    def _scene(self, chance: Generator) -> Scene:
        return self._scenes[int(chance.choice(self._numbers))]


def _collated(drawn: list[Drawn]) -> Views:
    points = [np.zeros((5, 2)) if five is None else five for _, five in drawn]
    return Views(
        np.stack([picture for picture, _ in drawn]),
        np.array(points, np.float32),
        np.array([five is not None for _, five in drawn]),
    )


def _face(scene: Scene, chance: Generator) -> tuple[Image, NDArray[np.float64]]:
    """Cut the view that a detector's slightly wrong points would give."""
    picture, points = _mirrored(scene, chance)
    coarse_points = _coarse_points(points, chance)
    matrix = view_transform(coarse_points, VIEW_PX, MARGIN)
    view = cut_averaged(_degraded(picture, chance), matrix, VIEW_PX, quick=True)
    true = (points @ matrix[:, :2].T + matrix[:, 2]) / VIEW_PX
    return _toned(view, chance), true


def _mirrored(scene: Scene, chance: Generator) -> tuple[Image, NDArray[np.float64]]:
    picture, points = scene.picture, scene.points.astype(np.float64)
    if chance.random() < 0.5:
        picture = np.ascontiguousarray(picture[:, ::-1])
        points = np.column_stack([picture.shape[1] - 1 - points[:, 0], points[:, 1]])[list(MIRRORED_POINTS)]
    return picture, points


def _coarse_points(points: NDArray[np.float64], chance: Generator) -> NDArray[np.float32]:
    """Move points as a detector errs: all together, and each by itself; now and then twice as far."""
    eyes = float(np.linalg.norm(points[1] - points[0]))
    much = 2.0 if chance.random() < 0.2 else 1.0
    moved = _turned(
        points,
        angle=chance.normal(0, math.radians(4 * much)),
        scale=math.exp(chance.normal(0, 0.06 * much)),
        shift=chance.normal(0, 0.05 * much * eyes, 2),
    )
    return (moved + chance.normal(0, 0.06 * much * eyes, (5, 2))).astype(np.float32)


def _misplaced(scene: Scene, chance: Generator) -> tuple[Image, None]:
    """Cut a view so far beside a face, so large, small or turned, that it is none."""
    picture, points = _mirrored(scene, chance)
    eyes = float(np.linalg.norm(points[1] - points[0]))
    kind = chance.integers(3)
    angle = math.radians(float(chance.choice([90, 180, 270]) + chance.normal(0, 12))) if kind == 0 else 0.0
    scale = math.exp(float(chance.choice([-1, 1])) * chance.uniform(0.8, 1.4)) if kind == 1 else 1.0
    way, far = chance.uniform(0, 2 * math.pi), chance.uniform(1.1, 2.5) * eyes if kind == 2 else 0.0
    shape = points if chance.random() < 0.5 else _template_like(points)
    moved = _turned(shape, angle=angle, scale=scale, shift=far * np.array([math.cos(way), math.sin(way)]))
    matrix = view_transform(_coarse_points(moved, chance), VIEW_PX, MARGIN)
    return _toned(cut_averaged(_degraded(picture, chance), matrix, VIEW_PX, quick=True), chance), None


def _template_like(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the template's shape, upright, where a face is, as large as it."""
    centred = ARCFACE_TEMPLATE - ARCFACE_TEMPLATE.mean(axis=0)
    spread = np.linalg.norm(points - points.mean(axis=0)) / np.linalg.norm(centred)
    return np.asarray(points.mean(axis=0) + spread * centred)


def _background(chance: Generator) -> tuple[Image, None]:
    return _worn(rendered_background(VIEW_PX, chance), chance), None


def _turned(
    points: NDArray[np.float64], *, angle: float, scale: float, shift: NDArray[np.float64]
) -> NDArray[np.float64]:
    middle = points.mean(axis=0)
    turn = scale * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return np.asarray((points - middle) @ turn.T + middle + shift)


def _worn(view: Image, chance: Generator) -> Image:
    return _toned(_degraded(np.ascontiguousarray(view), chance), chance)


def _degraded(picture: Image, chance: Generator) -> Image:
    """Blur, compress or cover what a view is cut from."""
    if chance.random() < 0.25:
        picture = coarse(picture, chance)
    if chance.random() < 0.3:
        picture = compressed(picture, chance)
    if chance.random() < 0.08:
        picture = covered(picture, chance)
    return picture


def _toned(view: Image, chance: Generator) -> Image:
    """Change the light of a view."""
    if chance.random() < 0.5:
        view = lit(view, chance)
    if chance.random() < 0.25:
        view = grey(view)
    if chance.random() < 0.15:
        view = noisy(view, chance)
    return view
