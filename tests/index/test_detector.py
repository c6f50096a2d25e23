"""Faces are found in pictures of any size, in the same place, by several threads at once."""

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from index.detector import Rows, SquareDetector, fit_into_square, has_spread
from index.extraction import Extractor
from index.pack import DetectorManifest, Pack, load_pack
from index.types import Image
from tests.synthetic import synthetic_portrait

MANIFEST = DetectorManifest(layout="yunet", file="d.onnx", sha256="0" * 64)


class Fixed:
    """A model that reports the same rows whatever it sees, and remembers the squares."""

    def __init__(self, *rows: list[float]) -> None:
        self.rows = np.array(rows, np.float32).reshape(-1, 15)
        self.sizes: list[int] = []

    def find(self, square: Image) -> Rows:
        self.sizes.append(square.shape[0])
        return self.rows


def row(x: float, y: float, width: float, height: float, score: float = 0.9) -> list[float]:
    points = [(0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8)]
    return [x, y, width, height, *(v for px, py in points for v in (x + px * width, y + py * height)), score]


def picture(data: bytes) -> Image:
    return np.asarray(Pillow.open(io.BytesIO(data)).convert("RGB"))


@pytest.fixture(scope="module")
def pack(synthetic_pack_dir: Path) -> Pack:
    return load_pack(synthetic_pack_dir)


@pytest.mark.parametrize("shape", [(883, 717), (441, 358), (97, 640)])
def test_a_picture_made_much_smaller_is_averaged(shape: tuple[int, int]) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (*shape, 3), np.uint8)
    image = np.asarray(cv2.GaussianBlur(noise, (0, 0), 6), np.uint8)
    square, fit = fit_into_square(image, 96, border=0.1)
    height, width = (round(side * fit.scale) for side in shape)
    expected = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)[:, :, ::-1].astype(int)
    shown = square[fit.top : fit.top + height, fit.left : fit.left + width].astype(int)
    assert np.abs(shown - expected).max() <= 3


@settings(max_examples=60, deadline=None)
@given(width=st.integers(40, 4000), height=st.integers(40, 4000), border=st.sampled_from([0.0, 0.15, 0.5]))
def test_a_picture_of_any_size_fits_the_square(width: int, height: int, border: float) -> None:
    image = np.full((height, width, 3), 255, np.uint8)
    square, fit = fit_into_square(image, 320, border=border)
    assert square.shape == (320, 320, 3)
    filled = np.argwhere(square[:, :, 0])
    assert tuple(filled.min(axis=0)) == (fit.top, fit.left)
    assert abs(np.ptp(filled[:, 1]) + 1 - width * fit.scale) <= 1
    assert abs(np.ptp(filled[:, 0]) + 1 - height * fit.scale) <= 1


def test_the_square_is_bgr() -> None:
    image = np.zeros((50, 50, 3), np.uint8)
    image[:, :, 0] = 200
    square, _ = fit_into_square(image, 320, border=0.1)
    assert square[160, 160].tolist() == [0, 0, 200]


def test_places_are_told_in_pixels_of_the_picture() -> None:
    image = np.zeros((100, 200, 3), np.uint8)
    model = Fixed(row(160.0, 160.0, 64.0, 64.0))
    (face,) = SquareDetector(model, MANIFEST).detect(image)
    scale = 320 / 1.3 / 200
    assert face.box == pytest.approx((100.0, 50.0, 64 / scale, 64 / scale), abs=1.0)
    assert face.landmarks[2] == pytest.approx([100 + 32 / scale, 50 + 0.6 * 64 / scale], abs=1.0)


def test_unusable_detections_are_dropped() -> None:
    image = np.zeros((320, 320, 3), np.uint8)
    good = row(100.0, 100.0, 80.0, 90.0)
    broken = row(100.0, 100.0, 80.0, 90.0)
    broken[7] = float("nan")
    one_place = [*good[:4], *([120.0] * 10), 0.9]
    model = Fixed(good, broken, one_place, row(100, 100, 2, 2), row(900, 900, 80, 80), row(100, 100, -50, 60))
    faces = SquareDetector(model, MANIFEST).detect(image)
    assert len(faces) == 1


def test_faces_come_by_descending_area() -> None:
    model = Fixed(row(40, 40, 40, 40, 0.99), row(150, 100, 100, 120, 0.7), row(60, 200, 60, 60, 0.8))
    faces = SquareDetector(model, MANIFEST).detect(np.zeros((300, 300, 3), np.uint8))
    areas = [face.box[2] * face.box[3] for face in faces]
    assert areas == sorted(areas, reverse=True)
    assert len(areas) == 3


def test_a_larger_square_is_tried_only_when_nothing_was_found() -> None:
    image = np.zeros((300, 300, 3), np.uint8)
    nothing, something = Fixed(), Fixed(row(100, 100, 80, 80))
    SquareDetector(nothing, MANIFEST).detect(image)
    SquareDetector(something, MANIFEST).detect(image)
    assert nothing.sizes == [320, 640]
    assert something.sizes == [320]


@pytest.mark.parametrize("size", [(40, 40), (41, 160), (160, 41), (4000, 4000), (3000, 900)])
def test_any_size_is_taken(pack: Pack, size: tuple[int, int]) -> None:
    image = np.full((size[1], size[0], 3), 127, np.uint8)
    assert pack.detector.detect(image) == []


def test_points_lie_where_they_were_drawn(pack: Pack) -> None:
    image = picture(synthetic_portrait(4, 2))
    (face,) = pack.detector.detect(image)
    right_eye, left_eye = (image[round(float(y)), round(float(x))] for x, y in face.landmarks[:2])
    assert right_eye.argmax() == 0
    assert left_eye.argmax() == 1
    assert face.landmarks[0][0] < face.landmarks[1][0]


def test_a_tilted_face_is_found(pack: Pack) -> None:
    image = picture(synthetic_portrait(4, 2))
    turned = np.ascontiguousarray(np.rot90(image))
    (face,) = pack.detector.detect(turned)
    assert abs(face.landmarks[0][0] - face.landmarks[1][0]) < 10


def test_the_same_picture_gives_the_same_faces_on_every_thread(pack: Pack) -> None:
    images = [picture(synthetic_portrait(person, faces=1 + person % 2)) for person in range(6)]
    alone = [pack.detector.detect(image) for image in images]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(pack.detector.detect, images * 3))
    for index, faces in enumerate(together):
        expected = alone[index % 6]
        assert [face.box for face in faces] == [face.box for face in expected]
        for face, other in zip(faces, expected, strict=True):
            assert np.array_equal(face.landmarks, other.landmarks)


def test_the_picture_is_not_changed(pack: Pack) -> None:
    image = picture(synthetic_portrait(1)).copy()
    before = image.copy()
    pack.detector.detect(image)
    assert np.array_equal(image, before)


@pytest.mark.parametrize(
    "points", [np.zeros((5, 2)), np.full((5, 2), np.nan), np.zeros((4, 2)), np.eye(5, 2) * 0.1]
)
def test_points_without_spread_are_noticed(points: Image) -> None:
    assert not has_spread(points)


@pytest.mark.faces
class TestYunet:
    """The other layout, on real portraits."""

    @pytest.fixture(scope="class")
    @staticmethod
    def pictures(shared_dir: Path) -> list[Path]:
        eval_dir = shared_dir / "faces" / "eval"
        return [
            *sorted(eval_dir.glob("orl/*"))[::20],
            *sorted(eval_dir.glob("yale/*"))[::15],
            *sorted(eval_dir.glob("lfw/*"))[::150],
        ]

    def test_a_face_is_found_in_every_portrait(self, dev_extractor: Extractor, pictures: list[Path]) -> None:
        missed = [path.name for path in pictures if not dev_extractor.extract(path.read_bytes()).faces]
        assert len(pictures) >= 50
        assert missed == []

    def test_threads_do_not_disturb_each_other(self, dev_extractor: Extractor, pictures: list[Path]) -> None:
        images = [picture(path.read_bytes()) for path in pictures[:6]]
        detect = dev_extractor.pack.detector.detect
        alone = [detect(image)[0].box for image in images]
        with ThreadPoolExecutor(3) as pool:
            together = [faces[0].box for faces in pool.map(detect, images * 2)]
        assert together == alone * 2

    @pytest.mark.parametrize("scale", [0.3, 0.6, 2.5, 6.0])
    def test_size_does_not_matter(self, dev_extractor: Extractor, pictures: list[Path], scale: float) -> None:
        image = picture(pictures[-1].read_bytes())
        detect = dev_extractor.pack.detector.detect
        face = detect(image)[0]
        resized = cast(Image, cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
        again = detect(resized)[0]
        assert again.landmarks / scale == pytest.approx(face.landmarks, abs=0.04 * face.box[2])

    @pytest.mark.parametrize("size", [(40, 40), (3000, 900)])
    def test_a_wall_has_no_face(self, dev_extractor: Extractor, size: tuple[int, int]) -> None:
        wall = np.full((size[1], size[0], 3), 180, np.uint8)
        assert dev_extractor.pack.detector.detect(wall) == []

    def test_a_small_face_in_a_large_picture_is_found(
        self, dev_extractor: Extractor, pictures: list[Path]
    ) -> None:
        portrait = picture(pictures[-1].read_bytes())
        large = np.full((2400, 2400, 3), 128, np.uint8)
        large[1500 : 1500 + portrait.shape[0], 300 : 300 + portrait.shape[1]] = portrait
        assert dev_extractor.pack.detector.detect(large)
