"""Cuts portraits in the frame of an ID card out of photographs, and simulates a second photograph."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from index.types import Face, Image

WIDTH, HEIGHT = 358, 441
"""Pixels of an ID-card portrait. Source: GA 461."""

FACE_WIDTH = 207.0
"""Pixels across the face. Source: GA 461, 207 with a tolerance of 14."""

EYE_LINE = 205.0
"""Row of the eyes: 236 pixels above the bottom, where GA 461 wants 207 at least, with room for the hair."""

BACKDROP_LIGHTNESS = 240
"""Grey level towards which the background is lightened; GA 461 wants white."""


@dataclass(frozen=True, slots=True)
class Backdrop:
    """What stands behind a person in the finished picture.

    Attributes:
        lightening: 0 keeps the blurred background, 1 replaces it with plain light grey.
        blur_px: Standard deviation of the blur.
    """

    lightening: float = 0.6
    blur_px: float = 14.0


def id_card_portrait(photograph: Image, face: Face, *, quality: int = 90) -> bytes:
    """Cut one person out of a photograph as an upright portrait with a light, blurred background.

    Args:
        photograph: Not modified.
        face: The person's face in it.
        quality: JPEG quality.

    Returns:
        A JPEG file of 358 x 441 pixels.
    """
    return _jpeg(_framed(photograph, _upright_frame(face), face, Backdrop()), quality)


def second_photograph(photograph: Image, face: Face, *, seed: int) -> bytes:
    """Simulate that the same person was photographed on another day by another camera.

    Framing, tilt, perspective, light, colour, sharpness, noise and compression
    differ; the expression and the person's age cannot, as it is the same photograph.

    Args:
        photograph: Not modified.
        face: The person's face in it.
        seed: The same seed makes the same picture.

    Returns:
        A JPEG file of 358 x 441 pixels.
    """
    chance = np.random.default_rng(seed)
    frame = _moved(chance) @ _upright_frame(face)
    backdrop = Backdrop(lightening=chance.uniform(0.0, 0.3), blur_px=chance.uniform(4.0, 8.0))
    picture = _framed(photograph, frame, face, backdrop)
    return _jpeg(_another_camera(picture, chance), int(chance.integers(62, 78)))


def _upright_frame(face: Face) -> NDArray[np.float64]:
    """Return the 3 x 3 matrix that turns the eyes level and scales the face to the frame."""
    right, left = np.asarray(face.landmarks[:2], dtype=np.float64)
    tilt = math.atan2(left[1] - right[1], left[0] - right[0])
    scale = FACE_WIDTH / face.box[2]
    cosine, sine = scale * math.cos(tilt), scale * math.sin(tilt)
    matrix = np.array([[cosine, sine, 0.0], [-sine, cosine, 0.0], [0.0, 0.0, 1.0]])
    eyes = (right + left) / 2
    # Between the eyes' middle and the box's, so that a turned head is not pushed out of the frame.
    middle = np.array([(eyes[0] + face.box[0] + face.box[2] / 2) / 2, eyes[1]])
    matrix[:2, 2] = np.array([WIDTH / 2, EYE_LINE]) - matrix[:2, :2] @ middle
    return matrix


def _moved(chance: np.random.Generator) -> NDArray[np.float64]:
    """Return a 3 x 3 matrix of a slightly different position of head and camera."""
    turn = math.radians(chance.uniform(2.0, 5.0) * chance.choice([-1.0, 1.0]))
    scale = chance.uniform(0.84, 0.95)
    cosine, sine = scale * math.cos(turn), scale * math.sin(turn)
    matrix = np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])
    matrix[2, :2] = chance.uniform(-1.5e-4, 1.5e-4, size=2)
    centre = np.array([WIDTH / 2, HEIGHT / 2, 1.0])
    reached = matrix @ centre
    matrix[:2, 2] = centre[:2] + chance.uniform(-10.0, 10.0, size=2) - reached[:2] / reached[2]
    return matrix


def _framed(photograph: Image, frame: NDArray[np.float64], face: Face, backdrop: Backdrop) -> Image:
    """Warp the photograph into the frame and put a backdrop behind the person."""
    size = (WIDTH, HEIGHT)
    drawn = cv2.warpPerspective(
        photograph,
        frame,
        size,
        flags=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=_edge_colour(photograph),
    ).astype(np.float32)
    blurred = cv2.GaussianBlur(drawn, (0, 0), backdrop.blur_px)
    behind = blurred + (BACKDROP_LIGHTNESS - blurred) * backdrop.lightening
    person = _person_mask(photograph, frame, face)[..., np.newaxis]
    return np.clip(drawn * person + behind * (1 - person), 0, 255).astype(np.uint8)


def _edge_colour(photograph: Image) -> tuple[float, float, float]:
    """Return the median colour along the edges, for what the photograph does not reach."""
    edges = np.concatenate([photograph[0], photograph[-1], photograph[:, 0], photograph[:, -1]])
    red, green, blue = (float(value) for value in np.median(edges, axis=0))
    return red, green, blue


def _person_mask(photograph: Image, frame: NDArray[np.float64], face: Face) -> NDArray[np.float32]:
    """Return a soft mask, 1 where head and shoulders are likely and the photograph reaches."""
    centre = frame @ np.array([face.box[0] + face.box[2] / 2, face.box[1] + face.box[3] / 2, 1.0])
    x, y = (int(value) for value in centre[:2] / centre[2])
    likely = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.ellipse(likely, (x, y - 25), (148, 190), 0, 0, 360, 255, -1)
    cv2.ellipse(likely, (x, HEIGHT + 20), (178, 130), 0, 0, 360, 255, -1)
    there = np.full(photograph.shape[:2], 255, np.uint8)
    reached = cv2.erode(cv2.warpPerspective(there, frame, (WIDTH, HEIGHT)), np.ones((25, 25), np.uint8))
    mask = cv2.GaussianBlur(np.minimum(likely, reached), (0, 0), 9.0)
    return (mask / 255).astype(np.float32)


def _another_camera(picture: Image, chance: np.random.Generator) -> Image:
    """Change light, colour and sharpness, and add noise."""
    levels = (picture.astype(np.float32) / 255) ** chance.uniform(0.8, 1.3)
    across = np.linspace(-1, 1, WIDTH, dtype=np.float32) * np.float32(chance.choice([-1.0, 1.0]))
    levels *= (1 + np.float32(chance.uniform(0.1, 0.25)) * across)[np.newaxis, :, np.newaxis]
    warmth = np.float32(chance.uniform(0.04, 0.1) * chance.choice([-1.0, 1.0]))
    levels *= np.array([1 + warmth, 1.0, 1 - warmth], dtype=np.float32)
    blurred = cv2.GaussianBlur(levels, (0, 0), chance.uniform(0.7, 1.3))
    noise = chance.normal(0.0, chance.uniform(0.012, 0.025), size=levels.shape)
    return np.clip((blurred + noise) * 255, 0, 255).astype(np.uint8)


def _jpeg(picture: Image, quality: int) -> bytes:
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    written, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not written:
        raise RuntimeError("the JPEG encoder refused a demo portrait")
    return data.tobytes()
