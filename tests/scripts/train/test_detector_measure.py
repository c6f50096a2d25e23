"""The figures that a detector is judged by."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

from index.types import Face, Image, Points
from scripts.train.detector_faceless import faceless_picture, surroundings
from scripts.train.detector_figures import Findings, overlap, point_error
from scripts.train.detector_trials import id_portrait, small_face, turned
from scripts.train.measure_detector import floors, load_detector, measure_against_mean, measure_labelled
from tests.scripts.train.detector_scenes import SPOTS, spotted_scenes

FIVE: Points = np.array([(10, 10), (30, 10), (20, 20), (12, 30), (28, 30)], np.float32)


def moved(x: float, y: float) -> Points:
    return (FIVE + np.array([x, y])).astype(np.float32)


def face(x: float, y: float, side: float, points: Points = FIVE) -> Face:
    return Face((x, y, side, side), 0.9, points)


def test_points_off_are_told_in_distances_of_the_eyes() -> None:
    assert point_error(moved(3, 4), FIVE) == pytest.approx(0.25)
    assert point_error(FIVE, FIVE) == 0


def test_overlap_is_intersection_over_union() -> None:
    assert overlap(face(0, 0, 10), face(0, 0, 10)) == 1
    assert overlap(face(0, 0, 10), face(5, 0, 10)) == pytest.approx(1 / 3)
    assert overlap(face(0, 0, 10), face(20, 0, 10)) == 0


def test_a_face_counts_as_found_when_it_is_the_largest_and_alone_when_it_is_the_only_one() -> None:
    tally, elsewhere = Findings(), moved(100, 0)
    tally.add([face(0, 0, 40)], FIVE)
    tally.add([face(0, 0, 40), face(100, 0, 20, elsewhere)], FIVE)
    tally.add([face(100, 0, 60, elsewhere), face(0, 0, 40)], FIVE)
    tally.add([], FIVE)
    assert tally.found == [True, True, False, False]
    assert tally.alone == [True, False, False, False]
    assert tally.errors == [0, 0]


class Saying:
    """Says that the one face's points are moved to the right by so much."""

    def __init__(self, right: float) -> None:
        self._right = right

    def detect(self, image: Image) -> list[Face]:
        assert image.flags.c_contiguous
        middle = np.array([image.shape[1] / 2 - 20, 10])
        return [Face((0.0, 0.0, 40.0, 40.0), 0.9, (FIVE + middle + [self._right, 0]).astype(np.float32))]


def test_points_are_compared_with_the_mean_of_what_the_reference_says_of_both_sides(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((80, 101, 3), np.uint8))
    (tmp_path / "manifest.csv").write_text("path,identity,source\na.png,1,x\n", encoding="utf-8")
    found = measure_against_mean(tmp_path, Saying(0), Saying(2), [Saying(4), Saying(1)], every=1)
    # What leans to one side in the picture leans to the other in its mirror image: the mean leans nowhere.
    assert found["pictures"] == 1
    assert found["yunet"] == pytest.approx(0.1, abs=0.03)
    assert found["detector"] < found["yunet"]
    assert found["detector_to_mirrored"] == pytest.approx(2 * found["detector"], abs=0.02)


def test_a_floor_that_is_missed_by_a_little_does_not_hold() -> None:
    def figures(found: float, error: float, silent: float) -> dict[str, object]:
        labelled = {"found": {"value": found}, "point_error_median": error}
        return {"eval": {"all": labelled}, "faceless": {"silent": {"value": silent}}}

    assert all(floors(figures(0.995, 0.04, 0.99)).values())
    assert floors(figures(0.9949, 0.041, 0.989)) == dict.fromkeys(floors(figures(1, 0, 1)), False)


@pytest.mark.parametrize("number", range(3))
def test_trials_carry_their_points_along(number: int) -> None:
    scene = spotted_scenes()[number]
    chance = np.random.default_rng(number)
    portrait, points = id_portrait(scene, chance)
    assert portrait.shape == (441, 358, 3)
    cases = [(portrait, points), small_face(scene, 120, 480), turned(scene, 20), turned(scene, 90)]
    for picture, five in cases:
        for (x, y), colour in zip(np.rint(five).astype(int), SPOTS, strict=True):
            assert np.abs(picture[y, x].astype(int) - colour).max() < 60


def test_faceless_pictures_are_the_same_for_everybody() -> None:
    first, second = np.random.default_rng(1), np.random.default_rng(1)
    one, again = ([faceless_picture(chance) for _ in range(12)] for chance in (first, second))
    for picture, twin in zip(one, again, strict=True):
        assert picture.dtype == np.uint8
        assert 200 <= min(picture.shape[:2]) <= max(picture.shape[:2]) <= 640
        assert np.array_equal(picture, twin)


def test_surroundings_touch_no_face() -> None:
    picture = np.zeros((200, 300, 3), np.uint8)
    picture[60:140, 100:180] = 255
    for seed in range(8):
        part = surroundings(picture, np.array([[100.0, 60, 80, 80]]), np.random.default_rng(seed))
        assert part is not None
        assert not part.any()
    assert surroundings(picture, np.array([[10.0, 10, 280, 180]]), np.random.default_rng(0)) is None


@pytest.mark.faces
def test_yunet_measured_against_itself_errs_nowhere(shared_dir: Path, tmp_path: Path) -> None:
    with (shared_dir / "faces/eval/manifest.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))[::640]
    with (tmp_path / "manifest.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(row | {"path": f"{place}.png"} for place, row in enumerate(rows))
    for place, row in enumerate(rows):
        picture = cv2.imread(str(shared_dir / "faces/eval" / row["path"]))
        assert picture is not None
        cv2.imwrite(str(tmp_path / f"{place}.png"), picture)
    yunet = load_detector(
        shared_dir / "models/yunet/yunet_n_320_320.onnx", "yunet", threshold=0.6, fallback=0
    )
    report = measure_labelled(tmp_path, yunet, yunet)
    assert report["all"]["found"]["value"] == 1
    assert report["all"]["point_error_median"] == 0
