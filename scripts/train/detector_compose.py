"""Composes training squares: one face or several, large, small, cut or turned, or none."""

import math
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from index.types import Image
from scripts.train.detector_backgrounds import rendered_background, scrambled
from scripts.train.detector_photometry import degraded
from scripts.train.pool import Pool
from scripts.train.scenes import Scene, Scenes

SMALLEST_FACE_PX = 12.0
"""Faces smaller than this (root of the box's area) are neither asked for nor forbidden: too few pixels."""

MIRRORED_POINTS = (1, 0, 2, 4, 3)
"""Where each of the five points is found after mirroring."""

_MOSTLY_VISIBLE, _BARELY_VISIBLE = 0.55, 0.25
"""Share of a box inside the picture from which on a face is asked for, and below which it is forbidden."""

_SOURCE_WEIGHTS = {"aaf": 1.3, "scut-fbp": 2.0, "utkface": 1.0, "celeba": 0.8, "celeba-small": 0.5}
"""How often a picture of a collection is drawn: half of the draws show Asian faces (aaf, scut-fbp)."""

_CROP_SHARE = 0.35
"""Share of the faces that come from aligned crops, where there are any: many persons, little about them."""

_BOX_BY_POINTS = (-1.75, -2.67, 3.48, 4.68)
"""Left, top, width and height of YuNet's box in units of the points' spread about their middle: medians over
`faces/scenes`, where single boxes differ from them by 0.3."""


@dataclass
class Square:
    """One training picture.

    Attributes:
        picture: Shape (s, s, 3), RGB.
        boxes: Left, top, right, bottom of each face to be found; pixels, may reach beyond the square.
        points: Five points of each.
        ignored: Boxes in which an answer is neither asked for nor forbidden.
    """

    picture: Image
    boxes: list[NDArray[np.float64]] = field(default_factory=list)
    points: list[NDArray[np.float64]] = field(default_factory=list)
    ignored: list[NDArray[np.float64]] = field(default_factory=list)


class Composer:
    """Draws training squares; the same choices give the same square."""

    def __init__(
        self, scenes: Scenes, side: int, *, crops: Pool | None = None, held_out: bool = False
    ) -> None:
        """Keep what to draw from.

        Args:
            scenes: Pictures with one face each.
            side: Of the squares in pixels.
            crops: Aligned faces to be drawn now and then instead, if any.
            held_out: Draw the pictures held out of training, and only those, instead of all others.
        """
        self._scenes, self._crops = scenes, crops
        self._side = side
        self._numbers = np.flatnonzero(scenes.held_out == held_out)
        self._steps = _steps(scenes.sources[self._numbers])
        self._crop_steps = None if crops is None else _steps(crops.sources)

    def draw(self, chance: Generator) -> Square:
        """Draw one square, as sharp and bright as what it is drawn from.

        Of 100 squares 50 show a picture as the loader shows it (whole, with a border), 12 a face of any
        size anywhere, 18 several faces. The other 20 show none: rendered, cut beside the faces, scrambled,
        or turned by 90, 180 or 270 degrees. A sideways face counts as none on purpose: its template would be
        worthless, and "no face" tells an operator that a scan lies wrong.
        """
        pick = chance.random()
        if pick < 0.50:
            return self._as_loaded(chance)
        if pick < 0.62:
            return self._anywhere(chance)
        if pick < 0.80:
            return self._several(chance)
        return self._empty(chance)

    def compose(self, chance: Generator) -> Square:
        """Draw one square and let it look like a registry's pictures."""
        square = self.draw(chance)
        square.picture = worn(square.picture, chance)
        return square

    def _scene(self, chance: Generator, *, whole: bool = False) -> Scene:
        """Draw a picture; `whole`: one that shows more than the face."""
        crops = None if whole or chance.random() >= _CROP_SHARE else self._crops
        steps = self._steps if crops is None or self._crop_steps is None else self._crop_steps
        place = min(int(np.searchsorted(steps, chance.random())), len(steps) - 1)
        if crops is not None:
            return crop_scene(crops.faces[place], crops.points[place])
        return self._scenes[int(self._numbers[place])]

    def _as_loaded(self, chance: Generator) -> Square:
        """Fit a picture, or a part about its face, into the square much as `index.detector` does."""
        scene = self._scene(chance)
        if chance.random() < 0.6:
            scene = _cropped(scene, chance)
        side, longer = self._side, max(scene.picture.shape[:2])
        border = 0.15 if chance.random() < 0.7 else chance.uniform(0, 0.4)
        scale = side / ((1 + 2 * border) * longer) * math.exp(chance.normal(0, 0.05))
        square = Square(self._ground(chance, black=0.75))
        _paste(square, scene, scale, _middle(side, chance, spread=0.03), chance)
        return square

    def _anywhere(self, chance: Generator) -> Square:
        """Show a face of any size at any place, cut by the frame now and then."""
        scene, side = self._scene(chance), self._side
        size = math.exp(chance.uniform(math.log(SMALLEST_FACE_PX), math.log(0.9 * side)))
        scale = float(np.clip(size / _extent(scene.box), 0.08, 4.0))
        if size < 40 and chance.random() < 0.7:
            scene = _cropped(scene, chance)
        square = Square(self._ground(chance, black=0.2))
        face = (scene.box[:2] + scene.box[2:] / 2 - np.array(scene.picture.shape[1::-1]) / 2) * scale
        inner = max(0.1, 0.5 - 0.35 * size / side)
        place = chance.uniform(0.5 - inner, 0.5 + inner, 2) * side
        _paste(square, scene, scale, place - face, chance)
        return square

    def _several(self, chance: Generator) -> Square:
        """Put up to four pictures, seldom nine, side by side, each cut to its own cell."""
        across = 3 if chance.random() < 0.12 else 2
        side = self._side
        cell = side // across
        square = Square(self._ground(chance, black=0.4))
        for row in range(across):
            for column in range(across):
                if chance.random() < 0.08:
                    continue
                tile = Square(self._ground(chance, black=0.6, side=cell))
                scene = _cropped(self._scene(chance), chance)
                scale = cell / max(scene.picture.shape[:2]) * chance.uniform(0.7, 1.25)
                _paste(tile, scene, scale, _middle(cell, chance, spread=0.06), chance)
                _insert(square, tile, top=row * cell, left=column * cell)
        return square

    def _empty(self, chance: Generator) -> Square:
        pick, side = chance.random(), self._side
        if pick < 0.3:
            return Square(rendered_background(side, chance))
        if pick < 0.6:
            return Square(_faceless_part(self._scene(chance, whole=True), side, chance))
        scene = self._scene(chance)
        if pick < 0.72:
            picture = scene.picture.copy()
            box = _inside(scene.box, picture)
            parts = scrambled(picture[box[1] : box[3], box[0] : box[2]], chance)
            picture[box[1] : box[1] + parts.shape[0], box[0] : box[0] + parts.shape[1]] = parts
        else:
            picture = np.rot90(scene.picture, int(chance.integers(1, 4)))
        scale = side / (chance.uniform(1.0, 1.6) * max(picture.shape[:2]))
        square = Square(self._ground(chance, black=0.6))
        _lay(square.picture, picture, _matrix(picture, scale, _middle(side, chance, spread=0.05), turn=0.0))
        return square

    def _ground(self, chance: Generator, *, black: float, side: int | None = None) -> Image:
        """Return what lies around a picture: nothing, as in the loader, or a rendered background."""
        side = side or self._side
        if chance.random() < black:
            return np.zeros((side, side, 3), np.uint8)
        return rendered_background(side, chance)


def worn(picture: Image, chance: Generator) -> Image:
    """Let a drawn picture look like a registry's; the loader's black border stays black for the most part.

    Args:
        picture: Shape (s, s, 3), RGB. Not modified.
        chance: Where the choices come from.
    """
    lit = cv2.inRange(picture, (0, 0, 0), (0, 0, 0)) == 0
    result = degraded(picture, chance)
    if chance.random() < 0.7:
        result = np.asarray(cv2.copyTo(result, lit.astype(np.uint8)), np.uint8)
    return result


def crop_scene(picture: Image, points: NDArray[np.float32]) -> Scene:
    """Make a scene of an aligned crop, whose box is told from its points.

    Args:
        picture: Shape (h, w, 3), RGB.
        points: Shape (5, 2).
    """
    middle = points.mean(axis=0)
    spread = float(np.sqrt(((points - middle) ** 2).sum(axis=1).mean()))
    left, top, width, height = (spread * part for part in _BOX_BY_POINTS)
    box = np.array([middle[0] + left, middle[1] + top, width, height], np.float32)
    return Scene(picture, box, points)


def _steps(sources: NDArray[np.str_]) -> NDArray[np.float64]:
    """Return the running sum of the pictures' shares, to draw one by a number from 0 to 1."""
    weights = np.array([_SOURCE_WEIGHTS.get(str(source), 1.0) for source in sources])
    return np.cumsum(weights / weights.sum())


def _extent(box: NDArray[np.float32]) -> float:
    return math.sqrt(float(box[2]) * float(box[3]))


def _middle(side: int, chance: Generator, *, spread: float) -> NDArray[np.float64]:
    return side / 2 + chance.normal(0, spread * side, 2)


def _inside(box: NDArray[np.float32], picture: Image) -> NDArray[np.int64]:
    """Return left, top, right, bottom of the part of a box that lies in the picture."""
    corners = np.array([box[0], box[1], box[0] + box[2], box[1] + box[3]])
    limits = np.tile(picture.shape[1::-1], 2)
    return np.clip(np.rint(corners), 0, limits).astype(np.int64)


def _cropped(scene: Scene, chance: Generator) -> Scene:
    """Cut a picture to its face and a margin, down to less than none: faces that fill the frame."""
    left, top, right, bottom = _inside(scene.box, scene.picture)
    margin = np.maximum(chance.uniform(-0.12, 1.2, 4) * chance.uniform(0.2, 1.0), -0.12)
    width, height = float(scene.box[2]), float(scene.box[3])
    x0 = max(0, int(left - margin[0] * width))
    y0 = max(0, int(top - margin[1] * height))
    x1 = min(scene.picture.shape[1], int(right + margin[2] * width) + 1)
    y1 = min(scene.picture.shape[0], int(bottom + margin[3] * height) + 1)
    if min(x1 - x0, y1 - y0) < 12:
        return scene
    shift = np.array([x0, y0], np.float32)
    box = np.concatenate([scene.box[:2] - shift, scene.box[2:]]).astype(np.float32)
    return Scene(scene.picture[y0:y1, x0:x1], box, (scene.points - shift).astype(np.float32))


def _matrix(
    picture: Image, scale: float, middle: NDArray[np.float64], *, turn: float, stretch: float = 1.0
) -> NDArray[np.float64]:
    """Return the 2 x 3 map that turns (degrees) and scales a picture about its middle and moves that."""
    cosine, sine = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    turned = np.array([[cosine, sine], [-sine, cosine]]) * scale @ np.diag([stretch, 1 / stretch])
    centre = np.array([picture.shape[1] - 1, picture.shape[0] - 1]) / 2
    return np.hstack([turned, (middle - turned @ centre)[:, None]])


def _lay(ground: Image, picture: Image, matrix: NDArray[np.float64]) -> None:
    """Draw a picture over a ground through a map, without the jagged pixels that plain shrinking leaves."""
    scale = math.sqrt(abs(float(np.linalg.det(matrix[:, :2]))))
    reduced, adapted = np.ascontiguousarray(picture), matrix
    if scale < 0.7:
        sizes = [max(4, round(n * scale)) for n in picture.shape[1::-1]]
        reduced = np.asarray(cv2.resize(reduced, sizes, interpolation=cv2.INTER_AREA), np.uint8)
        factors = np.array(picture.shape[1::-1]) / np.array(sizes)
        # A pixel's middle is at a whole number: hence the half pixels.
        adapted = matrix @ np.array(
            [[factors[0], 0, (factors[0] - 1) / 2], [0, factors[1], (factors[1] - 1) / 2], [0, 0, 1]]
        )
    cv2.warpAffine(
        reduced,
        adapted,
        ground.shape[1::-1],
        dst=ground,
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_TRANSPARENT,
    )


def _paste(
    square: Square, scene: Scene, scale: float, middle: NDArray[np.float64], chance: Generator
) -> None:
    """Draw a picture into a square, mirrored or not and slightly turned and stretched, and note its face."""
    picture, box, points = scene.picture, scene.box.astype(np.float64), scene.points.astype(np.float64)
    if chance.random() < 0.5:
        picture = picture[:, ::-1]
        box[0] = picture.shape[1] - 1 - box[0] - box[2]
        points[:, 0] = picture.shape[1] - 1 - points[:, 0]
        points = points[list(MIRRORED_POINTS)]
    turn = chance.uniform(-25, 25) if chance.random() < 0.3 else chance.normal(0, 3)
    matrix = _matrix(picture, scale, middle, turn=turn, stretch=math.exp(chance.normal(0, 0.04)))
    _lay(square.picture, picture, matrix)
    _note(square, _moved_box(box, matrix), points @ matrix[:, :2].T + matrix[:, 2])


def _moved_box(box: NDArray[np.float64], matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return left, top, right, bottom of the oval in a box after a map: a head is rounder than its box."""
    centre = matrix[:, :2] @ (box[:2] + box[2:] / 2) + matrix[:, 2]
    half = np.sqrt(((matrix[:, :2] * box[2:] / 2) ** 2).sum(axis=1))
    return np.concatenate([centre - half, centre + half])


def _note(square: Square, box: NDArray[np.float64], points: NDArray[np.float64]) -> None:
    """Add a face: asked for, ignored or forbidden by its size and by how much of it the square shows."""
    sides = box[2:] - box[:2]
    shown = np.clip(box[2:], 0, square.picture.shape[0]) - np.clip(box[:2], 0, square.picture.shape[0])
    visible = float(shown.prod() / sides.prod())
    if visible >= _MOSTLY_VISIBLE and math.sqrt(float(sides.prod())) >= SMALLEST_FACE_PX:
        square.boxes.append(box)
        square.points.append(points)
    elif visible >= _BARELY_VISIBLE:
        square.ignored.append(box)


def _insert(square: Square, tile: Square, *, top: int, left: int) -> None:
    """Put a smaller square, with its faces, into a larger one."""
    height, width = tile.picture.shape[:2]
    square.picture[top : top + height, left : left + width] = tile.picture
    shift = np.array([left, top], np.float64)
    square.boxes += [box + np.tile(shift, 2) for box in tile.boxes]
    square.ignored += [box + np.tile(shift, 2) for box in tile.ignored]
    square.points += [points + shift for points in tile.points]


def _faceless_part(scene: Scene, side: int, chance: Generator) -> Image:
    """Cut the largest of the strips beside a face, or a part of it, and fit it into a square."""
    height, width = scene.picture.shape[:2]
    margin = 0.08 * scene.box[2:]
    left, top, right, bottom = _inside(
        np.concatenate([scene.box[:2] - margin, scene.box[2:] + 2 * margin]), scene.picture
    )
    strips = [(0, 0, left, height), (right, 0, width, height), (0, bottom, width, height), (0, 0, width, top)]
    strips = [s for s in strips if min(s[2] - s[0], s[3] - s[1]) >= 16]
    if not strips:
        return rendered_background(side, chance)
    x0, y0, x1, y1 = strips[int(chance.integers(len(strips)))]
    part_width = int(chance.integers(max(16, (x1 - x0) // 2), x1 - x0 + 1))
    part_height = int(chance.integers(max(16, (y1 - y0) // 2), y1 - y0 + 1))
    x, y = (
        x0 + int(chance.integers(x1 - x0 - part_width + 1)),
        y0 + int(chance.integers(y1 - y0 - part_height + 1)),
    )
    part = scene.picture[y : y + part_height, x : x + part_width]
    canvas = np.zeros((side, side, 3), np.uint8)
    scale = side / (chance.uniform(0.8, 1.4) * max(part.shape[:2]))
    _lay(canvas, part, _matrix(part, scale, _middle(side, chance, spread=0.02), turn=chance.normal(0, 5)))
    return canvas
