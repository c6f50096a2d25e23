"""Made-up faces for tests: five points where a face has them, on pictures that show nobody."""

import math

import cv2
import numpy as np

from index.encoder import ARCFACE_TEMPLATE
from index.face_measures import HEAD_MODEL
from index.types import Face, Image, Points

SKIN = (214, 164, 136)


def landmarks_at(centre: tuple[float, float], eyes_px: float, *, roll_deg: float = 0) -> Points:
    """Place the template's points around a centre (the middle of its crop) with the eyes so far apart."""
    points = (ARCFACE_TEMPLATE - 56) @ [1, 1j]
    scale = eyes_px / abs(points[1] - points[0])
    turned = points * scale * np.exp(-1j * math.radians(roll_deg))
    return np.column_stack((turned.real + centre[0], turned.imag + centre[1])).astype(np.float32)


def face_at(centre: tuple[float, float], eyes_px: float, *, roll_deg: float = 0, score: float = 0.9) -> Face:
    """Return a face as a detector would: a box 2.2 eye distances wide and 2.8 high around the points."""
    width, height = 2.2 * eyes_px, 2.8 * eyes_px
    box = (centre[0] - width / 2, centre[1] - height / 2, width, height)
    return Face(box, score, landmarks_at(centre, eyes_px, roll_deg=roll_deg))


def turned_head(yaw_deg: float = 0, pitch_deg: float = 0, roll_deg: float = 0) -> Points:
    """Turn the head model (x right, y down, z to the camera) and look from afar; in eye distances."""
    yaw, pitch, roll = map(math.radians, (yaw_deg, pitch_deg, roll_deg))
    turn = np.array([[math.cos(yaw), 0, math.sin(yaw)], [0, 1, 0], [-math.sin(yaw), 0, math.cos(yaw)]])
    nod = np.array([[1, 0, 0], [0, math.cos(pitch), math.sin(pitch)], [0, -math.sin(pitch), math.cos(pitch)]])
    tilt = np.array([[math.cos(roll), math.sin(roll)], [-math.sin(roll), math.cos(roll)]])
    return np.asarray((HEAD_MODEL @ (nod @ turn).T)[:, :2] @ tilt.T, np.float32)


def textured(height: int, width: int) -> Image:
    """Paint skin-coloured structure of every size; the same for the same shape."""
    random = np.random.default_rng(11)
    layers = np.zeros((height, width, 1), np.float32)
    for cells, weight in ((6, 20), (20, 15), (60, 12), (150, 8)):
        grid = random.normal(0, weight, (cells, cells)).astype(np.float32)
        layers[..., 0] += cv2.resize(grid, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.clip(np.array(SKIN) + layers, 0, 255).astype(np.uint8)
