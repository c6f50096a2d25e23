"""`index.face_measures`: each number answers to what it is named after, and to little else."""

import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.encoder import TEMPLATE_SIZE
from index.face_measures import (
    TEMPLATE_EYES_PX,
    face_crop,
    measure_light,
    measure_pose,
    measure_sharpness,
    skin_likeness,
)
from index.types import Image, Points
from tests.index.sitters import SKIN, landmarks_at, textured, turned_head

LINEAR_GREY = ((128 / 255 + 0.055) / 1.055) ** 2.4


def crop_of(colour: tuple[int, int, int]) -> Image:
    return np.full((TEMPLATE_SIZE, TEMPLATE_SIZE, 3), colour, np.uint8)


def blurred(image: Image, sigma: float) -> Image:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.uint8)


def projected(yaw_deg: float = 0, pitch_deg: float = 0, roll_deg: float = 0) -> Points:
    return np.asarray(turned_head(yaw_deg, pitch_deg, roll_deg) * 90 + 200, np.float32)


class TestPose:
    def test_the_mean_head_is_frontal(self) -> None:
        pose = measure_pose(projected())
        assert (pose.roll_deg, pose.yaw_deg, pose.pitch_deg) == pytest.approx((0, 0, 0), abs=1e-3)

    @pytest.mark.parametrize("angle", [-40, -15, -3, 3, 15, 40])
    def test_each_turn_alone_is_recovered_with_its_sign(self, angle: float) -> None:
        assert measure_pose(projected(yaw_deg=angle)).yaw_deg == pytest.approx(angle, abs=0.1)
        assert measure_pose(projected(pitch_deg=angle)).pitch_deg == pytest.approx(angle, abs=0.1)
        assert measure_pose(projected(roll_deg=angle)).roll_deg == pytest.approx(angle, abs=0.1)

    def test_a_nose_to_the_image_right_is_a_positive_yaw_and_a_low_nose_a_positive_pitch(self) -> None:
        points = projected()
        right, low = points.copy(), points.copy()
        right[2, 0] += 15
        low[2, 1] += 15
        assert measure_pose(right).yaw_deg > 5
        assert measure_pose(low).pitch_deg > 5

    def test_the_lower_eye_on_the_image_left_is_a_positive_roll(self) -> None:
        points = projected()
        points[0, 1] += 10
        assert measure_pose(points).roll_deg > 5

    @pytest.mark.parametrize(("yaw", "pitch", "roll"), [(20, 10, 15), (-25, -8, -30), (10, -15, 100)])
    def test_turns_together_are_recovered_coarsely(self, yaw: float, pitch: float, roll: float) -> None:
        pose = measure_pose(projected(yaw, pitch, roll))
        assert (pose.yaw_deg, pose.pitch_deg, pose.roll_deg) == pytest.approx((yaw, pitch, roll), abs=6)

    @given(st.floats(0.2, 40), st.floats(-500, 500), st.floats(-500, 500))
    def test_size_and_place_do_not_matter(self, scale: float, x: float, y: float) -> None:
        points = projected(20, 5, 10)
        moved = (points * scale + [x, y]).astype(np.float32)
        first, second = measure_pose(points), measure_pose(moved)
        assert second.yaw_deg == pytest.approx(first.yaw_deg, abs=0.2)
        assert second.pitch_deg == pytest.approx(first.pitch_deg, abs=0.2)

    def test_eyes_in_one_place_give_finite_angles(self) -> None:
        points = projected()
        points[1] = points[0]
        pose = measure_pose(points)
        assert all(map(math.isfinite, (pose.roll_deg, pose.yaw_deg, pose.pitch_deg)))


class TestCrop:
    @pytest.mark.parametrize("eyes_px", [20.0, TEMPLATE_EYES_PX, 60.0, 95.0, 300.0])
    def test_any_resolution_gives_the_same_picture(self, eyes_px: float) -> None:
        canvas = np.zeros((800, 800, 3), np.uint8)
        points = landmarks_at((400, 400), eyes_px, roll_deg=10)
        for point, level in zip(points, (250, 200, 150, 100, 50), strict=True):
            cv2.circle(canvas, [round(float(v)) for v in point], max(3, round(eyes_px / 8)), (level,) * 3, -1)
        crop = face_crop(canvas, points)
        upright = landmarks_at((56, 56), TEMPLATE_EYES_PX)
        assert crop.shape == (TEMPLATE_SIZE, TEMPLATE_SIZE, 3)
        for point, level in zip(upright, (250, 200, 150, 100, 50), strict=True):
            x, y = (round(float(v)) for v in point)
            assert int(crop[y, x, 0]) == pytest.approx(level, abs=12)

    def test_what_lies_past_the_edge_repeats_the_edge(self) -> None:
        crop = face_crop(np.full((60, 60, 3), 90, np.uint8), landmarks_at((50, 55), 40))
        assert (crop == 90).all()

    @pytest.mark.parametrize("eyes_px", [2.0, 5000.0])
    def test_absurd_sizes_give_a_crop(self, eyes_px: float) -> None:
        assert face_crop(textured(100, 80), landmarks_at((40, 50), eyes_px)).shape == (112, 112, 3)


class TestLight:
    def test_a_plain_grey_face_measures_its_own_luminance(self) -> None:
        light = measure_light(crop_of((128, 128, 128)))
        assert light.mean == pytest.approx(LINEAR_GREY, abs=1e-4)
        assert light.spread == pytest.approx(0, abs=1e-4)
        assert (light.over_exposed, light.under_exposed) == (0, 0)
        assert light.evenness == pytest.approx(1)

    def test_black_is_under_and_white_is_over_exposed(self) -> None:
        assert measure_light(crop_of((60, 60, 60))).under_exposed == 1
        assert measure_light(crop_of((95, 95, 95))).under_exposed == 0
        assert measure_light(crop_of((252, 252, 252))).over_exposed == 1
        assert measure_light(crop_of((250, 250, 250))).over_exposed == 0

    def test_background_and_hair_do_not_count(self) -> None:
        crop = crop_of((128, 128, 128))
        crop[:20], crop[:, :20], crop[:, -20:] = 255, 255, 0
        assert measure_light(crop) == measure_light(crop_of((128, 128, 128)))

    @pytest.mark.parametrize("side", [slice(0, 56), slice(56, 112)])
    def test_a_shadow_on_either_side_lowers_evenness_alike(self, side: slice) -> None:
        crop = crop_of((200, 200, 200))
        crop[:, side] = 100
        light = measure_light(crop)
        assert light.evenness == pytest.approx(0.127 / 0.578, abs=0.01)
        assert light.spread > 0.2


class TestSkin:
    @pytest.mark.parametrize("tone", [SKIN, (240, 200, 175), (198, 134, 94), (141, 85, 56), (85, 52, 38)])
    def test_skin_of_any_tone_is_natural(self, tone: tuple[int, int, int]) -> None:
        assert skin_likeness(np.array(tone, np.float64)) > 0.9

    @pytest.mark.parametrize("colour", [(90, 160, 90), (80, 110, 200), (128, 128, 128), (255, 0, 255)])
    def test_other_colours_are_not(self, colour: tuple[int, int, int]) -> None:
        assert skin_likeness(np.array(colour, np.float64)) < 0.7

    def test_green_and_blue_faces_score_next_to_nothing(self) -> None:
        assert measure_light(crop_of((80, 110, 200))).natural_colour < 0.01
        assert measure_light(crop_of(SKIN)).natural_colour > 0.9


class TestSharpness:
    def test_it_falls_with_every_step_of_blur(self) -> None:
        image = textured(441, 358)
        points = landmarks_at((180, 220), 92)
        values = [
            measure_sharpness(face_crop(blurred(image, sigma) if sigma else image, points))
            for sigma in (0, 3, 6, 12)
        ]
        assert values == sorted(values, reverse=True)
        assert values[0] - values[-1] > 0.3

    def test_contrast_and_brightness_hardly_matter(self) -> None:
        crop = textured(112, 112)
        dull = (crop // 3 + 100).astype(np.uint8)
        assert measure_sharpness(dull) == pytest.approx(measure_sharpness(crop), abs=0.06)

    def test_more_pixels_of_the_same_picture_do_not_make_it_sharper(self) -> None:
        small = blurred(textured(441, 358), 2)
        large = np.asarray(cv2.resize(small, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC), np.uint8)
        first = measure_sharpness(face_crop(small, landmarks_at((180, 220), 92)))
        second = measure_sharpness(face_crop(large, landmarks_at((541, 661), 276)))
        assert second == pytest.approx(first, abs=0.03)

    def test_blur_in_one_direction_is_enough(self) -> None:
        crop = textured(112, 112)
        shaken = np.asarray(cv2.blur(crop, (1, 15)), np.uint8)
        assert measure_sharpness(shaken) < measure_sharpness(crop) - 0.2

    def test_a_flat_picture_has_none(self) -> None:
        assert measure_sharpness(crop_of((50, 50, 50))) == 0
