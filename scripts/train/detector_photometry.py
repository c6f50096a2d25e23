"""Makes composed squares look like a registry's pictures: light, colour, scans, compression, noise."""

import math

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from index.types import Image


def degraded(square: Image, chance: Generator) -> Image:
    """Return a square as a camera, a scanner or an archive might have left it.

    Args:
        square: Shape (s, s, 3), RGB. Not modified.
        chance: Where the choices come from.
    """
    result = square
    if chance.random() < 0.6:
        result = _toned(result, chance)
    if chance.random() < 0.25:
        result = _unevenly_lit(result, chance)
    if chance.random() < 0.22:
        result = np.repeat(cv2.cvtColor(result, cv2.COLOR_RGB2GRAY)[:, :, None], 3, axis=2)
    if chance.random() < 0.3:
        result = _coarse(result, chance)
    if chance.random() < 0.2:
        result = _noisy(result, chance)
    if chance.random() < 0.35:
        result = _compressed(result, chance)
    return result


def slightly_toned(square: Image, chance: Generator) -> Image:
    """Change gamma, contrast and brightness so little that a teacher's answer stays what it was.

    YuNet's points move by 1 % of the eyes' distance, a quarter of what they move when a picture is shifted.

    Args:
        square: Shape (s, s, 3). Not modified.
        chance: Where the choices come from.
    """
    value = np.linspace(0, 1, 256, dtype=np.float32) ** np.float32(math.exp(chance.normal(0, 0.1)))
    value = (value - 0.5) * math.exp(chance.normal(0, 0.1)) + 0.5 + chance.normal(0, 0.03)
    return np.asarray(cv2.LUT(square, _bytes(value * 255)), np.uint8)


def _toned(square: Image, chance: Generator) -> Image:
    """Change gamma, contrast, brightness and colour by one curve for each channel."""
    value = np.linspace(0, 1, 256, dtype=np.float32)[:, None] ** np.float32(math.exp(chance.normal(0, 0.35)))
    # Down to a third of the contrast: faded prints and pictures against the light.
    contrast = chance.uniform(0.35, 1.0) if chance.random() < 0.3 else math.exp(chance.normal(0, 0.25))
    value = (value - 0.5) * contrast + 0.5 + chance.normal(0, 0.1)
    cast = chance.normal(0, 0.12, 3) if chance.random() < 0.5 else np.zeros(3)
    curve = _bytes(value * (1 + cast.astype(np.float32)) * 255)
    return np.asarray(cv2.LUT(square, np.ascontiguousarray(curve[None])), np.uint8)


def _unevenly_lit(square: Image, chance: Generator) -> Image:
    """Let light fall from one side; at its strongest one half of a face is nearly black."""
    side = square.shape[0]
    line = np.linspace(-1, 1, side, dtype=np.float32)
    angle, strength = chance.uniform(0, 2 * math.pi), chance.uniform(0.2, 2.5)
    middle = chance.uniform(-0.4, 0.4)
    slope = line * np.float32(math.cos(angle)) + line[:, None] * np.float32(math.sin(angle)) - middle
    light = 1.6 / (1 + np.exp(-strength * 2 * slope))
    return _bytes(square.astype(np.float32) * light[:, :, None])


def _coarse(square: Image, chance: Generator) -> Image:
    side = square.shape[0]
    if chance.random() < 0.5:
        return np.asarray(cv2.GaussianBlur(square, (0, 0), chance.uniform(0.5, 2.5)), np.uint8)
    small = int(side * chance.uniform(0.35, 0.8))
    reduced = cv2.resize(square, (small, small), interpolation=cv2.INTER_AREA)
    how = cv2.INTER_LINEAR if chance.random() < 0.5 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(reduced, (side, side), interpolation=how), np.uint8)


def _noisy(square: Image, chance: Generator) -> Image:
    # One strip, rolled by rows: drawing a value for every pixel would take longer than the rest together.
    height, width = square.shape[:2]
    strip = chance.standard_normal(height * width + 4096, dtype=np.float32)
    layers = [strip[start : start + height * width] for start in chance.integers(0, 4096, 3)]
    if chance.random() < 0.5:
        layers = layers[:1] * 3
    noise = np.stack(layers, axis=1).reshape(height, width, 3)
    return _bytes(square + noise * np.float32(chance.uniform(2, 18)))


def _compressed(square: Image, chance: Generator) -> Image:
    quality = int(chance.integers(25, 96))
    _, data = cv2.imencode(".jpg", square, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def _bytes(value: NDArray[np.floating]) -> Image:
    return np.clip(value, 0, 255).astype(np.uint8)
