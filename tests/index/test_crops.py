"""`index.crops`: what is cut out lies where the transform says, and shrinking leaves no false pattern."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from index.crops import cut_averaged
from index.types import Image


def similarity(
    scale: float, *, roll_deg: float = 0.0, shift: tuple[float, float] = (0, 0)
) -> NDArray[np.float64]:
    cos, sin = scale * math.cos(math.radians(roll_deg)), scale * math.sin(math.radians(roll_deg))
    return np.array([[cos, -sin, shift[0]], [sin, cos, shift[1]]])


def slope(width: int, height: int) -> Image:
    """A picture whose red tells x and whose green tells y."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 255 / width, y * 255 / height, np.zeros_like(x)], axis=2).round().astype(np.uint8)


def test_a_part_at_its_own_size_is_that_part() -> None:
    image = np.random.default_rng(1).integers(0, 256, (90, 120, 3), np.uint8)
    cut = cut_averaged(image, similarity(1.0, shift=(-30, -20)), 40)
    assert np.array_equal(cut, image[20:60, 30:70])


@pytest.mark.parametrize("scale", [1.7, 0.9, 0.51, 0.5, 0.34, 0.2, 0.11])
@pytest.mark.parametrize("roll_deg", [0, 25, 180])
def test_what_lies_in_the_middle_stays_there_at_any_size(scale: float, roll_deg: float) -> None:
    image, middle = slope(400, 300), np.array([220.0, 130.0])
    matrix = similarity(scale, roll_deg=roll_deg)
    matrix[:, 2] = 31 - matrix[:, :2] @ middle
    seen = cut_averaged(image, matrix, 63)[31, 31, :2].astype(float)
    assert seen * [400, 300] / 255 == pytest.approx(middle, abs=2.5)


def test_fine_noise_and_patterns_become_grey_and_not_coarse_patterns() -> None:
    y, x = np.mgrid[:640, :640]
    board = np.repeat((255 * ((x + y) % 2))[:, :, None], 3, axis=2).astype(np.uint8)
    cut = cut_averaged(board, similarity(0.1, roll_deg=7), 50)
    assert int(cut.max()) - int(cut.min()) <= 8
    noise = np.random.default_rng(2).integers(0, 256, (640, 640, 3), np.uint8)
    assert cut_averaged(noise, similarity(0.1), 50).std() < noise.std() / 5


@pytest.mark.parametrize("scale", [0.45, 0.3, 0.24, 0.13])
def test_the_quick_way_shows_the_same_part_almost_as_smoothly(scale: float) -> None:
    matrix = similarity(scale, roll_deg=12, shift=(20, -5))
    picture = slope(400, 300)
    exact, quick = (cut_averaged(picture, matrix, 63, quick=way).astype(int) for way in (False, True))
    assert np.abs(exact - quick).mean() <= 1.5
    noise = np.random.default_rng(2).integers(0, 256, (640, 640, 3), np.uint8)
    assert cut_averaged(noise, matrix, 50, quick=True).std() < noise.std() * scale * 2


def test_edges_are_repeated_beyond_the_picture() -> None:
    image = np.full((60, 60, 3), 90, np.uint8)
    for scale in (1.0, 0.2):
        cut = cut_averaged(image, similarity(scale, shift=(-200 * scale, 20 * scale)), 64)
        assert cut.shape == (64, 64, 3)
        assert np.unique(cut).tolist() == [90]


@pytest.mark.parametrize("scale", [1e-12, 1e-5, 1e4])
@pytest.mark.parametrize("shift", [-1e6, 0.0, 1e6])
@pytest.mark.parametrize("size", [(1, 1), (1, 700), (700, 2)])
def test_no_transform_brings_it_down(scale: float, shift: float, size: tuple[int, int]) -> None:
    image = np.full((size[1], size[0], 3), 7, np.uint8)
    cut = cut_averaged(image, similarity(scale, roll_deg=33, shift=(shift, -shift)), 48)
    assert np.unique(cut).tolist() == [7]


def test_the_picture_is_not_changed() -> None:
    image = slope(200, 200)
    before = image.copy()
    cut_averaged(image, similarity(0.3), 40)
    assert np.array_equal(image, before)
