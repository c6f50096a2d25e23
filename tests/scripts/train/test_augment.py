"""Faces as a registry might hold them."""

import cv2
import numpy as np
import pytest

from index.encoder import ARCFACE_TEMPLATE
from index.types import Image
from scripts.train.augment import augmented, plain
from scripts.train.pool import CROP_SIZE


def marked_crop() -> Image:
    """A grey crop with a white spot where the template's first eye lies."""
    crop = np.full((CROP_SIZE, CROP_SIZE, 3), 90, np.uint8)
    x, y = ARCFACE_TEMPLATE[0] * 116 / 112 + 10
    cv2.circle(crop, (round(x), round(y)), 2, (255, 255, 255), -1)
    return crop


def brightest(face: Image) -> tuple[float, float]:
    blurred = cv2.GaussianBlur(face[..., 0], (0, 0), 1.5)
    y, x = np.unravel_index(int(np.argmax(blurred)), blurred.shape)
    return float(x), float(y)


@pytest.mark.parametrize("side", [64, 112])
def test_a_plain_crop_lies_on_the_template(side: int) -> None:
    face = plain(marked_crop(), side)
    assert face.shape == (side, side, 3)
    assert brightest(face) == pytest.approx(tuple(ARCFACE_TEMPLATE[0] * side / 112), abs=1.2)


def test_the_same_chance_gives_the_same_face_and_another_one_another() -> None:
    crop = np.random.default_rng(0).integers(0, 256, (CROP_SIZE, CROP_SIZE, 3), np.uint8)
    first, again, other = (
        augmented(crop, 112, np.random.default_rng(seed), mirrored=False) for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_whatever_is_drawn_is_a_picture_and_the_crop_stays_as_it_was() -> None:
    crop = np.random.default_rng(0).integers(0, 256, (CROP_SIZE, CROP_SIZE, 3), np.uint8)
    before = crop.copy()
    for seed in range(200):
        face = augmented(crop, 64, np.random.default_rng(seed), mirrored=seed % 2 == 1)
        assert face.shape == (64, 64, 3)
        assert face.dtype == np.uint8
    assert np.array_equal(crop, before)
