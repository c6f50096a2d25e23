"""Cuts a turned square out of a picture without the false patterns that plain shrinking leaves."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from index.types import Image


def cut_averaged(image: Image, matrix: NDArray[np.float64], size: int) -> Image:
    """Cut a square out; where it is much smaller than what it shows, pixels are averaged first.

    So noise and grain do not count as detail, and no fine pattern becomes a coarse one.

    Args:
        image: The picture. Not modified.
        matrix: Shape (2, 3), the similarity from picture to square.
        size: Side of the square in pixels.

    Returns:
        Shape (size, size, 3), RGB; edges repeated where it reaches past the picture.
    """
    shrink = int(1 / max(1e-9, math.hypot(matrix[0, 0], matrix[1, 0])))
    if shrink >= 2:
        image, matrix = _shrunk(image, matrix, size, shrink)
    cut = cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(cut, np.uint8)


def _shrunk(
    image: Image, matrix: NDArray[np.float64], size: int, shrink: int
) -> tuple[Image, NDArray[np.float64]]:
    """Average blocks of shrink x shrink pixels of the part that the square shows; adapt the transform."""
    corners = np.array([[0, 0], [size, 0], [0, size], [size, size]])
    inverse = cv2.invertAffineTransform(matrix)
    reach = corners @ inverse[:, :2].T + inverse[:, 2]
    height, width = image.shape[:2]
    left = int(np.clip(reach[:, 0].min(), 0, width - 1))
    top = int(np.clip(reach[:, 1].min(), 0, height - 1))
    columns = max(1, min(width - left, math.ceil(reach[:, 0].max()) - left) // shrink)
    rows = max(1, min(height - top, math.ceil(reach[:, 1].max()) - top) // shrink)
    part = image[top : top + rows * shrink, left : left + columns * shrink]
    small = np.asarray(cv2.resize(part, (columns, rows), interpolation=cv2.INTER_AREA), np.uint8)
    shift = np.array([left, top]) + (shrink - 1) / 2
    adapted = np.column_stack((matrix[:, :2] * shrink, matrix[:, :2] @ shift + matrix[:, 2]))
    return small, adapted
