"""Makes clean crops look like a registry's: scans, grey, JPEG, blur, small faces, uneven light, colour."""

import math

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from index.encoder import TEMPLATE_SIZE
from index.types import Image
from scripts.train.pool import CROP_SIZE

TEMPLATE_SHARE = 116 / CROP_SIZE
"""Share of a crop that the ArcFace template covers, in its middle. Source: the README of the pool."""


def augmented(crop: Image, side: int, chance: Generator, *, mirrored: bool) -> Image:
    """Return a crop as a registry might hold it.

    Args:
        crop: Shape (136, 136, 3), RGB. Not modified.
        side: Of the result in pixels.
        chance: Where the choices come from.
        mirrored: Whether left and right are exchanged.

    Returns:
        Shape (side, side, 3), RGB, on the ArcFace template up to a detector's usual error.
    """
    face = _placed(crop, TEMPLATE_SIZE, chance)
    if mirrored:
        face = np.ascontiguousarray(face[:, ::-1])
    if chance.random() < 0.5:
        face = lit(face, chance)
    if chance.random() < 0.2:
        face = grey(face)
    if chance.random() < 0.25:
        face = coarse(face, chance)
    if chance.random() < 0.15:
        face = noisy(face, chance)
    if chance.random() < 0.4:
        face = compressed(face, chance)
    if chance.random() < 0.1:
        face = covered(face, chance)
    return _fitted(face, side)


def plain(crop: Image, side: int) -> Image:
    """Return a crop as it is, on the template."""
    return _fitted(_warped(crop, TEMPLATE_SIZE, angle=0.0, scale=1.0, shift=(0.0, 0.0)), side)


def _fitted(face: Image, side: int) -> Image:
    if face.shape[0] == side:
        return face
    return np.asarray(cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


def _placed(crop: Image, side: int, chance: Generator) -> Image:
    """Move the face as landmarks err: by about 1.5 % of the side, 2 degrees and 3 % of size."""
    shift = tuple(chance.normal(0, 0.015 * side, 2))
    return _warped(
        crop, side, angle=chance.normal(0, 2.0), scale=math.exp(chance.normal(0, 0.03)), shift=shift
    )


def _warped(crop: Image, side: int, *, angle: float, scale: float, shift: tuple[float, ...]) -> Image:
    factor = scale * side / (CROP_SIZE * TEMPLATE_SHARE)
    matrix = cv2.getRotationMatrix2D((CROP_SIZE / 2 - 0.5, CROP_SIZE / 2 - 0.5), angle, factor)
    matrix[:, 2] = matrix[:, 2] + (side - CROP_SIZE) / 2 + np.asarray(shift)
    return np.asarray(
        cv2.warpAffine(crop, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE),
        np.uint8,
    )


def lit(face: Image, chance: Generator) -> Image:
    """Change gamma, contrast and colour, and let light fall from one side."""
    side = face.shape[0]
    value = face.astype(np.float32) / 255
    value = value ** math.exp(chance.normal(0, 0.25))
    value = (value - 0.5) * math.exp(chance.normal(0, 0.2)) + 0.5 + chance.normal(0, 0.05)
    value = value * (1 + chance.normal(0, 0.06, 3)).astype(np.float32)
    if chance.random() < 0.4:
        angle, strength = chance.uniform(0, 2 * math.pi), chance.uniform(0, 0.6)
        line = np.linspace(-1, 1, side, dtype=np.float32)
        value *= (1 + strength * (line * math.cos(angle) + line[:, None] * math.sin(angle)))[..., None]
    return _bytes(value * 255)


def grey(face: Image) -> Image:
    """Take the colour away."""
    return np.repeat(cv2.cvtColor(face, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)


def coarse(face: Image, chance: Generator) -> Image:
    """Blur, or lose resolution as small faces do."""
    side = face.shape[0]
    if chance.random() < 0.5:
        return np.asarray(cv2.GaussianBlur(face, (0, 0), chance.uniform(0.4, 1.8) * side / 112), np.uint8)
    share = chance.uniform(0.25, 0.8)
    height, width = (max(20, int(length * share)) for length in face.shape[:2])
    reduced = cv2.resize(face, (width, height), interpolation=cv2.INTER_AREA)
    how = cv2.INTER_LINEAR if chance.random() < 0.5 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(reduced, face.shape[1::-1], interpolation=how), np.uint8)


def noisy(face: Image, chance: Generator) -> Image:
    """Add grain, of one colour or of all."""
    channels = 1 if chance.random() < 0.5 else 3
    noise = chance.standard_normal((*face.shape[:2], channels), dtype=np.float32)
    return _bytes(face + noise * np.float32(chance.uniform(2, 14)))


def compressed(face: Image, chance: Generator) -> Image:
    """Go through JPEG once, at a quality of 40 to 95."""
    quality = int(chance.integers(40, 96))
    _, data = cv2.imencode(".jpg", face[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.ascontiguousarray(np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)[..., ::-1])


def covered(face: Image, chance: Generator) -> Image:
    """Lay a plain patch over a part, as a stamp, a hand or a scan's fold would."""
    side, across = face.shape[:2]
    height, width = chance.integers(side // 10, side // 3), chance.integers(across // 10, across // 3)
    top, left = chance.integers(0, side - height), chance.integers(0, across - width)
    covered = face.copy()
    covered[top : top + height, left : left + width] = chance.integers(0, 256, 3)
    return covered


def _bytes(value: NDArray[np.floating]) -> Image:
    return np.clip(value, 0, 255).astype(np.uint8)
