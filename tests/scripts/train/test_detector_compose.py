"""Composed squares: what is drawn is where the labels say."""

import numpy as np
import pytest

import scripts.train.detector_compose as compose
from index.types import Image
from scripts.train.detector_backgrounds import rendered_background, scrambled
from scripts.train.detector_compose import SMALLEST_FACE_PX, Composer, Square
from scripts.train.detector_photometry import degraded
from tests.scripts.train.detector_scenes import SPOTS, spotted_scenes

SQUARES = 80


@pytest.fixture(scope="module")
def undegraded() -> list[Square]:
    """Squares without changes of light and colour, so that the spots keep theirs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compose, "degraded", lambda picture, chance: picture)
        composer = Composer(spotted_scenes(), 256)
        return [composer.compose(np.random.default_rng([3, seed])) for seed in range(SQUARES)]


def test_the_points_lie_on_what_they_name_however_the_picture_was_turned_or_mirrored(
    undegraded: list[Square],
) -> None:
    right = []
    for square in undegraded:
        for box, points in zip(square.boxes, square.points, strict=True):
            if np.prod(box[2:] - box[:2]) < 50**2:
                continue
            for place, (point, colour) in enumerate(zip(points, SPOTS, strict=True)):
                x, y = np.rint(point).astype(int)
                if min(x, y) < 3 or max(x, y) > 252:
                    continue
                # A mirrored picture swaps sides: the eye at the image's left is the left eye's spot then.
                twin = SPOTS[compose.MIRRORED_POINTS[place]]
                seen = square.picture[y, x].astype(int)
                off = min(np.abs(seen - colour).max(), np.abs(seen - twin).max())
                right.append(off < 60)
    assert len(right) > 100
    # A picture beside others is cut to its cell, and now and then a point with it.
    assert np.mean(right) > 0.97


def test_the_first_eye_is_at_the_images_left(undegraded: list[Square]) -> None:
    for points in (points for square in undegraded for points in square.points):
        assert points[0, 0] < points[1, 0]
        assert points[3, 0] < points[4, 0]


def test_a_box_holds_its_points_and_no_face_is_smaller_than_asked_for(undegraded: list[Square]) -> None:
    for square in undegraded:
        for box, points in zip(square.boxes, square.points, strict=True):
            assert (points >= box[:2]).all()
            assert (points <= box[2:]).all()
            assert np.sqrt(np.prod(box[2:] - box[:2])) >= SMALLEST_FACE_PX


def test_squares_have_no_face_one_or_several(undegraded: list[Square]) -> None:
    counts = [len(square.boxes) for square in undegraded]
    assert 0.1 < counts.count(0) / SQUARES < 0.35
    assert max(counts) >= 3


def test_what_is_held_out_is_never_drawn_for_training_and_alone_for_checks() -> None:
    def shows_red(square: Square) -> bool:
        return bool((np.abs(square.picture.astype(int) - (200, 60, 60)).max(axis=2) < 4).sum() > 400)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compose, "degraded", lambda picture, chance: picture)
        patch.setattr(compose, "rendered_background", lambda side, _: np.zeros((side, side, 3), np.uint8))
        chances = [np.random.default_rng([4, seed]) for seed in range(30)]
        training = [Composer(spotted_scenes(), 192).compose(chance) for chance in chances]
        checks = [Composer(spotted_scenes(), 192, held_out=True).compose(chance) for chance in chances]
    assert not any(shows_red(square) for square in training)
    assert sum(shows_red(square) for square in checks) > 10


def test_the_same_chance_gives_the_same_square() -> None:
    composer = Composer(spotted_scenes(), 192)
    for seed in range(8):
        one, again = (composer.compose(np.random.default_rng(seed)) for _ in range(2))
        assert np.array_equal(one.picture, again.picture)
        assert np.array_equal(np.array(one.boxes), np.array(again.boxes))


@pytest.mark.parametrize("seed", range(6))
def test_backgrounds_and_changes_of_light_give_pictures_and_spare_their_source(seed: int) -> None:
    chance = np.random.default_rng(seed)
    picture = rendered_background(96, chance)
    before = picture.copy()
    changed: Image = degraded(picture, chance)
    assert changed.shape == picture.shape == (96, 96, 3)
    assert changed.dtype == np.uint8
    assert np.array_equal(picture, before)


def test_a_scrambled_face_keeps_its_pixels_but_not_their_places() -> None:
    face = np.random.default_rng(0).integers(0, 256, (60, 60, 3), np.uint8)
    mixed = scrambled(face, np.random.default_rng(1))
    assert mixed.shape == face.shape
    assert not np.array_equal(mixed, face)
    assert np.array_equal(np.sort(mixed, axis=None), np.sort(face, axis=None))
