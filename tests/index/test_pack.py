"""A pack that is not in order does not load, and says what is wrong; one that is, runs anywhere."""

import pickle
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from index.errors import PackError
from index.pack import (
    DetectorLayout,
    encoder_dimension,
    load_pack,
    model_sha256,
    read_manifest,
    verify_pack,
    write_manifest,
)
from tests.synthetic import DIMENSION, face_tile, make_synthetic_pack


@pytest.fixture
def pack_dir(tmp_path: Path) -> Path:
    """A synthetic pack to break."""
    return make_synthetic_pack(tmp_path / "pack", landmarks=True)


def with_encoder(pack_dir: Path, model: onnx.ModelProto, *, dimension: int = DIMENSION) -> Path:
    """Put another encoder into a pack, checksum and all."""
    onnx.save(model, pack_dir / "encoder.onnx")
    manifest = read_manifest(pack_dir)
    encoder = replace(manifest.encoder, sha256=model_sha256(pack_dir / "encoder.onnx"), dimension=dimension)
    write_manifest(replace(manifest, encoder=encoder), pack_dir)
    return pack_dir


def model(
    nodes: list[onnx.NodeProto],
    *,
    shape: list[str | int],
    outputs: list[tuple[str, list[str | int]]],
    constants: tuple[onnx.TensorProto, ...] = (),
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, size) for name, size in outputs],
        list(constants),
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def flattening(*, shape: list[str | int], output: list[str | int]) -> onnx.ModelProto:
    return model(
        [helper.make_node("Flatten", ["input"], ["vector"])], shape=shape, outputs=[("vector", output)]
    )


def test_a_whole_pack_loads(pack_dir: Path) -> None:
    pack = load_pack(pack_dir)
    assert (pack.name, pack.dimension) == ("synthetic", DIMENSION)
    assert pack.contract_id == pack.manifest.contract_id == verify_pack(pack_dir).contract_id


def test_a_pack_runs_from_a_folder_with_any_name(tmp_path: Path) -> None:
    assert verify_pack(make_synthetic_pack(tmp_path / "模型 包"))


@pytest.mark.parametrize("file", ["detector.onnx", "landmarks.onnx", "encoder.onnx"])
def test_an_altered_model_is_refused(pack_dir: Path, file: str) -> None:
    with (pack_dir / file).open("ab") as model_file:
        model_file.write(b"\0")
    with pytest.raises(PackError, match=f"{file}: SHA-256 is .* fetch it again"):
        load_pack(pack_dir)


@pytest.mark.parametrize("file", ["detector.onnx", "landmarks.onnx", "encoder.onnx"])
def test_a_missing_model_is_named(pack_dir: Path, file: str) -> None:
    (pack_dir / file).unlink()
    with pytest.raises(PackError, match=f"{file}: cannot be read"):
        load_pack(pack_dir)


@pytest.mark.parametrize("content", [b"", b"no model", pickle.dumps({"weights": [1, 2]}), bytes(1000)])
def test_a_file_that_is_no_model_is_refused(pack_dir: Path, content: bytes) -> None:
    (pack_dir / "encoder.onnx").write_bytes(content)
    manifest = read_manifest(pack_dir)
    encoder = replace(manifest.encoder, sha256=model_sha256(pack_dir / "encoder.onnx"))
    write_manifest(replace(manifest, encoder=encoder), pack_dir)
    with pytest.raises(PackError, match=r"encoder\.onnx"):
        load_pack(pack_dir)


@pytest.mark.parametrize("file", ["detector.onnx", "landmarks.onnx", "encoder.onnx"])
def test_a_link_out_of_the_pack_is_refused(pack_dir: Path, tmp_path: Path, file: str) -> None:
    (pack_dir / file).rename(tmp_path / "elsewhere.onnx")
    (pack_dir / file).symlink_to(tmp_path / "elsewhere.onnx")
    with pytest.raises(PackError, match="leads out of the pack"):
        load_pack(pack_dir)


def test_weights_outside_the_checked_file_are_refused(pack_dir: Path) -> None:
    weights = numpy_helper.from_array(np.ones((3, DIMENSION), np.float32), "weights")
    onnx.external_data_helper.set_external_data(weights, "weights.bin")
    (pack_dir / "weights.bin").write_bytes(weights.raw_data)
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    nodes = [
        helper.make_node("GlobalAveragePool", ["input"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["vector"]),
    ]
    outside = model(
        nodes, shape=["n", 3, 112, 112], outputs=[("vector", ["n", DIMENSION])], constants=(weights,)
    )
    with_encoder(pack_dir, outside)
    with pytest.raises(PackError, match=r"encoder\.onnx"):
        load_pack(pack_dir)


def test_another_dimension_than_the_manifests_is_refused(pack_dir: Path) -> None:
    manifest = read_manifest(pack_dir)
    write_manifest(replace(manifest, encoder=replace(manifest.encoder, dimension=65)), pack_dir)
    with pytest.raises(PackError, match=r"64 numbers, but the manifest says .* 65"):
        load_pack(pack_dir)


def test_a_dimension_that_the_model_does_not_state_is_tried_out(pack_dir: Path) -> None:
    dynamic = flattening(shape=["n", 3, 112, 112], output=["n", "d"])
    with pytest.raises(PackError, match=r"37632.* dimension 64"):
        load_pack(with_encoder(pack_dir, dynamic))


@pytest.mark.parametrize("shape", [["n", 3, 128, 128], ["n", 1, 112, 112], ["n", 112, 112, 3], ["n", 3]])
def test_an_encoder_with_another_input_is_refused(pack_dir: Path, shape: list[str | int]) -> None:
    with pytest.raises(PackError, match="takes n x 3 x 112 x 112"):
        load_pack(with_encoder(pack_dir, flattening(shape=shape, output=["n", DIMENSION])))


def test_an_encoder_with_two_outputs_is_refused(pack_dir: Path) -> None:
    nodes = [helper.make_node("Flatten", ["input"], [name]) for name in ("a", "b")]
    two = model(nodes, shape=["n", 3, 112, 112], outputs=[("a", ["n", "d"]), ("b", ["n", "d"])])
    with pytest.raises(PackError, match="one input and one output"):
        load_pack(with_encoder(pack_dir, two))


@pytest.mark.parametrize(("layout", "wanted"), [("yunet", "12 outputs"), ("scrfd", "9 or 15 outputs")])
def test_a_detector_of_another_layout_is_refused(pack_dir: Path, layout: DetectorLayout, wanted: str) -> None:
    manifest = read_manifest(pack_dir)
    file = "detector.onnx" if layout == "yunet" else "encoder.onnx"
    detector = replace(manifest.detector, layout=layout, file=file, sha256=model_sha256(pack_dir / file))
    write_manifest(replace(manifest, detector=detector), pack_dir)
    with pytest.raises(PackError, match=wanted):
        load_pack(pack_dir)


@pytest.mark.parametrize("sizes", [{"input_size": 320}, {"fallback_size": 640}])
def test_a_size_that_the_detector_cannot_take_is_refused(pack_dir: Path, sizes: dict[str, Any]) -> None:
    manifest = read_manifest(pack_dir)
    write_manifest(replace(manifest, detector=replace(manifest.detector, **sizes)), pack_dir)
    with pytest.raises(PackError, match="takes 256 x 256 only"):
        load_pack(pack_dir)


def test_an_encoder_that_takes_one_crop_at_a_time_is_fed_so(pack_dir: Path) -> None:
    pooled = [
        helper.make_node("AveragePool", ["input"], ["pooled"], kernel_shape=[28, 28], strides=[28, 28]),
        helper.make_node("Flatten", ["pooled"], ["vector"]),
    ]
    single = model(pooled, shape=[1, 3, 112, 112], outputs=[("vector", [1, 48])])
    pack = load_pack(with_encoder(pack_dir, single, dimension=48))
    crops = [np.ascontiguousarray(face_tile(person)[::4, ::4]) for person in range(3)]
    assert pack.encoder.encode(crops).shape == (3, 48)


def test_an_encoder_that_mixes_a_batch_does_not_verify(pack_dir: Path) -> None:
    mixing = [
        helper.make_node("AveragePool", ["input"], ["pooled"], kernel_shape=[28, 28], strides=[28, 28]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("ReduceMean", ["flat"], ["mean"], axes=[0], keepdims=1),
        helper.make_node("Mul", ["mean", "mean"], ["squared"]),
        helper.make_node("Mul", ["flat", "half"], ["small"]),
        helper.make_node("Sub", ["small", "mean"], ["vector"]),
    ]
    half = numpy_helper.from_array(np.array(0.5, np.float32), "half")
    mixed = model(mixing, shape=["n", 3, 112, 112], outputs=[("vector", ["n", 48])], constants=(half,))
    with pytest.raises(PackError, match="differently alone and together"):
        verify_pack(with_encoder(pack_dir, mixed, dimension=48))


def test_templates_are_the_same_on_every_thread(synthetic_pack_dir: Path) -> None:
    pack = load_pack(synthetic_pack_dir)
    crops = [np.ascontiguousarray(face_tile(person)[::4, ::4]) for person in range(8)]
    alone = [pack.encoder.encode([crop]) for crop in crops]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda crop: pack.encoder.encode([crop]), crops * 4))
    for index, vector in enumerate(together):
        assert np.array_equal(vector, alone[index % 8])


def test_the_dimension_is_found_by_running(pack_dir: Path) -> None:
    assert encoder_dimension(pack_dir / "encoder.onnx") == DIMENSION
    with pytest.raises(PackError, match=r"detector\.onnx"):
        encoder_dimension(pack_dir / "detector.onnx")
    with pytest.raises(PackError, match="cannot be read"):
        encoder_dimension(pack_dir / "nothing.onnx")


def in_fresh_process(code: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


LOADING = """
import socket, sys, threading
def no_network(*_): raise AssertionError("network")
socket.socket.connect = no_network
from pathlib import Path
from index.pack import load_pack
before = threading.active_count()
pack = load_pack(Path(sys.argv[1]))
heavy = {"matplotlib", "albumentations", "torch", "fastapi", "sqlalchemy"} & set(sys.modules)
assert not heavy, heavy
assert threading.active_count() == before
"""


def test_loading_prints_nothing_and_asks_no_network(pack_dir: Path) -> None:
    done = in_fresh_process(LOADING, str(pack_dir))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.faces
def test_the_development_pack_loads_quietly(dev_pack_dir: Path) -> None:
    done = in_fresh_process(LOADING, str(dev_pack_dir))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.faces
def test_the_development_pack_is_in_order(dev_pack_dir: Path) -> None:
    manifest = verify_pack(dev_pack_dir)
    assert manifest.encoder.dimension == 512
    assert manifest.calibration


@pytest.mark.faces
@pytest.mark.parametrize("file", ["yunet_n_320_320.onnx", "yunet_n_640_640.onnx"])
def test_a_detector_of_fixed_size_serves_too(
    dev_pack_dir: Path, shared_dir: Path, tmp_path: Path, copy_pack: Callable[[Path, Path], Path], file: str
) -> None:
    copied = copy_pack(dev_pack_dir, tmp_path / "pack")
    (copied / file).write_bytes((shared_dir / "models" / "yunet" / file).read_bytes())
    manifest = read_manifest(copied)
    detector = replace(manifest.detector, file=file, sha256=model_sha256(copied / file))
    write_manifest(replace(manifest, detector=detector), copied)
    portrait = sorted((shared_dir / "faces" / "eval" / "lfw").iterdir())[0]
    from index.extraction import Extractor

    expected = Extractor(load_pack(dev_pack_dir)).extract(portrait.read_bytes())
    found = Extractor(load_pack(copied)).extract(portrait.read_bytes())
    assert found.template is not None
    assert expected.template is not None
    assert float(found.template @ expected.template) > 0.95


@pytest.fixture
def copy_pack() -> Callable[[Path, Path], Path]:
    """Copies a pack's directory."""
    import shutil

    def copy(source: Path, target: Path) -> Path:
        shutil.copytree(source, target)
        return target

    return copy
