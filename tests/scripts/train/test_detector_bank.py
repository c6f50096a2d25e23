"""Squares are labelled by the teacher, kept once, and shown through windows in which the labels hold."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

import scripts.train.detector_bank as bank_module
from index.types import Image
from scripts.train.detector_bank import SIDE, Bank, fill, open_bank, windowed
from scripts.train.detector_compose import Composer, Square, crop_scene
from scripts.train.detector_teacher import SURE, Seen, Teacher, taught
from scripts.train.label_squares import made
from tests.scripts.train.detector_scenes import BOX, POINTS, spotted_scenes

FIVE = np.array([(20, 20), (40, 20), (30, 30), (22, 42), (38, 42)], np.float64)


def five(x: float, y: float) -> NDArray[np.float64]:
    return FIVE + np.array([x, y])


class Fixed(Teacher):
    """Sees what it was told, one answer after the other."""

    def __init__(self, *answers: Seen) -> None:
        self._answers = list(answers)

    def look(self, picture: Image) -> Seen:
        return self._answers.pop(0)


def seen(*faces: tuple[float, float, float]) -> Seen:
    """Faces of 60 pixels: left, top and score."""
    boxes = [[x, y, x + 60, y + 60] for x, y, _ in faces]
    points = [five(x, y) for x, y, _ in faces]
    return Seen(
        np.array(boxes, float).reshape(-1, 4),
        np.array(points).reshape(-1, 5, 2),
        np.array([score for *_, score in faces]),
    )


def square(*places: tuple[float, float]) -> Square:
    boxes = [np.array([x, y, x + 60, y + 60], float) for x, y in places]
    return Square(np.zeros((SIDE, SIDE, 3), np.uint8), boxes, [five(*place) for place in places])


def test_the_teachers_word_replaces_the_given_label_and_what_else_it_sees_is_ignored() -> None:
    asked = square((100, 100))
    result = taught(asked, asked.picture, Fixed(seen((103, 98, 0.9), (5, 5, 0.7), (200, 200, 0.4))))
    assert [box.tolist() for box in result.boxes] == [[103, 98, 163, 158]]
    assert np.array_equal(result.points[0], five(103, 98))
    assert sorted(box[0] for box in result.ignored) == [5, 200]


def test_a_face_that_the_damage_hides_is_looked_for_before_it_and_keeps_its_label_at_last() -> None:
    asked = square((0, 0), (120, 0), (0, 150))
    damaged = seen((1, 0, 0.9), (120, 0, SURE - 0.1))
    result = taught(asked, asked.picture, Fixed(damaged, seen((122, 0, 0.8), (1, 0, 0.9))))
    assert [box[:2].tolist() for box in result.boxes] == [[1, 0], [122, 0], [0, 150]]


def test_a_square_without_faces_stays_without() -> None:
    empty = square()
    assert not taught(empty, empty.picture, Fixed(seen((10, 10, 0.9)))).boxes


@pytest.fixture
def bank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bank:
    monkeypatch.setattr(bank_module, "CHUNK", 4)
    composer = Composer(spotted_scenes(), SIDE)
    fill(tmp_path, 7, lambda number: made(composer, None, [5, number]), advance=lambda _: None)
    return open_bank(tmp_path)


def test_an_interrupted_filling_goes_on_where_it_was(
    bank: Bank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(bank) == 8
    monkeypatch.setattr(bank_module, "CHUNK", 4)
    (tmp_path / "labels-00001.npz").unlink()
    assert len(open_bank(tmp_path)) == 4
    again: list[int] = []

    def make(number: int) -> Square:
        again.append(number)
        return bank.square(number)

    fill(tmp_path, 8, make, advance=lambda _: None)
    assert again == [4, 5, 6, 7]
    assert np.array_equal(open_bank(tmp_path).faces, bank.faces)
    with pytest.raises(FileNotFoundError, match="no labelled squares"):
        open_bank(tmp_path / "elsewhere")


def test_a_window_moves_by_strides_and_shows_a_face_where_its_labels_say() -> None:
    picture = np.arange(SIDE * SIDE * 3, dtype=np.uint32).astype(np.uint8).reshape(SIDE, SIDE, 3)
    whole = Square(picture, [np.array([130.0, 70, 230, 190])], [five(130, 70)])
    for seed in range(12):
        part = windowed(whole, 192, np.random.default_rng(seed))
        assert part.picture.shape == (192, 192, 3)
        shift = whole.boxes[0][:2] - part.boxes[0][:2]
        assert (shift % 32 == 0).all()
        x, y = shift.astype(int)
        assert np.array_equal(part.picture, picture[y : y + 192, x : x + 192])
        assert np.array_equal(part.points[0], whole.points[0] - shift)


def test_a_face_cut_by_a_window_is_neither_asked_for_nor_forbidden() -> None:
    wide = Square(np.zeros((SIDE, SIDE, 3), np.uint8), [np.array([20.0, 20, 300, 300])], [FIVE])
    part = windowed(wide, 192, np.random.default_rng(0))
    assert not part.boxes
    assert len(part.ignored) == 1


def test_an_aligned_crop_becomes_a_scene_with_a_box_like_yunets() -> None:
    scene = crop_scene(np.zeros((220, 200, 3), np.uint8), POINTS)
    inside = POINTS - scene.box[:2]
    assert (inside.min(axis=0) >= 0).all()
    assert (inside.max(axis=0) <= scene.box[2:]).all()
    middle = scene.box[:2] + scene.box[2:] / 2
    assert middle == pytest.approx(BOX[:2] + BOX[2:] / 2, abs=18)


@pytest.mark.faces
def test_yunet_sees_a_face_in_a_real_picture_and_none_in_a_drawn_one(shared_dir: Path) -> None:
    picture = cv2.imread(str(next((shared_dir / "faces/eval/lfw").iterdir())))
    assert picture is not None
    teacher = Teacher(shared_dir / "models/yunet/yunet_n_320_320.onnx", SIDE)
    found = teacher.look(np.asarray(cv2.resize(picture, (SIDE, SIDE))[:, :, ::-1], np.uint8))
    assert found.scores[0] > SURE
    assert ((found.points[0] >= found.boxes[0, :2]) & (found.points[0] <= found.boxes[0, 2:])).all()
    assert len(teacher.look(np.full((SIDE, SIDE, 3), 200, np.uint8)).scores) == 0
