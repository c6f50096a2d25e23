"""Pictures without a face to measure on, by another generator than the one whose pictures are trained on.

`detector_backgrounds` draws flat colours, gradients, clouds, checks, shapes, lines, text and blank heads.
Here are forms, tables, halls of arches, foliage, plasma, cells, ripples, bubbles, cloth, windows and
headless busts: nothing of it is ever trained on.
"""

import math
from collections.abc import Callable

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from index.types import Image


def faceless_picture(chance: Generator) -> Image:
    """Draw a picture without a face.

    Args:
        chance: Where the choices come from.

    Returns:
        Shape (h, w, 3), RGB, of a portrait's or a photograph's size: sides of 200 to 640 pixels.
    """
    height, width = (441, 358) if chance.random() < 0.4 else chance.integers(200, 641, 2).tolist()
    picture = _KINDS[int(chance.integers(len(_KINDS)))](height, width, chance)
    if chance.random() < 0.3:
        picture = np.repeat(picture.mean(axis=2, keepdims=True).astype(np.uint8), 3, axis=2)
    if chance.random() < 0.3:
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), chance.uniform(0.5, 4)), np.uint8)
    return np.ascontiguousarray(picture)


def _form(height: int, width: int, chance: Generator) -> Image:
    """A printed form with rules, bars of text and a round stamp: the wrong side of a document, scanned."""
    picture = np.full((height, width, 3), chance.integers(215, 256), np.uint8)
    for y in range(20, height - 10, int(chance.integers(12, 28))):
        x = 15
        while x < width - 20:
            length = int(chance.integers(4, 40))
            if chance.random() < 0.8:
                cv2.rectangle(picture, (x, y), (min(x + length, width - 15), y + 5), (60, 60, 60), -1)
            x += length + int(chance.integers(4, 12))
    centre, radius = (int(chance.integers(width)), int(chance.integers(height))), int(chance.integers(20, 70))
    cv2.circle(picture, centre, radius, (200, 40, 40), 3, cv2.LINE_AA)
    cv2.putText(picture, "*", (centre[0] - 12, centre[1] + 18), 0, 2, (200, 40, 40), 4, cv2.LINE_AA)
    return picture


def _table(height: int, width: int, chance: Generator) -> Image:
    """Cells of many colours with thin borders, as spreadsheets and tiled walls have."""
    rows, columns = chance.integers(3, 20, 2)
    cells = chance.integers(0, 256, (rows, columns, 3)).astype(np.uint8)
    picture = np.asarray(cv2.resize(cells, (width, height), interpolation=cv2.INTER_NEAREST), np.uint8)
    for row in range(1, rows):
        cv2.line(picture, (0, row * height // rows), (width, row * height // rows), (20, 20, 20), 2)
    return picture


def _arches(height: int, width: int, chance: Generator) -> Image:
    """A front of arched windows, two above one another now and then: eyes over a mouth, to a careless net."""
    wall, glass = chance.integers(90, 240, 3), chance.integers(0, 110, 3)
    picture = np.broadcast_to(wall.astype(np.uint8), (height, width, 3)).copy()
    across, down = int(chance.integers(2, 7)), int(chance.integers(1, 6))
    for row in range(down):
        for column in range(across):
            x, y = width * (2 * column + 1) // (2 * across), height * (2 * row + 1) // (2 * down)
            w, h = max(2, width // (5 * across)), max(2, height // (4 * down))
            cv2.rectangle(picture, (x - w, y), (x + w, y + h), glass.tolist(), -1)
            cv2.ellipse(picture, (x, y), (w, w), 0, 180, 360, glass.tolist(), -1, cv2.LINE_AA)
    return picture


def _foliage(height: int, width: int, chance: Generator) -> Image:
    """Hundreds of leaves over one another, lit from above."""
    picture = np.full((height, width, 3), (40, 60, 30), np.uint8)
    for _ in range(int(chance.integers(150, 500))):
        centre = (int(chance.integers(width)), int(chance.integers(height)))
        light = chance.uniform(0.4, 1.0) * (1 - 0.5 * centre[1] / height)
        colour = (int(120 * light), int(200 * light), int(70 * light))
        axes = (int(chance.integers(4, 24)), int(chance.integers(2, 9)))
        cv2.ellipse(picture, centre, axes, chance.uniform(0, 180), 0, 360, colour, -1, cv2.LINE_AA)
    return picture


def _plasma(height: int, width: int, chance: Generator) -> Image:
    """Sums of waves seen through a bent glass."""
    y, x = np.mgrid[:height, :width].astype(np.float32) / 100
    picture = np.zeros((height, width, 3), np.float32)
    for channel in range(3):
        for _ in range(4):
            a, b, c, d = chance.normal(0, 2.5, 4)
            picture[:, :, channel] += np.sin(a * x + b * y + c + np.sin(d * y + a * x * y / 3))
    return (127 + 30 * picture).clip(0, 255).astype(np.uint8)


def _cells(height: int, width: int, chance: Generator) -> Image:
    """Every pixel has the colour of the nearest of some points: stone walls, cracked earth."""
    count = int(chance.integers(6, 120))
    points = chance.uniform(0, 1, (count, 2)) * (height, width)
    colours = (chance.uniform(40, 220, 3) + chance.normal(0, 25, (count, 3))).clip(0, 255).astype(np.uint8)
    rows, columns = np.mgrid[:height:2, :width:2]
    nearest = np.full(rows.shape, np.inf)
    chosen = np.zeros(rows.shape, np.intp)
    for number, (y, x) in enumerate(points):
        distance = (rows - y) ** 2 + (columns - x) ** 2
        closer = distance < nearest
        chosen[closer], nearest[closer] = number, distance[closer]
    return np.asarray(cv2.resize(colours[chosen], (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def _ripples(height: int, width: int, chance: Generator) -> Image:
    """Rings about several middles: water, tree rings, finger prints."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    total = np.zeros((height, width), np.float32)
    for _ in range(int(chance.integers(1, 5))):
        cy, cx, period = chance.uniform(0, height), chance.uniform(0, width), chance.uniform(8, 80)
        total += np.sin(np.hypot(y - cy, x - cx) * 2 * math.pi / period)
    bright, tint = total / max(1.0, float(np.abs(total).max())), chance.uniform(80, 200, 3)
    return (tint + 60 * bright[:, :, None]).clip(0, 255).astype(np.uint8)


def _bubbles(height: int, width: int, chance: Generator) -> Image:
    """Shaded balls, among them some of the colours of skin: fruit, lamps, bald things."""
    picture = np.broadcast_to(chance.integers(0, 256, 3).astype(np.uint8), (height, width, 3)).copy()
    for _ in range(int(chance.integers(1, 14))):
        centre = (int(chance.integers(width)), int(chance.integers(height)))
        radius = int(chance.integers(10, 110))
        skin = np.array([225, 175, 145]) * chance.uniform(0.4, 1.1)
        colour = skin if chance.random() < 0.5 else chance.uniform(0, 255, 3)
        for part in range(12):
            shade = (colour * (0.5 + part / 22)).clip(0, 255).tolist()
            moved = (centre[0] - part * radius // 40, centre[1] - part * radius // 40)
            cv2.circle(picture, moved, max(1, radius * (12 - part) // 12), shade, -1, cv2.LINE_AA)
    return picture


def _cloth(height: int, width: int, chance: Generator) -> Image:
    """Folds under a weave: curtains and clothes."""
    x = np.arange(width, dtype=np.float32)
    folds = sum(np.sin(x * chance.uniform(0.01, 0.12) + chance.uniform(0, 6)) for _ in range(4))
    weave = ((np.indices((height, width)).sum(axis=0) // int(chance.integers(2, 6))) % 2).astype(np.float32)
    bright = 0.6 + 0.12 * np.asarray(folds)[None, :] + 0.08 * weave
    return (bright[:, :, None] * chance.uniform(40, 255, 3)).clip(0, 255).astype(np.uint8)


def _headless(height: int, width: int, chance: Generator) -> Image:
    """A portrait whose sitter is missing: backdrop, shoulders, collar, perhaps a bare neck or a hat."""
    top, low = chance.integers(150, 256, 3), chance.integers(150, 256, 3)
    slope = np.linspace(0, 1, height)[:, None, None]
    picture = np.broadcast_to((top + (low - top) * slope), (height, width, 3)).astype(np.uint8).copy()
    middle, suit = width // 2, chance.integers(0, 140, 3).tolist()
    cv2.ellipse(picture, (middle, height), (width * 2 // 5, height // 3), 0, 180, 360, suit, -1, cv2.LINE_AA)
    edge, low_edge = height * 2 // 3, height * 5 // 6
    collar = [(middle - width // 10, edge), (middle, low_edge), (middle + width // 10, edge)]
    cv2.fillPoly(picture, [np.array(collar, np.int32)], (245, 245, 245), cv2.LINE_AA)
    if chance.random() < 0.5:
        skin = (np.array([230, 185, 155]) * chance.uniform(0.4, 1.0)).tolist()
        neck = (middle - width // 14, height // 2), (middle + width // 14, height * 7 // 10)
        cv2.rectangle(picture, *neck, skin, -1)
    if chance.random() < 0.4:
        brim = (width // 5, height // 9)
        cv2.ellipse(picture, (middle, height // 4), brim, 0, 180, 360, suit, -1, cv2.LINE_AA)
    return picture


_KINDS: tuple[Callable[[int, int, Generator], Image], ...] = (
    _form,
    _table,
    _arches,
    _foliage,
    _plasma,
    _cells,
    _ripples,
    _bubbles,
    _cloth,
    _headless,
)


def surroundings(picture: Image, boxes: NDArray[np.float64], chance: Generator) -> Image | None:
    """Cut a part of a picture that lies beside all its faces.

    Args:
        picture: Shape (h, w, 3). Not modified.
        boxes: Shape (n, 4), n >= 1: x, y, width, height of the faces, surely or perhaps.
        chance: Which part.

    Returns:
        A part of 48 pixels or more each way that touches no box, nor a tenth about it; None: there is none.
    """
    height, width = picture.shape[:2]
    left, top = (boxes[:, :2] - 0.1 * boxes[:, 2:]).min(axis=0).astype(int)
    right, bottom = (boxes[:, :2] + 1.1 * boxes[:, 2:]).max(axis=0).astype(int) + 1
    parts = [(0, 0, left, height), (right, 0, width, height), (0, 0, width, top), (0, bottom, width, height)]
    parts = [part for part in parts if min(part[2] - part[0], part[3] - part[1]) >= 48]
    if not parts:
        return None
    x0, y0, x1, y1 = parts[int(chance.integers(len(parts)))]
    return np.ascontiguousarray(picture[max(0, y0) : y1, max(0, x0) : x1])
