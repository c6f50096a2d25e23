"""Alignment equals the reference implementation's, and vectors are of norm 1 or there are none."""

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper

from index.encoder import ARCFACE_TEMPLATE, MAX_BATCH, align, template_transform
from index.errors import AlignmentError, PackError
from index.pack import Pack, load_pack, model_sha256, read_manifest, write_manifest
from index.types import Image, Points
from tests.synthetic import face_tile, make_synthetic_pack


def points(*, scale: float, angle: float, x: float, y: float, noise: float, seed: int) -> Points:
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = (ARCFACE_TEMPLATE - 56) @ turn.T * scale + [x, y]
    wobble = np.random.default_rng(seed).normal(0, noise * scale, (5, 2))
    return cast(Points, (moved + wobble).astype(np.float32))


@settings(max_examples=40, deadline=None)
@given(
    scale=st.floats(0.3, 6.0),
    angle=st.floats(-3.1, 3.1),
    x=st.floats(0.0, 400.0),
    y=st.floats(0.0, 400.0),
    seed=st.integers(0, 1000),
)
@pytest.mark.filterwarnings("ignore:.*estimate.*:FutureWarning")
def test_alignment_is_insightfaces(scale: float, angle: float, x: float, y: float, seed: int) -> None:
    from insightface.utils.face_align import norm_crop

    random = np.random.default_rng(seed)
    image = np.kron(random.integers(0, 256, (20, 20, 3)), np.ones((20, 20, 1))).astype(np.uint8)
    landmarks = points(scale=scale, angle=angle, x=x, y=y, noise=2.0, seed=seed)
    ours, theirs = align(image, landmarks), norm_crop(image, landmarks, 112)
    assert np.abs(ours.astype(int) - theirs.astype(int)).max() <= 1


def test_the_template_stays_where_it_is() -> None:
    assert template_transform(ARCFACE_TEMPLATE.astype(np.float32)) == pytest.approx(np.eye(2, 3), abs=1e-4)


def test_a_larger_crop_has_the_same_face() -> None:
    matrix = template_transform((ARCFACE_TEMPLATE * 3).astype(np.float32), 224)
    assert matrix == pytest.approx(np.eye(2, 3) * 2 / 3, abs=1e-4)


@pytest.mark.parametrize(
    "landmarks",
    [
        np.zeros((5, 2)),
        np.full((5, 2), 50.0),
        np.full((5, 2), np.inf),
        np.full((5, 2), np.nan),
        np.zeros((3, 2)),
    ],
)
def test_points_in_one_place_are_refused(landmarks: NDArray[np.float64]) -> None:
    with pytest.raises(AlignmentError, match="five points"):
        align(np.zeros((100, 100, 3), np.uint8), landmarks.astype(np.float32))


@pytest.fixture(scope="module")
def pack(synthetic_pack_dir: Path) -> Pack:
    return load_pack(synthetic_pack_dir)


def crops(count: int) -> list[Image]:
    return [np.ascontiguousarray(face_tile(person)[::4, ::4]) for person in range(count)]


def test_vectors_have_norm_one_and_keep_their_order(pack: Pack) -> None:
    many = crops(2 * MAX_BATCH + 3)
    together = pack.encoder.encode(many)
    assert together.shape == (len(many), pack.dimension)
    assert together.dtype == np.float32
    assert np.linalg.norm(together, axis=1) == pytest.approx(np.ones(len(many)), abs=1e-5)
    assert together[20] == pytest.approx(pack.encoder.encode([many[20]])[0], abs=1e-5)


def test_no_crops_make_no_vectors(pack: Pack) -> None:
    assert pack.encoder.encode([]).shape == (0, pack.dimension)


def test_a_crop_of_another_size_is_refused(pack: Pack) -> None:
    with pytest.raises(ValueError, match="112 x 112"):
        pack.encoder.encode([np.zeros((100, 100, 3), np.uint8)])


def linear_pack(directory: Path, weights: NDArray[np.float64], **constants: Any) -> Pack:
    """A pack whose encoder gives the mean of each channel, times weights of shape (3, d)."""
    make_synthetic_pack(directory)
    dimension = weights.shape[1]
    nodes = [
        helper.make_node("GlobalAveragePool", ["input"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["vector"]),
    ]
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 3, 112, 112])],
        [helper.make_tensor_value_info("vector", TensorProto.FLOAT, ["n", dimension])],
        [onnx.numpy_helper.from_array(weights.astype(np.float32), "weights")],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8),
        directory / "encoder.onnx",
    )
    manifest = read_manifest(directory)
    encoder = replace(
        manifest.encoder, sha256=model_sha256(directory / "encoder.onnx"), dimension=dimension, **constants
    )
    write_manifest(replace(manifest, encoder=encoder), directory)
    return load_pack(directory)


def coloured(red: int, green: int, blue: int) -> Image:
    return np.broadcast_to(np.array([red, green, blue], np.uint8), (112, 112, 3)).copy()


def test_the_manifest_sets_colour_mean_and_deviation(tmp_path: Path) -> None:
    constants: dict[str, Any] = {"mean": (10.0, 20.0, 30.0), "std": (1.0, 2.0, 4.0)}
    rgb = linear_pack(tmp_path / "rgb", np.eye(3), colour="rgb", **constants)
    bgr = linear_pack(tmp_path / "bgr", np.eye(3), colour="bgr", **constants)
    crop = coloured(110, 120, 130)
    expected = np.array([100.0, 50.0, 25.0])
    assert rgb.encoder.encode([crop])[0] == pytest.approx(expected / np.linalg.norm(expected), abs=1e-5)
    expected = np.array([120.0, 50.0, 20.0])
    assert bgr.encoder.encode([crop])[0] == pytest.approx(expected / np.linalg.norm(expected), abs=1e-5)


def test_zeros_are_an_error_and_not_a_vector(tmp_path: Path) -> None:
    plain = linear_pack(tmp_path / "zero", np.eye(3), colour="rgb", mean=(9.0, 9.0, 9.0), std=(1.0, 1.0, 1.0))
    with pytest.raises(PackError, match="no usable numbers"):
        plain.encoder.encode([coloured(9, 9, 9)])


def test_numbers_that_overflow_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(PackError, match="no usable numbers"):
        linear_pack(tmp_path / "inf", np.eye(3) * 1e38, colour="rgb", mean=(0.0,) * 3, std=(1e-3,) * 3)


def test_mirroring_makes_a_face_and_its_mirror_image_equal(synthetic_pack_dir: Path, tmp_path: Path) -> None:
    make_synthetic_pack(tmp_path)
    manifest = read_manifest(tmp_path)
    write_manifest(replace(manifest, encoder=replace(manifest.encoder, flip=True)), tmp_path)
    flipping, plain = load_pack(tmp_path), load_pack(synthetic_pack_dir)
    crop = crops(1)[0]
    pair = [crop, np.ascontiguousarray(crop[:, ::-1])]
    same, other = flipping.encoder.encode(pair), plain.encoder.encode(pair)
    assert float(same[0] @ same[1]) == pytest.approx(1.0, abs=1e-5)
    assert float(other[0] @ other[1]) < 0.9
    assert flipping.contract_id != plain.contract_id
