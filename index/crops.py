"""Cuts a turned square out of a picture without the false patterns that plain shrinking leaves."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from index.types import Image


def cut_averaged(image: Image, matrix: NDArray[np.float64], size: int, *, quick: bool = False) -> Image:
    """Cut a square out; where it is much smaller than what it shows, pixels are averaged first.

    So noise and grain do not count as detail, and no fine pattern becomes a coarse one.

    Args:
        image: The picture. Not modified.
        matrix: Shape (2, 3), the similarity from picture to square.
        size: Side of the square in pixels.
        quick: Average by powers of two only: a quarter less time in all, for readers that a little grain
            does not lead astray.

    Returns:
        Shape (size, size, 3), RGB; edges repeated where it reaches past the picture.
    """
    shrink = int(1 / max(1e-9, math.hypot(matrix[0, 0], matrix[1, 0])))
    if shrink >= 2:
        shrink = 1 << (shrink.bit_length() - 1) if quick else shrink
        image, matrix = _shrunk(image, matrix, size, shrink)
    cut = cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(cut, np.uint8)


def _shrunk(
    image: Image, matrix: NDArray[np.float64], size: int, shrink: int
) -> tuple[Image, NDArray[np.float64]]:
    """Average blocks of shrink x shrink pixels of the part that the square shows; adapt the transform."""
    # Plain complex numbers, for a similarity z -> a z + b is one product and one sum of them.
    a, b = complex(matrix[0, 0], matrix[1, 0]), complex(matrix[0, 2], matrix[1, 2])
    corners = [(corner - b) / a for corner in (0, size, size * 1j, size * (1 + 1j))]
    across, down = [corner.real for corner in corners], [corner.imag for corner in corners]
    height, width = image.shape[:2]
    left = int(min(max(min(across), 0), width - 1))
    top = int(min(max(min(down), 0), height - 1))
    columns = max(1, min(width - left, math.ceil(max(across)) - left) // shrink)
    rows = max(1, min(height - top, math.ceil(max(down)) - top) // shrink)
    part = image[top : top + rows * shrink, left : left + columns * shrink]
    moved = a * (complex(left, top) + (shrink - 1) / 2 * (1 + 1j)) + b
    a *= shrink
    adapted = np.array([[a.real, -a.imag, moved.real], [a.imag, a.real, moved.imag]])
    return _averaged(part, columns, rows, shrink), adapted


def _averaged(part: Image, columns: int, rows: int, shrink: int) -> Image:
    """Average blocks; by halves as long as it goes, for OpenCV does those three times as fast."""
    while shrink % 2 == 0 and part.shape[1] == columns * shrink and part.shape[0] == rows * shrink:
        shrink //= 2
        size = (columns * shrink, rows * shrink)
        part = np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA), np.uint8)
    if shrink == 1:
        return part
    return np.asarray(cv2.resize(part, (columns, rows), interpolation=cv2.INTER_AREA), np.uint8)
