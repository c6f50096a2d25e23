"""The manifest of a model pack: `pack.toml`, read strictly and written canonically."""

import hashlib
import json
import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Literal, cast

from index.errors import PackError
from index.types import MAX_DIMENSION

MANIFEST_NAME = "pack.toml"

PIPELINE_VERSION = 1
"""Raised whenever letterboxing, alignment or normalisation change, for then templates change too."""

DetectorLayout = Literal["scrfd", "yunet"]
Colour = Literal["rgb", "bgr"]
Triple = tuple[float, float, float]

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_MODEL_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\.onnx")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MAX_MANIFEST_BYTES = 1_000_000
_LARGEST = 1e15


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


@dataclass(frozen=True, slots=True, kw_only=True)
class PackManifest:
    """What `pack.toml` says.

    Attributes:
        name: Lower-case letters, digits, `.`, `_` and `-`.
        version: The pack's own version.
        licence: Terms of the weights, in words.
        source: Where the weights came from; may be empty.
        detector: How faces are found.
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
    encoder: EncoderManifest
    calibration: tuple[tuple[float, float], ...] = field(default=(), repr=False)
    calibration_source: str = ""

    @property
    def contract_id(self) -> str:
        """Identify the templates that this pack makes: 64 hexadecimal digits.

        It covers the weights, every constant that shapes a template and the dimension, and leaves out
        name, version, licence and calibration.
        """
        contract = {
            "pipeline": PIPELINE_VERSION,
            "detector": {k: v for k, v in _detector_table(self.detector).items() if k != "file"},
            "encoder": {k: v for k, v in _encoder_table(self.encoder).items() if k != "file"},
        }
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


class _Table:
    """One table of the document, from which keys are taken until none is left."""

    def __init__(self, values: object, place: str) -> None:
        if not isinstance(values, dict):
            raise PackError(f"{place}: must be a table")
        self._values = dict(cast(Mapping[str, object], values))
        self.place = place

    def wrong(self, key: str, remedy: str) -> PackError:
        return PackError(f"{self.place}: '{key}' {remedy}")

    def take(self, key: str, default: object = None) -> object:
        if key in self._values:
            return self._values.pop(key)
        if default is None:
            raise self.wrong(key, "is missing; add it")
        return default

    def text(self, key: str, default: str | None = None, *, pattern: re.Pattern[str] | None = None) -> str:
        value = self.take(key, default)
        if not isinstance(value, str) or any(not c.isprintable() for c in value):
            raise self.wrong(key, "must be one line of text")
        if default is None and not value.strip():
            raise self.wrong(key, "must not be empty")
        if pattern is not None and not pattern.fullmatch(value):
            raise self.wrong(key, f"is '{value}', but must match {pattern.pattern}")
        return value

    def choice(self, key: str, choices: tuple[str, ...], default: str | None = None) -> str:
        value = self.text(key, default)
        if value not in choices:
            raise self.wrong(key, f"is '{value}', but must be one of: {', '.join(choices)}")
        return value

    def number(self, key: str, low: float, high: float, default: float | None = None) -> float:
        return _number(self.take(key, default), low, high, place=f"{self.place}: '{key}'")

    def integer(self, key: str, low: int, high: int, default: int | None = None) -> int:
        value = self.number(key, low, high, default)
        if value != int(value):
            raise self.wrong(key, "must be a whole number")
        return int(value)

    def triple(self, key: str, low: float, high: float) -> Triple:
        value = self.take(key)
        values = value if isinstance(value, list) else [value] * 3
        if len(values) != 3:
            raise self.wrong(key, "must be one number, or three: one per channel")
        first, second, third = (_number(v, low, high, place=f"{self.place}: '{key}'") for v in values)
        return first, second, third

    def flag(self, key: str, *, default: bool) -> bool:
        value = self.take(key, default)
        if not isinstance(value, bool):
            raise self.wrong(key, "must be true or false")
        return value

    def table(self, key: str, *, optional: bool = False) -> "_Table":
        return _Table(self.take(key, {} if optional else None), f"{self.place} [{key}]")

    def finish(self) -> None:
        if self._values:
            raise PackError(f"{self.place}: unknown key '{sorted(self._values)[0]}'; remove or correct it")


def _number(value: object, low: float, high: float, *, place: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise PackError(f"{place} must be a number")
    if abs(value) > _LARGEST or math.isnan(value):  # Python's whole numbers may be too large for any float.
        raise PackError(f"{place} must be a number of ordinary size")
    if not low <= value <= high:
        raise PackError(f"{place} is {value:g}, but must be {low:g} to {high:g}")
    return float(value)


def _parse(document: Mapping[str, object], path: Path) -> PackManifest:
    top = _Table(document, str(path))
    points, calibration_source = _parse_calibration(top.table("calibration", optional=True))
    manifest = PackManifest(
        name=top.text("name", pattern=_NAME),
        version=top.text("version"),
        licence=top.text("licence"),
        source=top.text("source", ""),
        detector=_parse_detector(top.table("detector")),
        encoder=_parse_encoder(top.table("encoder")),
        calibration=points,
        calibration_source=calibration_source,
    )
    top.finish()
    return manifest


def _parse_detector(table: _Table) -> DetectorManifest:
    layout = cast(DetectorLayout, table.choice("layout", ("scrfd", "yunet")))
    detector = DetectorManifest(
        layout=layout,
        file=table.text("file", pattern=_MODEL_FILE),
        sha256=table.text("sha256", pattern=_SHA256),
        input_size=table.integer("input_size", 64, 2048, 320),
        fallback_size=table.integer("fallback_size", 0, 2048, 640),
        border=table.number("border", 0.0, 0.5, 0.15),
        score_threshold=table.number("score_threshold", 0.05, 0.99, 0.6),
        nms_threshold=table.number("nms_threshold", 0.05, 0.95, 0.4),
        mean=table.number("mean", -1000.0, 1000.0, 127.5) if layout == "scrfd" else 127.5,
        std=table.number("std", 1e-6, 1000.0, 128.0) if layout == "scrfd" else 128.0,
    )
    for key in ("input_size", "fallback_size"):
        if getattr(detector, key) % 32:
            raise table.wrong(key, "must be a multiple of 32")
    table.finish()
    return detector


def _parse_encoder(table: _Table) -> EncoderManifest:
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


def _parse_calibration(table: _Table) -> tuple[tuple[tuple[float, float], ...], str]:
    source = table.text("source", "")
    rows = table.take("points", [])
    table.finish()
    if not isinstance(rows, list) or any(not isinstance(row, list) or len(row) != 2 for row in rows):
        raise table.wrong("points", "must be a list of pairs [threshold, false match rate]")
    place = f"{table.place}: 'points'"
    points = tuple(
        (_number(t, -1.0, 1.0, place=place), _number(rate, 0.0, 1.0, place=place)) for t, rate in rows
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


def _encoder_table(encoder: EncoderManifest) -> dict[str, object]:
    keys = ("layout", "file", "sha256", "colour", "mean", "std", "input_size", "dimension", "flip")
    return {key: getattr(encoder, key) for key in keys}


def _as_toml(manifest: PackManifest) -> str:
    top = {key: getattr(manifest, key) for key in ("name", "version", "licence", "source")}
    lines = _lines(top)
    lines += ["", "[detector]", *_lines(_detector_table(manifest.detector))]
    lines += ["", "[encoder]", *_lines(_encoder_table(manifest.encoder))]
    if manifest.calibration:
        rows = (f"  [{threshold!r}, {rate!r}]," for threshold, rate in manifest.calibration)
        lines += ["", "[calibration]", *_lines({"source": manifest.calibration_source})]
        lines += ["# [threshold, false match rate per pair of different persons]", "points = [", *rows, "]"]
    return "\n".join(lines) + "\n"


def _lines(values: Mapping[str, object]) -> list[str]:
    """Render plain values; JSON's strings, numbers, booleans and lists are also TOML's."""
    return [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in values.items()]
