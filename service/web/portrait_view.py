"""Draws portraits for comparison by eye: all at one scale, upright, with the eyes in one place."""

from collections.abc import Sequence
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from index.portrait import decode_portrait
from index.types import Image

WIDTH, HEIGHT = 480, 600
"""Size of the drawn portrait in pixels: twice what the pages show, for dense screens and zoom."""

EYES_AT = (0.5, 0.45)
"""Where the middle between the eyes lies, in widths and heights: the head and some shoulder are in."""

EYE_DISTANCE = 0.25
"""Distance between the eyes in widths: an ID-card portrait (358 px, eyes about 90 px apart) fits whole."""

LEAST_EYES_TO_MOUTH = 0.6
"""A frontal face has about 0.87 (ArcFace's template); a turned head less, and would be drawn too large."""

OUTSIDE = (216, 220, 224)
"""Grey, RGB, where the drawing reaches past the picture: neither skin nor an ID-card portrait's white."""

JPEG_QUALITY = 90

WHOLE_QUALITY = 95
"""Of the whole picture, which officers open to see what the drawing may have lost."""


def draw_aligned(data: bytes, landmarks: Sequence[Sequence[float]]) -> bytes:
    """Turn a stored portrait into the JPEG that officers compare.

    Args:
        data: The stored file.
        landmarks: Its five points in pixels of the decoded picture.

    Raises:
        PortraitError: The file is damaged.
        ValueError: The points lie in one place.
    """
    picture = decode_portrait(data).pixels
    matrix = eye_transform(np.asarray(landmarks, np.float64))
    drawn = _warp(picture, matrix)
    return _as_jpeg(drawn, quality=JPEG_QUALITY)


def draw_whole(data: bytes) -> bytes:
    """Turn a stored portrait, whole and upright, into a JPEG; whatever else the file held stays behind.

    Args:
        data: The stored file.

    Raises:
        PortraitError: The file is damaged.
    """
    return _as_jpeg(decode_portrait(data).pixels, quality=WHOLE_QUALITY)


def eye_transform(landmarks: NDArray[np.float64]) -> NDArray[np.float64]:
    """Find the similarity that puts the eyes level, in the middle, and at one scale.

    Args:
        landmarks: Shape (5, 2), see `index.types.Points`.

    Returns:
        Shape (2, 3), from the picture to the drawing.

    Raises:
        ValueError: The points lie in one place.
    """
    right_eye, left_eye = landmarks[0], landmarks[1]
    middle, mouth = (right_eye + left_eye) / 2, landmarks[3:].mean(axis=0)
    across = left_eye - right_eye
    distance = max(float(np.hypot(*across)), LEAST_EYES_TO_MOUTH * float(np.hypot(*(mouth - middle))))
    if not distance > 1e-3:
        raise ValueError("the landmarks lie in one place")
    scale, angle = EYE_DISTANCE * WIDTH / distance, np.arctan2(across[1], across[0])
    turn = scale * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    target = np.array(EYES_AT) * (WIDTH, HEIGHT)
    return np.column_stack([turn, target - turn @ middle])


def _as_jpeg(picture: Image, *, quality: int) -> bytes:
    written, encoded = cv2.imencode(
        ".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    if not written:
        raise AssertionError("unreachable: an 8-bit RGB picture can be written as JPEG")
    return encoded.tobytes()


def _warp(picture: Image, matrix: NDArray[np.float64]) -> Image:
    """Draw the picture; one that shrinks much is averaged first, so that fine detail does not flicker."""
    scale = float(np.hypot(matrix[0, 0], matrix[0, 1]))
    if scale < 0.5:
        rows, columns = picture.shape[:2]
        size = (max(1, round(columns * scale)), max(1, round(rows * scale)))
        picture = cast(Image, cv2.resize(picture, size, interpolation=cv2.INTER_AREA))
        matrix = matrix @ np.diag([columns / size[0], rows / size[1], 1.0])
    drawn = cv2.warpAffine(
        picture,
        matrix,
        (WIDTH, HEIGHT),
        flags=cv2.INTER_CUBIC if scale > 1 else cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=OUTSIDE,
    )
    return cast(Image, drawn)
