"""A detector of SCRFD's layout whose graph leaves the size open, as insightface's do, runs at both sizes."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from index.detector import ScrfdModel, SquareDetector
from index.pack import DetectorManifest, model_sha256
from index.types import Image


def open_model(*, stated_for_640: bool) -> onnx.ModelProto:
    """Reports a face of five strides by five wherever a cell of stride 8, 16 or 32 is bright red.

    Args:
        stated_for_640: Whether the outputs' sizes are stated as they are for 640 x 640, although the
            input is open: so are those of insightface's published detectors.
    """
    constants: dict[str, NDArray[Any]] = {
        "reach": np.full((1, 4), 2.5, np.float32),
        "points": np.array([[-1, -1, 1, -1, 0, 0, -0.8, 1, 0.8, 1]], np.float32),
        "column": np.array([-1, 1], np.int64),
        "zero": np.array(0.0, np.float32),
    }
    nodes = [helper.make_node("Split", ["input"], ["red", "green", "blue"], axis=1)]
    outputs: dict[str, int] = {}
    for stride in (8, 16, 32):
        cell, name = [stride, stride], f"_{stride}"
        nodes += [
            helper.make_node("AveragePool", ["red"], ["mean" + name], kernel_shape=cell, strides=cell),
            helper.make_node("Reshape", ["mean" + name, "column"], ["flat" + name]),
            helper.make_node("Concat", ["flat" + name, "flat" + name], ["pair" + name], axis=1),
            helper.make_node("Reshape", ["pair" + name, "column"], ["score" + name]),
            helper.make_node("Mul", ["score" + name, "zero"], ["none" + name]),
            helper.make_node("Add", ["none" + name, "reach"], ["box" + name]),
            helper.make_node("Add", ["none" + name, "points"], ["kps" + name]),
        ]
    for kind, width in (("score", 1), ("box", 4), ("kps", 10)):
        outputs |= {f"{kind}_{stride}": width for stride in (8, 16, 32)}

    def shape(name: str) -> list[int | str]:
        cells = (640 // int(name.split("_")[1])) ** 2
        return [cells * 2 if stated_for_640 else f"n_{name}", outputs[name]]

    graph = helper.make_graph(
        nodes,
        "open",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, "height", "width"])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape(name)) for name in outputs],
        [numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture(params=[False, True], ids=["open", "stated"])
def detector(tmp_path: Path, request: pytest.FixtureRequest) -> SquareDetector:
    """That model, with the usual sizes."""
    from index import pack

    path = tmp_path / "open.onnx"
    onnx.save(open_model(stated_for_640=request.param), path)
    manifest = DetectorManifest(
        layout="scrfd", file="open.onnx", sha256=model_sha256(path), score_threshold=0.9, mean=0.0, std=255.0
    )
    session = pack._session(path.read_bytes(), path, threads=1)
    return SquareDetector(ScrfdModel(str(path), session, manifest), manifest)


def with_red_square(side: int, *, size: int = 1000) -> Image:
    image = np.zeros((size, size, 3), np.uint8)
    middle = size // 2
    image[middle - side // 2 : middle + side // 2, middle - side // 2 : middle + side // 2, 0] = 255
    return image


def test_a_large_mark_is_found_at_the_first_size(detector: SquareDetector) -> None:
    faces = detector.detect(with_red_square(300))
    assert faces
    x, y, width, height = faces[0].box
    assert x < 500 < x + width
    assert y < 500 < y + height


def test_a_mark_too_small_for_the_first_size_is_found_at_the_second(detector: SquareDetector) -> None:
    # At 320 the mark is 12 px wide and fills no cell of 8 at an odd place; at 640 it is 25.
    image = with_red_square(52)
    small = np.roll(image, (17, 17), axis=(0, 1))
    faces = detector.detect(small)
    assert faces
    x, y, width, height = faces[0].box
    assert x < 517 < x + width
    assert y < 517 < y + height


def test_nothing_is_found_on_a_black_picture(detector: SquareDetector) -> None:
    assert detector.detect(np.zeros((300, 200, 3), np.uint8)) == []


def test_every_size_runs_with_the_threads_asked_for(detector: SquareDetector) -> None:
    detector.detect(np.zeros((300, 200, 3), np.uint8))
    model = detector._model
    assert isinstance(model, ScrfdModel)
    sessions = model._scrfd.resolution_sessions
    assert set(sessions) == {(320, 320), (640, 640)}
    for session in sessions.values():
        options = session.get_session_options()
        assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)
        assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
        assert session.get_providers() == ["CPUExecutionProvider"]
