"""The manifest of a model pack: `pack.toml`, read strictly and written canonically."""

import hashlib
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Literal, cast

from index.errors import PackError
from index.pack_table import Table, number_between
from index.types import MAX_DIMENSION

MANIFEST_NAME = "pack.toml"

PIPELINE_VERSION = 2
"""Raised whenever letterboxing, alignment or normalisation change, for then templates change too."""

DetectorLayout = Literal["scrfd", "yunet"]
Colour = Literal["rgb", "bgr"]
Triple = tuple[float, float, float]

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_MODEL_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\.onnx")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MAX_MANIFEST_BYTES = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorManifest:
    """How a pack finds faces.

    Attributes:
        layout: `scrfd` (insightface's outputs) or `yunet` (what `cv2.FaceDetectorYN` reads).
        file: Name of the ONNX file beside the manifest.
        sha256: Of that file, lower-case hexadecimal.
        input_size: Side in pixels of the square that a picture is fitted into; a multiple of 32.
        fallback_size: Side tried when nothing was found, for small faces in large pictures; 0: none.
        border: Empty margin on every side of the picture, as a share of its longer side: faces that
            fill the frame are found more surely.
        score_threshold: Weakest detection kept, 0 to 1.
        nms_threshold: Overlap (intersection over union) above which the weaker detection is dropped.
        mean: Subtracted from 0-255 values; only for `scrfd`.
        std: Divides what remains; only for `scrfd`.
    """

    layout: DetectorLayout
    file: str
    sha256: str
    input_size: int = 320
    fallback_size: int = 640
    border: float = 0.15
    score_threshold: float = 0.6
    nms_threshold: float = 0.4
    mean: float = 127.5
    std: float = 128.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LandmarksManifest:
    """How a pack corrects the five points of a face that its detector found; a pack may do without.

    Attributes:
        file: Name of the ONNX file beside the manifest: an n x 3 x s x s input, RGB, an n x 11 output: five
            points as x and y in sides of the view, and the score before the sigmoid.
        sha256: Of that file, lower-case hexadecimal.
        input_size: Side s in pixels of the view of a face; a multiple of 16.
        margin: What a view shows beyond the ArcFace template on each side, as a share of its side.
        score_threshold: Weakest view taken for a face, 0 to 1.
        mean: Subtracted from 0-255 values.
        std: Divides what remains.
    """

    file: str
    sha256: str
    input_size: int = 64
    margin: float = 0.12
    score_threshold: float = 0.5
    mean: float = 127.5
    std: float = 127.5


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderManifest:
    """How a pack turns an aligned face into a vector.

    Attributes:
        layout: `arcface`: an n x 3 x 112 x 112 input on the ArcFace template, an n x d output.
        file: Name of the ONNX file beside the manifest.
        sha256: Of that file, lower-case hexadecimal.
        colour: Channel order that the model was trained on.
        mean: Subtracted from 0-255 values, per channel in the order of `colour`.
        std: Divides what remains, likewise.
        input_size: Side of the crop in pixels; 112 is the only one of this layout.
        dimension: Length of the vector, d.
        flip: Add the mirrored crop's output before normalising; twice the time.
    """

    layout: Literal["arcface"] = "arcface"
    file: str
    sha256: str
    colour: Colour
    mean: Triple
    std: Triple
    input_size: int = 112
    dimension: int
    flip: bool = False


ModelManifest = DetectorManifest | LandmarksManifest | EncoderManifest


@dataclass(frozen=True, slots=True, kw_only=True)
class PackManifest:
    """What `pack.toml` says.

    Attributes:
        name: Lower-case letters, digits, `.`, `_` and `-`.
        version: The pack's own version.
        licence: Terms of the weights, in words.
        source: Where the weights came from; may be empty.
        detector: How faces are found.
        landmarks: How their points are corrected; None: they stay as the detector gives them.
        encoder: How faces are encoded.
        calibration: Pairs (threshold, false match rate per pair of different persons), thresholds
            ascending and rates descending; empty when nobody measured them.
        calibration_source: What the rates were measured on; empty when there are none.
    """

    name: str
    version: str
    licence: str
    source: str = ""
    detector: DetectorManifest
    landmarks: LandmarksManifest | None = None
    encoder: EncoderManifest
    calibration: tuple[tuple[float, float], ...] = field(default=(), repr=False)
    calibration_source: str = ""

    @property
    def models(self) -> tuple[ModelManifest, ...]:
        """What the pack says of each of its model files, in the order of their work."""
        landmarks = () if self.landmarks is None else (self.landmarks,)
        return self.detector, *landmarks, self.encoder

    @property
    def contract_id(self) -> str:
        """Identify the templates that this pack makes: 64 hexadecimal digits.

        It covers the weights, every constant that shapes a template and the dimension, and leaves out
        name, version, licence and calibration. A pack without a model for points has the id that it had
        before there were any.
        """
        tables = _model_tables(self)
        contract: dict[str, object] = {"pipeline": PIPELINE_VERSION}
        contract |= {name: {k: v for k, v in table.items() if k != "file"} for name, table in tables.items()}
        return hashlib.sha256(json.dumps(contract, sort_keys=True).encode()).hexdigest()


def read_manifest(directory: Path) -> PackManifest:
    """Read and check `pack.toml`; the model files are not looked at.

    Args:
        directory: The pack.

    Raises:
        PackError: The file is missing, too large, no TOML, or a key is missing, unknown or wrong.
    """
    path = directory / MANIFEST_NAME
    try:
        if path.stat().st_size > _MAX_MANIFEST_BYTES:
            raise PackError(f"{path}: larger than {_MAX_MANIFEST_BYTES} bytes, so it is no pack manifest")
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PackError(
            f"{directory}: no {MANIFEST_NAME} there; make one with 'oneperson pack add'"
        ) from None
    except (
        OSError,
        ValueError,
        RecursionError,
    ) as error:  # Not only TOMLDecodeError: numbers of 5,000 digits.
        raise PackError(f"{path}: cannot be read as TOML ({error})") from error
    return _parse(document, path)


def write_manifest(manifest: PackManifest, directory: Path) -> Path:
    """Write `pack.toml`, replacing one that is there.

    Returns:
        The file written; `read_manifest` gives back an equal manifest.

    Raises:
        PackError: The manifest is not one that `read_manifest` would accept.
    """
    path = directory / MANIFEST_NAME
    text = _as_toml(manifest)
    _parse(tomllib.loads(text), path)
    path.write_text(text, encoding="utf-8")
    return path


def _parse(document: Mapping[str, object], path: Path) -> PackManifest:
    top = Table(document, str(path))
    landmarks, calibration = top.table_or_none("landmarks"), top.table_or_none("calibration")
    points, source = ((), "") if calibration is None else _parse_calibration(calibration)
    manifest = PackManifest(
        name=top.text("name", pattern=_NAME),
        version=top.text("version"),
        licence=top.text("licence"),
        source=top.text("source", ""),
        detector=_parse_detector(top.table("detector")),
        landmarks=None if landmarks is None else _parse_landmarks(landmarks),
        encoder=_parse_encoder(top.table("encoder")),
        calibration=points,
        calibration_source=source,
    )
    top.finish()
    return manifest


def _parse_detector(table: Table) -> DetectorManifest:
    layout = cast(DetectorLayout, table.choice("layout", ("scrfd", "yunet")))
    detector = DetectorManifest(
        layout=layout,
        file=table.text("file", pattern=_MODEL_FILE),
        sha256=table.text("sha256", pattern=_SHA256),
        input_size=table.integer("input_size", 64, 2048, 320, step=32),
        fallback_size=table.integer("fallback_size", 0, 2048, 640, step=32),
        border=table.number("border", 0.0, 0.5, 0.15),
        score_threshold=table.number("score_threshold", 0.05, 0.99, 0.6),
        nms_threshold=table.number("nms_threshold", 0.05, 0.95, 0.4),
        mean=table.number("mean", -1000.0, 1000.0, 127.5) if layout == "scrfd" else 127.5,
        std=table.number("std", 1e-6, 1000.0, 128.0) if layout == "scrfd" else 128.0,
    )
    table.finish()
    return detector


def _parse_landmarks(table: Table) -> LandmarksManifest:
    landmarks = LandmarksManifest(
        file=table.text("file", pattern=_MODEL_FILE),
        sha256=table.text("sha256", pattern=_SHA256),
        input_size=table.integer("input_size", 32, 128, 64, step=16),
        margin=table.number("margin", 0.0, 0.3, 0.12),
        score_threshold=table.number("score_threshold", 0.01, 0.99, 0.5),
        mean=table.number("mean", -1000.0, 1000.0, 127.5),
        std=table.number("std", 1e-6, 1000.0, 127.5),
    )
    table.finish()
    return landmarks


def _parse_encoder(table: Table) -> EncoderManifest:
    table.choice("layout", ("arcface",))
    encoder = EncoderManifest(
        file=table.text("file", pattern=_MODEL_FILE),
        sha256=table.text("sha256", pattern=_SHA256),
        colour=cast(Colour, table.choice("colour", ("rgb", "bgr"))),
        mean=table.triple("mean", -1000.0, 1000.0),
        std=table.triple("std", 1e-6, 1000.0),
        input_size=table.integer("input_size", 112, 112, 112),
        dimension=table.integer("dimension", 2, MAX_DIMENSION),
        flip=table.flag("flip", default=False),
    )
    table.finish()
    return encoder


def _parse_calibration(table: Table) -> tuple[tuple[tuple[float, float], ...], str]:
    source = table.text("source", "")
    rows = table.take("points", [])
    table.finish()
    if not isinstance(rows, list) or any(not isinstance(row, list) or len(row) != 2 for row in rows):
        raise table.wrong("points", "must be a list of pairs [threshold, false match rate]")
    place = f"{table.place}: 'points'"
    points = tuple(
        (number_between(t, -1.0, 1.0, place=place), number_between(rate, 0.0, 1.0, place=place))
        for t, rate in rows
    )
    for (threshold, rate), (next_threshold, next_rate) in pairwise(points):
        if next_threshold <= threshold or next_rate > rate:
            raise table.wrong("points", "must have ascending thresholds and descending rates")
    if points and not source:
        raise table.wrong("source", "must say what the rates were measured on")
    return points, source


def _detector_table(detector: DetectorManifest) -> dict[str, object]:
    keys = ["layout", "file", "sha256", "input_size", "fallback_size", "border"]
    keys += ["score_threshold", "nms_threshold"]
    keys += ["mean", "std"] if detector.layout == "scrfd" else []
    return {key: getattr(detector, key) for key in keys}


def _landmarks_table(landmarks: LandmarksManifest) -> dict[str, object]:
    keys = ("file", "sha256", "input_size", "margin", "score_threshold", "mean", "std")
    return {key: getattr(landmarks, key) for key in keys}


def _encoder_table(encoder: EncoderManifest) -> dict[str, object]:
    keys = ("layout", "file", "sha256", "colour", "mean", "std", "input_size", "dimension", "flip")
    return {key: getattr(encoder, key) for key in keys}


def _model_tables(manifest: PackManifest) -> dict[str, dict[str, object]]:
    """Return the tables of the models by name, in the order of the document."""
    tables = {"detector": _detector_table(manifest.detector)}
    if manifest.landmarks is not None:
        tables["landmarks"] = _landmarks_table(manifest.landmarks)
    return tables | {"encoder": _encoder_table(manifest.encoder)}


def _as_toml(manifest: PackManifest) -> str:
    top = {key: getattr(manifest, key) for key in ("name", "version", "licence", "source")}
    lines = _lines(top)
    for name, table in _model_tables(manifest).items():
        lines += ["", f"[{name}]", *_lines(table)]
    if manifest.calibration:
        rows = (f"  [{threshold!r}, {rate!r}]," for threshold, rate in manifest.calibration)
        lines += ["", "[calibration]", *_lines({"source": manifest.calibration_source})]
        lines += ["# [threshold, false match rate per pair of different persons]", "points = [", *rows, "]"]
    return "\n".join(lines) + "\n"


def _lines(values: Mapping[str, object]) -> list[str]:
    """Render plain values; JSON's strings, numbers, booleans and lists are also TOML's."""
    return [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in values.items()]
