"""Pictures with one face each, made of the scenes held out of training, to measure a detector on."""

import math

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from index.types import Image, Points
from scripts.train.scenes import Scene

PORTRAIT_WIDTH, PORTRAIT_HEIGHT = 358, 441
"""Pixels of an ID-card portrait. Source: GA 461 (docs of the product: 358 x 441 at 350 dpi)."""

_FACE_WIDTH_PX, _FACE_WIDTH_SPREAD_PX = 207, 14
"""Width of the face in it and how far that may be off. Source: GA 461."""

_EYES_ABOVE_BOTTOM_PX = 225
"""GA 461 asks for 207 or more; portraits of the time lie a little above that."""


def id_portrait(scene: Scene, chance: Generator) -> tuple[Image, Points]:
    """Cut a portrait of 358 x 441 about a face, white where the picture ends.

    Args:
        scene: Where it is cut from.
        chance: How wide the face becomes.

    Returns:
        The portrait and where the labelled points are in it.
    """
    wide = _FACE_WIDTH_PX + chance.uniform(-_FACE_WIDTH_SPREAD_PX, _FACE_WIDTH_SPREAD_PX)
    # A head is wider than the detector's box, which ends before the ears.
    scale = 0.92 * wide / float(scene.box[2])
    eyes = scene.points[:2].mean(axis=0)
    middle = np.array([float(scene.box[0] + scene.box[2] / 2), float(eyes[1])]) * scale
    shift = np.array([PORTRAIT_WIDTH / 2, PORTRAIT_HEIGHT - _EYES_ABOVE_BOTTOM_PX]) - middle
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    return _mapped(scene, matrix, (PORTRAIT_WIDTH, PORTRAIT_HEIGHT), ground=255)


def small_face(scene: Scene, size_px: float, side: int) -> tuple[Image, Points]:
    """Place a whole picture, shrunk, in the middle of a large grey one.

    Args:
        scene: What is shrunk.
        size_px: Root of the area of the face's box, in pixels of the result.
        side: Of the result in pixels.
    """
    scale = size_px / math.sqrt(float(scene.box[2] * scene.box[3]))
    box = scene.box.astype(np.float64)
    shift = side / 2 - (box[:2] + box[2:] / 2) * scale
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    return _mapped(scene, matrix, (side, side), ground=128)


def turned(scene: Scene, turn_deg: float) -> tuple[Image, Points]:
    """Turn a picture about its middle, counter-clockwise, growing it so that nothing is cut."""
    height, width = scene.picture.shape[:2]
    longer = math.ceil(math.hypot(height, width))
    middle = ((width - 1) / 2, (height - 1) / 2)
    matrix = np.asarray(cv2.getRotationMatrix2D(middle, turn_deg, 1.0), np.float64)
    matrix[:, 2] += [(longer - width) / 2, (longer - height) / 2]
    return _mapped(scene, matrix, (longer, longer), ground=0)


def _mapped(
    scene: Scene, matrix: NDArray[np.float64], size: tuple[int, int], *, ground: int
) -> tuple[Image, Points]:
    scale = math.sqrt(abs(float(np.linalg.det(matrix[:, :2]))))
    picture, adapted = scene.picture, matrix
    if scale < 0.7:
        sizes = [max(4, round(n * scale)) for n in picture.shape[1::-1]]
        picture = np.asarray(cv2.resize(picture, sizes, interpolation=cv2.INTER_AREA), np.uint8)
        factors = np.array(scene.picture.shape[1::-1]) / np.array(sizes)
        adapted = matrix @ np.array([[factors[0], 0, 0], [0, factors[1], 0], [0, 0, 1]])
    result = cv2.warpAffine(
        picture,
        adapted,
        size,
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(ground,) * 3,
    )
    points = scene.points @ matrix[:, :2].T + matrix[:, 2]
    return np.asarray(result, np.uint8), points.astype(np.float32)
