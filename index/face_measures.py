"""Numbers that five landmarks and the pixels of one face can give.

After OFIQ, the reference implementation of ISO/IEC 29794-5:2025. OFIQ measures on 98 landmarks, a
segmented face and a 3D head model; here a detector's five points stand for all of them, which makes every
measure coarse: good for telling a good portrait from a bad one, not for stating conformance.
"""

import math
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from index.crops import cut_averaged
from index.encoder import ARCFACE_TEMPLATE, TEMPLATE_SIZE, template_transform
from index.types import Image, Points

TEMPLATE_EYES_PX: Final = float(np.hypot(*(ARCFACE_TEMPLATE[1] - ARCFACE_TEMPLATE[0])))
"""Distance between the eyes in the encoder's crop, 35.2 pixels."""

HEAD_MODEL: Final = np.array(
    [[-0.5, 0, 0], [0.5, 0, 0], [0, 0.575, 0.49], [-0.43, 1.02, -0.03], [0.43, 1.02, -0.03]]
)
"""The five points of a frontal head: x right, y down, z towards the camera, in eye distances.

Source: x and y are medians over LFW, ORL and Yale as YuNet sees them (2,203 portraits). The depths of nose
and mouth are those under which a scaled orthographic camera explains 1,648 portraits of LFW best.
"""

DARK_UP_TO: Final = 25 / 255
"""Relative luminance that counts as under-exposed. Source: OFIQ, UnderExposurePrevention, range 0 to 25."""

BRIGHT_FROM: Final = 247 / 255
"""Relative luminance that counts as over-exposed. Source: OFIQ, OverExposurePrevention, range 247 to 255."""

_FACE_CENTRE = (56, 66)
_FACE_AXES = (31, 41)
_ZONE_SIDE = round(0.3 * TEMPLATE_EYES_PX)
_BLUR_LENGTH = 9


@dataclass(frozen=True, slots=True)
class Pose:
    """How a head is turned, in degrees; signs as in ANSI/NIST-ITL 1, field 10.025.

    Attributes:
        roll_deg: Positive when tilted towards the person's right shoulder (image left).
        yaw_deg: Positive when facing the person's left (image right). Coarse.
        pitch_deg: Positive when looking down. Coarse.
    """

    roll_deg: float
    yaw_deg: float
    pitch_deg: float


@dataclass(frozen=True, slots=True)
class Light:
    """How a face is lit and coloured. Luminance is relative and linear, 0 to 1, as in OFIQ.

    Attributes:
        mean: Of the luminance over the face.
        spread: Its standard deviation.
        over_exposed: Share of the face at `BRIGHT_FROM` or above.
        under_exposed: Share of the face at `DARK_UP_TO` or below.
        evenness: Mean luminance of the darker cheek over that of the brighter one, 1 when equal.
        natural_colour: 1 when the cheeks have the colour of skin, falling to 0; see `skin_likeness`.
    """

    mean: float
    spread: float
    over_exposed: float
    under_exposed: float
    evenness: float
    natural_colour: float


def measure_pose(landmarks: Points) -> Pose:
    """Estimate a head's pose from five points.

    The points are fitted with `HEAD_MODEL` under scaled orthography (the POS step of DeMenthon and Davis,
    1995). Persons' proportions differ, so expect errors of 5 to 10 degrees in yaw and pitch.

    Args:
        landmarks: Five points in pixels, not all in one place.
    """
    points = np.asarray(landmarks, np.float64) @ [1, 1j]
    eyes = points[1] - points[0]
    upright = points * (abs(eyes) / eyes) if eyes else points
    shape = np.column_stack((upright.real, upright.imag))
    camera = _HEAD_INVERSE @ (shape - shape.mean(axis=0))
    scale = float(np.linalg.norm(camera, axis=0).mean()) or 1.0
    yaw, pitch = np.degrees(np.arcsin(np.clip(camera[2] / scale, -1, 1)))
    return Pose(-math.degrees(math.atan2(eyes.imag, eyes.real)), float(yaw), float(pitch))


def face_crop(image: Image, landmarks: Points) -> Image:
    """Cut the face out as the encoder sees it, edges repeated where it reaches past the picture.

    A large face is averaged before it is warped, so that noise and grain do not count as detail.

    Args:
        image: The picture. Not modified.
        landmarks: Five points in pixels.

    Returns:
        Shape (112, 112, 3).

    Raises:
        AlignmentError: The points are not finite, or lie in one place.
    """
    return cut_averaged(image, template_transform(landmarks), TEMPLATE_SIZE)


def measure_light(crop: Image) -> Light:
    """Measure exposure, contrast, evenness and colour.

    Args:
        crop: Shape (112, 112, 3), from `face_crop`.
    """
    luminance = _LINEAR[crop] @ _LUMINANCE_WEIGHTS
    face = luminance[_FACE_MASK]
    cheeks = [float(luminance[zone].mean()) for zone in _CHEEKS]
    colour = np.mean([crop[zone].mean(axis=(0, 1)) for zone in _CHEEKS], axis=0)
    return Light(
        mean=float(face.mean()),
        spread=float(face.std()),
        over_exposed=float((face >= BRIGHT_FROM).mean()),
        under_exposed=float((face <= DARK_UP_TO).mean()),
        evenness=(min(cheeks) + 1e-3) / (max(cheeks) + 1e-3),
        natural_colour=skin_likeness(colour),
    )


def skin_likeness(colour: NDArray[np.float64]) -> float:
    """Say how natural a mean skin colour is.

    Source: OFIQ, NaturalColour: the distance d of CIELAB a* from 5 to 25 and of b* from 5 to 35 (100 if
    either is negative) becomes 2 (1 - 1 / (1 + exp(-d / 10))).

    Args:
        colour: Red, green and blue, 0 to 255.

    Returns:
        1 for natural, towards 0 for other colours.
    """
    linear = np.interp(colour, np.arange(256), _LINEAR.astype(np.float64))
    x, y, z = np.cbrt(_RGB_TO_XYZ @ linear)
    a, b = 500 * (x - y), 200 * (y - z)
    outside = math.hypot(max(0.0, 5 - a, a - 25), max(0.0, 5 - b, b - 35))
    distance = outside if a >= 0 and b >= 0 else 100.0
    return 2 / (1 + math.exp(distance / 10))


def measure_sharpness(crop: Image) -> float:
    """Measure how much detail a face keeps at the encoder's resolution.

    Source: Crete et al., The blur effect (SPIE 6492, 2007): the share of neighbouring differences that
    a strong blur destroys, the smaller of both directions. Independent of contrast and, since the crop has
    a fixed size, of the picture's resolution.

    Args:
        crop: Shape (112, 112, 3), from `face_crop`.

    Returns:
        0 (nothing left to lose: blurred or flat) to 1 (sharp).
    """
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return min(_detail_lost(grey), _detail_lost(np.ascontiguousarray(grey.T)))


def _detail_lost(grey: NDArray[np.float32]) -> float:
    """Compare horizontal differences before and after a horizontal blur, over the face only."""
    blurred = cv2.blur(grey, (_BLUR_LENGTH, 1), borderType=cv2.BORDER_REPLICATE)
    before = np.abs(np.diff(grey, axis=1))[_SHARP_AREA]
    after = np.abs(np.diff(blurred, axis=1))[_SHARP_AREA]
    total = float(before.sum())
    return float(np.maximum(before - after, 0).sum()) / total if total > 0 else 0.0


def _oval() -> NDArray[np.bool_]:
    """Cover the face from the brows to the chin, without most of the hair and the background."""
    y, x = np.ogrid[:TEMPLATE_SIZE, :TEMPLATE_SIZE]
    across, along = (x - _FACE_CENTRE[0]) / _FACE_AXES[0], (y - _FACE_CENTRE[1]) / _FACE_AXES[1]
    return np.asarray(across**2 + along**2 <= 1)


def _cheek_zones() -> tuple[tuple[slice, slice], ...]:
    """Lay out two squares below the eyes (OFIQ, image_utils: 0.3 eye distances, halfway to the mouth)."""
    right, left = ARCFACE_TEMPLATE[0], ARCFACE_TEMPLATE[1]
    top = round((right[1] + ARCFACE_TEMPLATE[3][1]) / 2)
    starts = (round(right[0]) - _ZONE_SIDE, round(left[0]))
    return tuple((slice(top, top + _ZONE_SIDE), slice(start, start + _ZONE_SIDE)) for start in starts)


def _srgb_to_linear() -> NDArray[np.float32]:
    """Tabulate IEC 61966-2-1, clause 5.2, for 0 to 255."""
    value = np.arange(256) / 255
    return np.where(value > 0.04045, ((value + 0.055) / 1.055) ** 2.4, value / 12.92).astype(np.float32)


_HEAD_INVERSE = np.linalg.pinv(HEAD_MODEL - HEAD_MODEL.mean(axis=0))
_FACE_MASK = _oval()
_SHARP_AREA = (slice(25, 107), slice(25, 87))
_CHEEKS = _cheek_zones()
_LINEAR = _srgb_to_linear()
_LUMINANCE_WEIGHTS = np.array([0.2126, 0.7152, 0.0722], np.float32)
_RGB_TO_XYZ = np.array(
    [[0.43605, 0.38508, 0.14309], [0.22249, 0.71689, 0.06062], [0.01393, 0.09710, 0.71419]]
) / np.array([[0.964221], [1.0], [0.825211]])
"""Linear sRGB to XYZ relative to the D50 white point, as in OFIQ's image_utils."""
