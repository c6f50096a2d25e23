"""A model pack and portraits made of nothing, so that the product can be tested without real ones.

The pack has the real layouts and runs in the real classes. Its detector, of SCRFD's layout, looks for
five saturated dots, one colour per landmark; its encoder, of ArcFace's, sees a face as 8 x 8 shades of
grey; a third model, which it may have, finds the same dots on a close view. A synthetic portrait is a
square of 8 x 8 shades, drawn from the person's number, with the dots where the ArcFace template has its
points. Nobody's face is involved, and neither is any training.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image as Pillow

from index.encoder import ARCFACE_TEMPLATE
from index.pack import (
    DetectorManifest,
    EncoderManifest,
    LandmarksManifest,
    PackManifest,
    model_sha256,
    write_manifest,
)
from index.types import Image

Shape = Sequence[str | int | None]

DIMENSION = 64
SQUARE = 256
"""Side of the detector's input, fixed in its graph."""

VIEW = 64
"""Side of what the model for points sees of a face."""

SHADES = 8
"""Shades of grey per side of a face; their average is what the encoder sees."""

TILE = 448
"""Side of a face as it is drawn, four times the ArcFace crop."""

DOT_RADIUS = 5.0
"""Radius of the landmark dots, in pixels of the ArcFace crop."""

DOTS = ((225, 25, 25), (25, 225, 25), (25, 25, 225), (225, 225, 25), (25, 225, 225))
"""RGB of the dots, in the order of the landmarks."""

CALIBRATION = (
    (0.1, 0.245),
    (0.2, 0.07),
    (0.3, 0.0116),
    (0.4, 0.00103),
    (0.5, 0.00005),
    (0.6, 0.000002),
    (0.7, 0.00000004),
)
"""False match rates of this encoder.

Source: the 44,850 pairs of 300 synthetic persons up to 0.4 (`tests/test_synthetic.py` measures them again);
past that the normal distribution that fits them, mean 0.011 and standard deviation 0.128.
"""


@dataclass(frozen=True, slots=True)
class Shot:
    """How one picture of a person was taken.

    Attributes:
        size: Width and height of the picture in pixels.
        eye_distance: As a share of the width.
        centre: Where the middle of the crop lies, as shares of width and height.
        roll_deg: Turn of the head, clockwise.
    """

    size: tuple[int, int]
    eye_distance: float
    centre: tuple[float, float]
    roll_deg: float


def synthetic_portrait(
    person: int, shot: int = 0, *, size: tuple[int, int] = (358, 441), faces: int = 1
) -> bytes:
    """Draw a portrait and return it as a JPEG file; the same arguments give the same bytes.

    Args:
        person: Whose; at least 0.
        shot: Which of the person's pictures; other shots differ in framing, light and noise.
        size: Width and height in pixels.
        faces: 0, 1, or 2 (the second is somebody else, as large as the first).
    """
    random = np.random.default_rng([person, shot, faces])
    picture = _background(size, random)
    for index in range(faces):
        taken = _shot(size, random, place=index, of=faces)
        _paste(picture, face_tile(person + 1_000_003 * index), taken)
    noise = random.normal(0.0, 3.0, picture.shape)
    light = random.uniform(-10.0, 10.0) if shot else 0.0
    shown = np.clip(picture + noise + light, 0, 255).astype(np.uint8)
    return as_jpeg(shown, quality=int(random.integers(85, 96)))


def as_jpeg(image: Image, *, quality: int = 90) -> bytes:
    """Return a picture as a JPEG file with full colour resolution."""
    buffer = io.BytesIO()
    Pillow.fromarray(image).save(buffer, "JPEG", quality=quality, subsampling=0)
    return buffer.getvalue()


def face_tile(person: int) -> Image:
    """Draw a person's face, shape (TILE, TILE, 3), RGB: the ArcFace crop, enlarged."""
    shades = np.random.default_rng([77, person]).uniform(60.0, 190.0, (SHADES, SHADES))
    grey = np.kron(shades, np.ones((TILE // SHADES, TILE // SHADES)))
    tile: Image = np.clip(grey[:, :, None] + np.array([18.0, 0.0, -14.0]), 0, 255).astype(np.uint8)
    scale = TILE / 112
    for (x, y), colour in zip(ARCFACE_TEMPLATE * scale, DOTS, strict=True):
        cv2.circle(tile, (round(x), round(y)), round(DOT_RADIUS * scale), colour, cv2.FILLED, cv2.LINE_AA)
    return tile


def make_synthetic_pack(directory: Path, *, name: str = "synthetic", landmarks: bool = False) -> Path:
    """Write the pack and return its directory, which is made if need be.

    Args:
        directory: Of the pack.
        name: Of the pack.
        landmarks: Add the model that corrects points.
    """
    directory.mkdir(parents=True, exist_ok=True)
    onnx.save(_detector_model(), directory / "detector.onnx")
    onnx.save(_encoder_model(), directory / "encoder.onnx")
    points = None
    if landmarks:
        onnx.save(_landmarks_model(), directory / "landmarks.onnx")
        points = LandmarksManifest(
            file="landmarks.onnx", sha256=model_sha256(directory / "landmarks.onnx"), input_size=VIEW
        )
    manifest = PackManifest(
        name=name,
        version="1",
        licence="made for tests",
        detector=DetectorManifest(
            layout="scrfd",
            file="detector.onnx",
            sha256=model_sha256(directory / "detector.onnx"),
            input_size=SQUARE,
            fallback_size=0,
            score_threshold=0.5,
        ),
        landmarks=points,
        encoder=EncoderManifest(
            file="encoder.onnx",
            sha256=model_sha256(directory / "encoder.onnx"),
            colour="rgb",
            mean=(127.5, 127.5, 127.5),
            std=(127.5, 127.5, 127.5),
            dimension=DIMENSION,
        ),
        calibration=CALIBRATION,
        calibration_source="44,850 pairs of synthetic persons",
    )
    write_manifest(manifest, directory)
    return directory


def _background(size: tuple[int, int], random: np.random.Generator) -> NDArray[np.float64]:
    """Draw a plain light wall, a little darker to one side."""
    width, height = size
    slope = np.linspace(0.0, random.uniform(-12.0, 12.0), width)
    return np.full((height, width, 3), 205.0) + slope[None, :, None]


def _shot(size: tuple[int, int], random: np.random.Generator, *, place: int, of: int) -> Shot:
    """Choose how a face is framed: in the middle, or side by side with another."""
    eye_distance = (0.24 if of == 1 else 0.14) * random.uniform(0.95, 1.05)
    across = 0.5 if of == 1 else 0.25 + 0.5 * place
    centre = (across + random.uniform(-0.02, 0.02), 0.52 + random.uniform(-0.02, 0.02))
    return Shot(size, eye_distance, centre, float(random.uniform(-3.0, 3.0)))


def _paste(picture: NDArray[np.float64], tile: Image, shot: Shot) -> None:
    """Draw a face into the picture."""
    width, height = shot.size
    template_eyes = float(np.linalg.norm(ARCFACE_TEMPLATE[1] - ARCFACE_TEMPLATE[0]))
    scale = min(shot.eye_distance * width / template_eyes, 0.9 * min(width, height) / 112) * 112 / TILE
    matrix = cv2.getRotationMatrix2D((TILE / 2, TILE / 2), -shot.roll_deg, scale)
    matrix[:, 2] = matrix[:, 2] + np.array(shot.centre) * shot.size - TILE / 2
    # Averaging before the reduction keeps small faces from flickering with their position.
    blurred = cv2.GaussianBlur(tile, (0, 0), max(0.4 / scale, 0.4))
    drawn = cv2.warpAffine(blurred, matrix, shot.size, flags=cv2.INTER_LINEAR).astype(np.float64)
    mask = cv2.warpAffine(np.ones((TILE, TILE), np.float32), matrix, shot.size, flags=cv2.INTER_LINEAR)
    picture[...] = picture + (drawn - picture) * mask[:, :, None]


class _Graph:
    """Collects the nodes of an ONNX graph; every method returns the name of a tensor."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, values: object, kind: type = np.float32) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values, kind), name))
        return name

    def node(self, operator: str, *inputs: str, outputs: int = 1, **attributes: Any) -> list[str]:
        names = [f"tensor_{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(operator, list(inputs), names, **attributes))
        return names

    def one(self, operator: str, *inputs: str, **attributes: Any) -> str:
        return self.node(operator, *inputs, **attributes)[0]

    def rename(self, tensor: str, name: str) -> None:
        self.nodes.append(helper.make_node("Identity", [tensor], [name]))

    def model(self, source: Shape, target: list[tuple[str, Shape]]) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "synthetic",
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, source)],
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n, shape in target],
            self.constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model)
        return model


def _encoder_model() -> onnx.ModelProto:
    """Average the crop to 8 x 8 greys, take off what all faces share, and turn the axes at random."""
    common = np.mean([_greys(face_tile(person)) for person in range(10_000, 10_040)], axis=0)
    turn, _ = np.linalg.qr(np.random.default_rng(5).normal(size=(DIMENSION, DIMENSION)))
    graph = _Graph()
    grey = graph.one("ReduceMean", "input", axes=[1], keepdims=1)
    cell = 112 // SHADES
    cells = graph.one("AveragePool", grey, kernel_shape=[cell, cell], strides=[cell, cell])
    greys = graph.one("Flatten", cells)
    centred = graph.one("Sub", greys, graph.one("ReduceMean", greys, axes=[1], keepdims=1))
    own = graph.one("Sub", centred, graph.constant(common - common.mean()))
    graph.rename(graph.one("MatMul", own, graph.constant(turn)), "vector")
    return graph.model(["n", 3, 112, 112], [("vector", ["n", DIMENSION])])


def _greys(tile: Image) -> NDArray[np.float64]:
    """Compute what the encoder's first layers see of a tile."""
    crop = cv2.resize(tile, (112, 112), interpolation=cv2.INTER_AREA).astype(np.float64)
    cell = 112 // SHADES
    greys = crop.mean(axis=2).reshape(SHADES, cell, SHADES, cell).mean(axis=(1, 3))
    return np.asarray((greys.reshape(-1) - 127.5) / 127.5)


def _detector_model() -> onnx.ModelProto:
    """Find, near every anchor, where each colour lies; report those with one spot of each."""
    graph = _Graph()
    moments = _moments(graph, SQUARE)
    targets: dict[str, tuple[str, Shape]] = {}
    factor = 64.0
    sums = graph.one("AveragePool", moments, kernel_shape=[8, 8], strides=[8, 8])
    for stride in (8, 16, 32):
        if stride > 8:
            sums = graph.one("AveragePool", sums, kernel_shape=[2, 2], strides=[2, 2])
            factor *= 4
        anchors = (SQUARE // stride) ** 2
        for kind, (tensor, width) in _level(graph, sums, stride, factor).items():
            graph.rename(tensor, f"{kind}_{stride}")
            targets[f"{kind}_{stride}"] = (f"{kind}_{stride}", [anchors * 2, width])
    order = [f"{kind}_{stride}" for kind in ("score", "box", "points") for stride in (8, 16, 32)]
    return graph.model([1, 3, SQUARE, SQUARE], [targets[name] for name in order])


def _landmarks_model() -> onnx.ModelProto:
    """Find where each colour lies in a view; score those with one spot of each."""
    graph = _Graph()
    sums = graph.one("GlobalAveragePool", _moments(graph, VIEW))
    x, y, present, single = _spots(graph, graph.one("Mul", sums, graph.constant(float(VIEW**2))))
    places = graph.one("Concat", x, y, axis=2)
    sides = graph.one("Mul", graph.one("Flatten", places), graph.constant(1.0 / VIEW))
    whole = graph.one("Flatten", graph.one("Mul", present, single))
    # A sigmoid of 6 is 0.998.
    score = graph.one("Sub", graph.one("Mul", whole, graph.constant(12.0)), graph.constant(6.0))
    graph.rename(graph.one("Concat", sides, score, axis=1), "answer")
    return graph.model(["n", 3, VIEW, VIEW], [("answer", ["n", 11])])


def _spots(graph: _Graph, sums: str) -> tuple[str, str, str, str]:
    """From summed moments: the place of each colour, whether all are there, and in one spot each."""
    mass, sum_x, sum_y, sum_r = graph.node("Split", sums, outputs=4, axis=1)
    weight = graph.one("Max", mass, graph.constant(1e-3))
    x, y, r = (graph.one("Div", part, weight) for part in (sum_x, sum_y, sum_r))
    square = graph.one("Add", graph.one("Mul", x, x), graph.one("Mul", y, y))
    spread = graph.one("Sub", r, square)
    # A disc of area A has spread A / 2 pi; two discs in one window have far more.
    allowed = graph.one("Add", graph.one("Mul", mass, graph.constant(0.35)), graph.constant(12.0))
    present = _all_above(graph, graph.one("Sub", mass, graph.constant(4.0)))
    single = _all_above(graph, graph.one("Sub", allowed, spread))
    return x, y, present, single


def _moments(graph: _Graph, side: int) -> str:
    """How much each pixel is of each dot's colour, times 1, x, y and x^2 + y^2: shape (n, 20, s, s)."""
    red, green, blue = graph.node("Split", "input", outputs=3, axis=1)
    measures = [
        graph.one("Sub", red, graph.one("Max", green, blue)),
        graph.one("Sub", green, graph.one("Max", red, blue)),
        graph.one("Sub", blue, graph.one("Max", red, green)),
        graph.one("Sub", graph.one("Min", red, green), blue),
        graph.one("Sub", graph.one("Min", green, blue), red),
    ]
    # 0.5 is 64 grey levels: more than skin, walls and noise have.
    strong = graph.one("Sub", graph.one("Concat", *measures, axis=1), graph.constant(0.5))
    mass = graph.one("Relu", strong)
    line = np.arange(side, dtype=np.float32)
    x = graph.constant(line.reshape(1, 1, 1, -1))
    y = graph.constant(line.reshape(1, 1, -1, 1))
    radius = graph.constant((line.reshape(1, -1) ** 2 + line.reshape(-1, 1) ** 2)[None, None])
    parts = [mass, *(graph.one("Mul", mass, weight) for weight in (x, y, radius))]
    return graph.one("Concat", *parts, axis=1)


def _level(graph: _Graph, sums: str, stride: int, factor: float) -> dict[str, tuple[str, int]]:
    """Decode one stride: scores, boxes and points of two anchors per cell, as SCRFD gives them."""
    side = SQUARE // stride
    window = graph.one(
        "AveragePool", sums, kernel_shape=[9, 9], pads=[4, 4, 4, 4], strides=[1, 1], count_include_pad=1
    )
    window = graph.one("Mul", window, graph.constant(81.0 * factor))
    x, y, present, single = _spots(graph, window)
    grid = np.mgrid[:side, :side].astype(np.float32)[None] * stride
    anchor_y, anchor_x = graph.constant(grid[:, :1]), graph.constant(grid[:, 1:])
    to_x, to_y = graph.one("Sub", x, anchor_x), graph.one("Sub", y, anchor_y)
    score = graph.one("Mul", graph.one("Mul", present, single), _nearness(graph, to_x, to_y, stride))
    box = _box(graph, to_x, to_y)
    both = [graph.one("Unsqueeze", part, graph.constant([2], np.int64)) for part in (to_x, to_y)]
    points = graph.one(
        "Reshape", graph.one("Concat", *both, axis=2), graph.constant([1, 10, side, side], np.int64)
    )
    unit = graph.constant(1.0 / stride)
    silent = graph.one("Mul", score, graph.constant(0.0))
    return {
        "score": (_per_anchor(graph, graph.one("Concat", score, silent, axis=1), 1), 1),
        "box": (_per_anchor(graph, _twice(graph, graph.one("Mul", box, unit)), 4), 4),
        "points": (_per_anchor(graph, _twice(graph, graph.one("Mul", points, unit)), 10), 10),
    }


def _all_above(graph: _Graph, values: str) -> str:
    """1 where all five channels are above 0, else 0."""
    least = graph.one("ReduceMin", values, axes=[1], keepdims=1)
    above = graph.one("Greater", least, graph.constant(0.0))
    return graph.one("Cast", above, to=TensorProto.FLOAT)


def _nearness(graph: _Graph, to_x: str, to_y: str, stride: int) -> str:
    """0.95 for an anchor on the nose, 0.65 at one stride's distance, 0 past it."""
    far = graph.one("Add", graph.one("Mul", to_x, to_x), graph.one("Mul", to_y, to_y))
    nose = graph.node("Split", far, outputs=5, axis=1)[2]
    share = graph.one("Mul", graph.one("Sqrt", nose), graph.constant(1.0 / stride))
    near = graph.one("Cast", graph.one("Less", share, graph.constant(1.0)), to=TensorProto.FLOAT)
    falling = graph.one("Sub", graph.constant(0.95), graph.one("Mul", share, graph.constant(0.3)))
    return graph.one("Mul", near, falling)


def _box(graph: _Graph, to_x: str, to_y: str) -> str:
    """Distances from the anchor to left, top, right and bottom: 2.2 by 2.8 eye distances about the points."""
    middle_x = graph.one("ReduceMean", to_x, axes=[1], keepdims=1)
    middle_y = graph.one("ReduceMean", to_y, axes=[1], keepdims=1)
    xs, ys = graph.node("Split", to_x, outputs=5, axis=1), graph.node("Split", to_y, outputs=5, axis=1)
    dx, dy = graph.one("Sub", xs[1], xs[0]), graph.one("Sub", ys[1], ys[0])
    eyes = graph.one("Sqrt", graph.one("Add", graph.one("Mul", dx, dx), graph.one("Mul", dy, dy)))
    half_width = graph.one("Mul", eyes, graph.constant(1.1))
    half_height = graph.one("Mul", eyes, graph.constant(1.4))
    sides = [
        graph.one("Sub", half_width, middle_x),
        graph.one("Sub", half_height, middle_y),
        graph.one("Add", half_width, middle_x),
        graph.one("Add", half_height, middle_y),
    ]
    return graph.one("Concat", *sides, axis=1)


def _twice(graph: _Graph, values: str) -> str:
    return graph.one("Concat", values, values, axis=1)


def _per_anchor(graph: _Graph, values: str, width: int) -> str:
    """Turn (1, 2 * width, h, w) into (h * w * 2, width)."""
    last = graph.one("Transpose", values, perm=[0, 2, 3, 1])
    return graph.one("Reshape", last, graph.constant([-1, width], np.int64))
