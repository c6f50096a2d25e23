"""Renders pictures without faces, to train on; what is measured on comes from another generator."""

import math
from collections.abc import Callable

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from index.types import Image

_LETTERS = "ABCDEFGHIKLMNOPRSTUVWXYZabcdefghiklmnoprstuvwxyz0123456789.,:-/()"


def rendered_background(side: int, chance: Generator) -> Image:
    """Draw a picture without a face.

    Args:
        side: In pixels.
        chance: Where the choices come from.

    Returns:
        Shape (side, side, 3).
    """
    picture = _GROUNDS[int(chance.integers(len(_GROUNDS)))](side, chance)
    for _ in range(int(chance.integers(0, 3))):
        _OVERLAYS[int(chance.integers(len(_OVERLAYS)))](picture, chance)
    return picture


def _plain(side: int, chance: Generator) -> Image:
    """One colour, as behind ID portraits: white and light blue more often than others."""
    pick = chance.random()
    colour = (
        chance.integers(225, 256, 3)
        if pick < 0.4
        else np.array([chance.integers(30, 150), chance.integers(90, 200), chance.integers(180, 256)])
        if pick < 0.6
        else chance.integers(0, 256, 3)
    )
    return np.broadcast_to(colour.astype(np.uint8), (side, side, 3)).copy()


def _gradient(side: int, chance: Generator) -> Image:
    line = np.linspace(0, 1, side, dtype=np.float32)
    angle = chance.uniform(0, 2 * math.pi)
    slope = line * math.cos(angle) + line[:, None] * math.sin(angle)
    slope = (slope - slope.min()) / float(np.ptp(slope))
    ends = chance.integers(0, 256, (2, 3)).astype(np.float32)
    return (ends[0] + (ends[1] - ends[0]) * slope[:, :, None]).astype(np.uint8)


def _clouds(side: int, chance: Generator) -> Image:
    """Noise of several scales, smooth or rough."""
    total = np.zeros((side, side, 3), np.float32)
    fall = chance.uniform(0.35, 0.9)
    for octave in range(2, 8):
        cells = min(side, 2**octave)
        noise = chance.standard_normal((cells, cells, 3), dtype=np.float32)
        total += cv2.resize(noise, (side, side), interpolation=cv2.INTER_CUBIC) * np.float32(fall**octave)
    if chance.random() < 0.5:
        total = np.repeat(total[:, :, :1], 3, axis=2)
    spread = float(total.std()) or 1.0
    tint = chance.uniform(60, 200, 3).astype(np.float32)
    return np.clip(total / spread * np.float32(chance.uniform(15, 60)) + tint, 0, 255).astype(np.uint8)


def _checks(side: int, chance: Generator) -> Image:
    """Stripes or checks, turned by any angle."""
    period, angle = chance.uniform(4, 60), chance.uniform(0, math.pi)
    rows, columns = np.mgrid[:side, :side].astype(np.float32)
    one = np.sin((columns * math.cos(angle) + rows * math.sin(angle)) * 2 * math.pi / period)
    two = np.sin((rows * math.cos(angle) - columns * math.sin(angle)) * 2 * math.pi / period)
    mask = one > 0 if chance.random() < 0.5 else (one > 0) ^ (two > 0)
    colours = chance.integers(0, 256, (2, 3)).astype(np.uint8)
    return colours[mask.astype(np.intp)]


def _shapes(picture: Image, chance: Generator) -> None:
    side = picture.shape[0]
    for _ in range(int(chance.integers(1, 16))):
        colour = _colour(chance)
        x, y = (int(v) for v in chance.integers(0, side, 2))
        size = int(chance.integers(3, max(4, side // 2)))
        thickness = -1 if chance.random() < 0.6 else int(chance.integers(1, 6))
        if chance.random() < 0.5:
            axes = (size, int(size * chance.uniform(0.4, 1.4)) + 1)
            cv2.ellipse(picture, (x, y), axes, chance.uniform(0, 180), 0, 360, colour, thickness, cv2.LINE_AA)
        else:
            cv2.rectangle(
                picture, (x, y), (x + size, y + int(size * chance.uniform(0.2, 2))), colour, thickness
            )


def _lines(picture: Image, chance: Generator) -> None:
    side = picture.shape[0]
    for _ in range(int(chance.integers(2, 30))):
        start, end = chance.integers(-side // 4, side * 5 // 4, (2, 2)).tolist()
        cv2.line(picture, start, end, _colour(chance), int(chance.integers(1, 8)), cv2.LINE_AA)


def _text(picture: Image, chance: Generator) -> None:
    side = picture.shape[0]
    scale = chance.uniform(0.3, 1.6)
    colour, font = _colour(chance), int(chance.integers(0, 8))
    step = max(8, int(scale * 30))
    for y in range(int(chance.integers(0, side)), side, step):
        letters = "".join(_LETTERS[i] for i in chance.integers(0, len(_LETTERS), int(chance.integers(4, 30))))
        where = (int(chance.integers(-20, side // 2)), y)
        cv2.putText(picture, letters, where, font, scale, colour, int(chance.integers(1, 4)), cv2.LINE_AA)


def _blank_heads(picture: Image, chance: Generator) -> None:
    """Ovals of the colours of skin, with hair or spots but no features: what a face is not."""
    side = picture.shape[0]
    for _ in range(int(chance.integers(1, 4))):
        tone = chance.uniform(0.3, 1.0)
        skin = (int(235 * tone), int(190 * tone), int(160 * tone))
        size = int(chance.integers(6, side // 3))
        x, y = (int(v) for v in chance.integers(0, side, 2))
        if chance.random() < 0.5:
            cv2.ellipse(picture, (x, y - size // 3), (size, int(size * 1.2)), 0, 0, 360, _colour(chance), -1)
        cv2.ellipse(picture, (x, y), (int(size * 0.8), size), 0, 0, 360, skin, -1, cv2.LINE_AA)
        for _ in range(int(chance.integers(0, 3))):
            spot = (x + int(chance.normal(0, size * 0.4)), y + int(chance.normal(0, size * 0.5)))
            cv2.circle(picture, spot, max(1, size // 8), _colour(chance), -1, cv2.LINE_AA)
    if chance.random() < 0.5:
        picture[:] = cv2.GaussianBlur(picture, (0, 0), chance.uniform(0.5, 3))


def _colour(chance: Generator) -> tuple[int, int, int]:
    red, green, blue = chance.integers(0, 256, 3).tolist()
    return red, green, blue


_GROUNDS: tuple[Callable[[int, Generator], Image], ...] = (_plain, _gradient, _clouds, _checks)
_OVERLAYS: tuple[Callable[[Image, Generator], None], ...] = (_shapes, _lines, _text, _blank_heads)


def scrambled(face: NDArray[np.uint8], chance: Generator) -> Image:
    """Return a face with its parts in other places: skin, eyes and a mouth, yet no face.

    Args:
        face: Shape (h, w, 3), at least 8 x 8. Not modified.
        chance: Where the order comes from.
    """
    count = int(chance.integers(3, 6))
    height, width = face.shape[0] // count, face.shape[1] // count
    tiles = [
        face[row * height : (row + 1) * height, column * width : (column + 1) * width]
        for row in range(count)
        for column in range(count)
    ]
    order = chance.permutation(len(tiles))
    rows = [
        np.hstack(
            [np.rot90(tiles[i], 2) if chance.random() < 0.5 else tiles[i] for i in order[at : at + count]]
        )
        for at in range(0, len(tiles), count)
    ]
    return np.ascontiguousarray(np.vstack(rows))
