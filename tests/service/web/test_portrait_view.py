"""Portraits drawn for comparison."""

import io

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image as Pillow

from index.errors import PortraitError
from index.portrait import decode_portrait
from service.web.portrait_view import (
    EYE_DISTANCE,
    EYES_AT,
    HEIGHT,
    OUTSIDE,
    WIDTH,
    draw_aligned,
    eye_transform,
)

FACE = np.array([[-1.0, 0.0], [1.0, 0.0], [0.0, 1.1], [-0.8, 2.2], [0.8, 2.2]])
"""A frontal face, eyes 2 apart, about the middle between the eyes."""


def placed(size: float, angle: float, x: float, y: float) -> NDArray[np.float64]:
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.asarray(FACE * size @ turn.T + (x, y), np.float64)


def eyes_to_mouth(points: NDArray[np.float64]) -> float:
    return float(points[3:, 1].mean() - points[:2, 1].mean())


def target(points: NDArray[np.float64]) -> NDArray[np.float64]:
    matrix = eye_transform(points)
    return np.asarray(points @ matrix[:, :2].T + matrix[:, 2], np.float64)


@given(
    st.floats(5, 500),
    st.floats(-3.1, 3.1),
    st.floats(-500, 3000),
    st.floats(-500, 3000),
)
def test_eyes_come_to_one_place_and_one_distance(size: float, angle: float, x: float, y: float) -> None:
    eyes = target(placed(size, angle, x, y))[:2]
    middle = np.array(EYES_AT) * (WIDTH, HEIGHT)
    half = EYE_DISTANCE * WIDTH / 2
    np.testing.assert_allclose(eyes, [middle - np.array([half, 0]), middle + np.array([half, 0])], atol=1e-4)


def test_turned_head_is_not_drawn_larger_than_a_frontal_one() -> None:
    turned = FACE * (0.3, 1.0) * 40 + 200
    drawn, frontal = target(turned), target(placed(40, 0, 200, 200))
    assert eyes_to_mouth(drawn) < 1.6 * eyes_to_mouth(frontal)


def test_points_in_one_place_are_refused() -> None:
    with pytest.raises(ValueError, match="one place"):
        eye_transform(np.full((5, 2), 7.0))


def picture(size: tuple[int, int], eyes: list[tuple[float, float]], form: str) -> bytes:
    """A white picture with black discs for eyes."""
    pixels = np.full((size[1], size[0], 3), 255, np.uint8)
    for x, y in eyes:
        cv2.circle(pixels, (round(x), round(y)), max(1, size[0] // 50), (0, 0, 0), -1)
    buffer = io.BytesIO()
    Pillow.fromarray(pixels).save(buffer, form)
    return buffer.getvalue()


@settings(deadline=None, max_examples=12)
@given(
    st.sampled_from([(92, 112), (358, 441), (1600, 2000)]), st.sampled_from(["JPEG", "PNG", "WEBP", "BMP"])
)
def test_picture_of_any_size_and_format_is_drawn_at_one_size(size: tuple[int, int], form: str) -> None:
    points = placed(size[0] / 8, 0.1, size[0] / 2, size[1] * 0.4)
    eyes = [(float(x), float(y)) for x, y in points[:2]]
    data = picture(size, eyes, form)
    # Landmarks are stored in pixels of the decoded picture, which may be smaller than the file's.
    drawn = draw_aligned(data, (points * decode_portrait(data).scale).tolist())
    grey = cv2.imdecode(np.frombuffer(drawn, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert grey is not None
    assert grey.shape == (HEIGHT, WIDTH)
    middle = np.array(EYES_AT) * (WIDTH, HEIGHT)
    for sign in (-1, 1):
        x, y = middle + np.array([sign * EYE_DISTANCE * WIDTH / 2, 0])
        assert grey[round(y), round(x)] < 60, "an eye lies where eyes lie"
    assert grey[round(middle[1]), round(middle[0])] > 200


def test_what_lies_outside_the_picture_is_grey() -> None:
    points = placed(40, 0, 60, 60)
    drawn = draw_aligned(picture((120, 120), [], "PNG"), points.tolist())
    pixels = cv2.imdecode(np.frombuffer(drawn, np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None
    assert np.abs(pixels[-5, 5, ::-1].astype(int) - OUTSIDE).max() < 6


def test_damaged_file_is_refused() -> None:
    with pytest.raises(PortraitError):
        draw_aligned(b"\xff\xd8\xff\xe0 nothing", FACE.tolist())
