"""Points are corrected on a close view, what is no face is dropped, a model that does not fit is refused."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from index.detector import Rows, SquareDetector
from index.encoder import ARCFACE_TEMPLATE
from index.errors import AlignmentError, PackError
from index.extraction import Extractor
from index.landmarks import MAX_VIEWS, LandmarkRefiner, template_in_view, view_transform
from index.pack import (
    DetectorManifest,
    Pack,
    load_pack,
    model_sha256,
    read_manifest,
    verify_pack,
    write_manifest,
)
from index.types import Face, Image, Points
from tests.synthetic import TILE, VIEW, face_tile, make_synthetic_pack, synthetic_portrait

DRAWN = np.rint(ARCFACE_TEMPLATE * TILE / 112)
"""Where `face_tile` draws the points."""

IN_PLACE = list(template_in_view(0.12).reshape(-1))


@pytest.fixture(scope="module")
def pack_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_synthetic_pack(tmp_path_factory.mktemp("packs") / "corrected", landmarks=True)


@pytest.fixture(scope="module")
def pack(pack_dir: Path) -> Pack:
    return load_pack(pack_dir)


@pytest.fixture(scope="module")
def refiner(pack: Pack) -> LandmarkRefiner:
    assert pack.refiner is not None
    return pack.refiner


def drawn(faces: int = 1, *, tile_px: float = 200.0, roll_deg: float = 12.0) -> tuple[Image, list[Points]]:
    """Draw faces in a row; return the picture and where their points are."""
    step = int(1.6 * tile_px)
    image = np.full((step, step * faces, 3), 205, np.uint8)
    truths: list[Points] = []
    for index in range(faces):
        matrix = cv2.getRotationMatrix2D((TILE / 2, TILE / 2), roll_deg, tile_px / TILE)
        matrix[:, 2] = matrix[:, 2] + np.array([step * (index + 0.5), step / 2]) - TILE / 2
        # Averaged before the reduction, as a camera does.
        tile = cv2.GaussianBlur(face_tile(index), (0, 0), 0.5 * TILE / tile_px)
        size = (image.shape[1], image.shape[0])
        cv2.warpAffine(tile, matrix, size, dst=image, borderMode=cv2.BORDER_TRANSPARENT)
        truths.append((DRAWN @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32))
    return image, truths


def coarse(points: Points, *, by: float, seed: int = 0) -> Face:
    """Report a face with points that are off by a share of the eyes' distance."""
    eyes = float(np.linalg.norm(points[1] - points[0]))
    off = np.random.default_rng(seed).normal(size=(5, 2))
    moved = points + off * by * eyes / np.sqrt((off**2).sum(axis=1).mean())
    low, high = points.min(axis=0) - eyes, points.max(axis=0) + eyes
    (left, top), (width, height) = low.tolist(), (high - low).tolist()
    return Face((left, top, width, height), 0.7, moved.astype(np.float32))


def error(face: Face, truth: Points) -> float:
    """Mean distance from the truth in eyes' distances."""
    eyes = float(np.linalg.norm(truth[1] - truth[0]))
    return float(np.linalg.norm(face.landmarks - truth, axis=1).mean()) / eyes


class Coarse:
    """A detection model that reports given faces at any size of its square, and remembers the sizes."""

    def __init__(self, image: Image, *faces: Face) -> None:
        self.longer, self.size = max(image.shape[:2]), (image.shape[1], image.shape[0])
        self.faces = faces
        self.seen: list[int] = []

    def find(self, square: Image) -> Rows:
        side = square.shape[0]
        self.seen.append(side)
        scale = side / (1.3 * self.longer)
        offset = [(side - round(s * scale)) // 2 for s in self.size]
        rows = [
            [
                *(np.array(face.box[:2]) * scale + offset),
                *(np.array(face.box[2:]) * scale),
                *(face.landmarks * scale + offset).reshape(-1),
                face.score,
            ]
            for face in self.faces
        ]
        return np.array(rows, np.float32).reshape(-1, 15)


@pytest.mark.parametrize("tile_px", [60, 200, 900])
@pytest.mark.parametrize("roll_deg", [0, -30, 90, 180])
def test_coarse_points_come_closer_to_the_truth(
    refiner: LandmarkRefiner, tile_px: float, roll_deg: float
) -> None:
    image, (truth,) = drawn(tile_px=tile_px, roll_deg=roll_deg)
    before = coarse(truth, by=0.1)
    (after,) = refiner.refine(image, [before])
    assert error(before, truth) > 0.05
    assert error(after, truth) < 0.02
    assert (after.box, after.score) == (before.box, before.score)


def test_a_detector_gives_corrected_points(refiner: LandmarkRefiner) -> None:
    image, (truth,) = drawn()
    model = Coarse(image, coarse(truth, by=0.1))
    manifest = DetectorManifest(layout="scrfd", file="d.onnx", sha256="0" * 64, input_size=96)
    (plain,) = SquareDetector(model, manifest).detect(image)
    (corrected,) = SquareDetector(model, manifest, refiner).detect(image)
    assert error(plain, truth) > 0.05
    assert error(corrected, truth) < 0.02


def test_a_face_that_was_found_twice_stays_once_where_it_was_surer(refiner: LandmarkRefiner) -> None:
    image, truths = drawn(2)
    weaker = replace(coarse(truths[0], by=0.05, seed=1), score=0.5)
    surer, other = coarse(truths[0], by=0.05, seed=2), coarse(truths[1], by=0.05)
    kept = refiner.refine(image, [weaker, other, surer])
    assert [face.box for face in kept] == [other.box, surer.box]
    assert [face.score for face in kept] == [0.7, 0.7]


def test_what_is_no_face_is_dropped_and_the_others_keep_their_order(refiner: LandmarkRefiner) -> None:
    image, truths = drawn(3)
    image[:, 320:640] = 205
    faces = [coarse(truth, by=0.05, seed=index) for index, truth in enumerate(truths)]
    kept = refiner.refine(image, [faces[2], faces[1], faces[0]])
    assert [face.box for face in kept] == [faces[2].box, faces[0].box]
    assert [error(face, truths[at]) < 0.02 for face, at in zip(kept, (2, 0), strict=True)] == [True, True]


def test_the_threshold_is_the_manifests(tmp_path: Path) -> None:
    image, (truth,) = drawn()
    even = made_model([*IN_PLACE, 0.0])
    for threshold, faces in ((0.49, 1), (0.51, 0)):
        directory = with_model(tmp_path / f"pack-{threshold}", even, score_threshold=threshold)
        made = load_pack(directory).refiner
        assert made is not None
        assert len(made.refine(image, [coarse(truth, by=0.05)])) == faces


def test_more_faces_than_one_run_takes_are_all_corrected_as_alone(refiner: LandmarkRefiner) -> None:
    image, truths = drawn(2 * MAX_VIEWS + 3, tile_px=60)
    faces = [coarse(truth, by=0.05, seed=index) for index, truth in enumerate(truths)]
    together = refiner.refine(image, faces)
    assert len(together) == len(faces)
    for face, found, truth in zip(faces, together, truths, strict=True):
        assert error(found, truth) < 0.02
        (alone,) = refiner.refine(image, [face])
        assert found.landmarks == pytest.approx(alone.landmarks, abs=1e-3)
    assert refiner.refine(image, []) == []


@pytest.mark.parametrize(
    "points", [np.zeros((5, 2)), np.full((5, 2), np.nan), np.full((5, 2), np.inf), ARCFACE_TEMPLATE * 1e9]
)
def test_points_that_no_face_has_are_dropped(refiner: LandmarkRefiner, points: NDArray[np.float64]) -> None:
    image, (truth,) = drawn()
    none, good = replace(coarse(truth, by=0.0), landmarks=points.astype(np.float32)), coarse(truth, by=0.05)
    assert [face.box for face in refiner.refine(image, [none, good, none])] == [good.box]
    with pytest.raises(AlignmentError):
        view_transform(none.landmarks, VIEW, 0.12)


@pytest.mark.parametrize("far", [-1e5, 1e5])
def test_points_far_outside_the_picture_are_no_face(refiner: LandmarkRefiner, far: float) -> None:
    image, (truth,) = drawn()
    for scale in (1.0, 1e3):
        outside = replace(coarse(truth, by=0.0), landmarks=(truth * scale + far).astype(np.float32))
        assert refiner.refine(image, [outside]) == []


def test_the_picture_is_not_changed(refiner: LandmarkRefiner) -> None:
    image, (truth,) = drawn()
    before = image.copy()
    refiner.refine(image, [coarse(truth, by=0.05)])
    assert np.array_equal(image, before)


def test_the_template_lies_in_the_view_where_the_transform_puts_it() -> None:
    for margin in (0.0, 0.12, 0.3):
        matrix = view_transform((ARCFACE_TEMPLATE * 3 + 40).astype(np.float32), VIEW, margin)
        points = (ARCFACE_TEMPLATE * 3 + 40) @ matrix[:, :2].T + matrix[:, 2]
        assert points / VIEW == pytest.approx(template_in_view(margin), abs=1e-5)


def test_the_larger_square_is_tried_when_no_face_of_the_smaller_one_is_a_face(
    refiner: LandmarkRefiner,
) -> None:
    image, (truth,) = drawn()
    wall = np.full_like(image, 205)
    manifest = DetectorManifest(layout="yunet", file="d.onnx", sha256="0" * 64)
    for shown, sizes in ((image, [320]), (wall, [320, 640])):
        model = Coarse(shown, coarse(truth, by=0.05))
        assert len(SquareDetector(model, manifest, refiner).detect(shown)) == (shown is image)
        assert model.seen == sizes


def test_a_portrait_goes_through_a_pack_with_three_models(pack: Pack, pack_dir: Path) -> None:
    assert verify_pack(pack_dir) == pack.manifest
    for faces in range(3):
        assert len(Extractor(pack).extract(synthetic_portrait(5, 2, faces=faces)).faces) == faces
    first, second = (Extractor(pack).extract(synthetic_portrait(5, shot)).template for shot in (0, 1))
    assert first is not None
    assert second is not None
    assert float(first @ second) > 0.95


def made_model(
    answer: Sequence[float],
    *,
    source: Sequence[str | int] = ("n", 3, VIEW, VIEW),
    target: Sequence[str | int] = ("n", 11),
    kind: int = TensorProto.FLOAT,
    outputs: int = 1,
    copies: int = 1,
    mixing: bool = False,
) -> onnx.ModelProto:
    """Make a model that gives the same answer for every view; a mixing one adds what others look like."""
    real = np.float32 if kind == TensorProto.FLOAT else np.float64
    constants = [
        numpy_helper.from_array(np.array([answer], real), "answer"),
        numpy_helper.from_array(np.full((1, len(answer)), 1000.0 if mixing else 0.0, real), "weights"),
    ]
    nodes = [
        helper.make_node("Flatten", ["input"], ["flat"]),
        helper.make_node("ReduceMean", ["flat"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("ReduceMean", ["mean"], ["all"], axes=[0], keepdims=1),
        helper.make_node("Sub", ["mean", "all"], ["own"]),
        helper.make_node("MatMul", ["own", "weights"], ["more"]),
        helper.make_node("Add", ["more", "answer"], ["each"]),
        *(helper.make_node("Concat", ["each"] * copies, [f"answer_{i}"], axis=0) for i in range(outputs)),
    ]
    graph = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info("input", kind, source)],
        [helper.make_tensor_value_info(f"answer_{i}", kind, target) for i in range(outputs)],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def with_model(directory: Path, model: onnx.ModelProto, *, score_threshold: float = 0.5) -> Path:
    """Make a pack with another model for points, checksum and all."""
    make_synthetic_pack(directory, landmarks=True)
    onnx.save(model, directory / "landmarks.onnx")
    manifest = read_manifest(directory)
    assert manifest.landmarks is not None
    sha256 = model_sha256(directory / "landmarks.onnx")
    landmarks = replace(manifest.landmarks, sha256=sha256, score_threshold=score_threshold)
    write_manifest(replace(manifest, landmarks=landmarks), directory)
    return directory


@pytest.mark.parametrize(
    ("model", "remedy"),
    [
        (made_model([0.0] * 11, source=["n", 3, 96, 96]), r"takes n x 3 x 64 x 64 .*correct \[landmarks\]"),
        (made_model([0.0] * 11, source=["n", 64, 64, 3]), "takes n x 3 x 64 x 64"),
        (made_model([0.0] * 11, source=["n", 3]), "takes n x 3 x 64 x 64"),
        (made_model([0.0] * 11, source=[1, 3, 64, 64], target=[1, 11]), "for any n"),
        (made_model([0.0] * 10, target=["n", 10]), "gives n x 11"),
        (made_model([0.0] * 11, copies=2), r"gives shape \(2, 11\) for 1 views, .*export"),
        (made_model([0.0] * 11, kind=TensorProto.DOUBLE), "32-bit"),
        (made_model([0.0] * 11, outputs=2), "one input and one output"),
        (made_model([float("nan"), *[0.5] * 10]), "no usable numbers; check mean and std"),
        (made_model([0.5] * 10 + [float("inf")]), "no usable numbers; check mean and std"),
        (made_model([*IN_PLACE, 5.0], mixing=True), "differently alone and together; export it"),
    ],
)
def test_a_model_that_does_not_fit_is_refused_with_the_remedy(
    tmp_path: Path, model: onnx.ModelProto, remedy: str
) -> None:
    with pytest.raises(PackError, match=rf"landmarks\.onnx: .*{remedy}"):
        verify_pack(with_model(tmp_path / "pack", model))


@pytest.mark.parametrize("points", [[0.5] * 10, [3e38] * 10, [3e38, -3e38] * 5, [1e6 * k for k in range(10)]])
def test_answers_that_are_no_places_drop_the_face(tmp_path: Path, points: list[float]) -> None:
    image, (truth,) = drawn()
    made = load_pack(with_model(tmp_path / "pack", made_model([*points, 9.0]))).refiner
    assert made is not None
    assert made.refine(image, [coarse(truth, by=0.05)]) == []
