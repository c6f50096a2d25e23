"""`pack.toml` is read strictly: what is wrong is named, with the remedy, and nothing is guessed."""

from dataclasses import replace
from pathlib import Path

import pytest

from index.errors import PackError
from index.pack import (
    MANIFEST_NAME,
    DetectorManifest,
    EncoderManifest,
    LandmarksManifest,
    PackManifest,
    read_manifest,
    write_manifest,
)

SHA_A, SHA_B = "a" * 64, "b" * 64

MANIFEST = PackManifest(
    name="a-pack.v2",
    version="2.0",
    licence='Apache-2.0 "as is", 仅供测试',
    source="somewhere",
    detector=DetectorManifest(layout="scrfd", file="d.onnx", sha256=SHA_A, mean=100.0, std=64.0),
    encoder=EncoderManifest(
        file="e.onnx",
        sha256=SHA_B,
        colour="bgr",
        mean=(1.0, 2.0, 3.5),
        std=(4.0, 5.0, 6.0),
        dimension=128,
        flip=True,
    ),
    calibration=((0.1, 0.5), (0.2, 0.01), (0.3, 1e-7)),
    calibration_source="some pairs",
)

CORRECTED = replace(
    MANIFEST,
    landmarks=LandmarksManifest(
        file="l.onnx", sha256="c" * 64, input_size=96, margin=0.2, score_threshold=0.3, mean=0.0, std=255.0
    ),
)
"""The same with a model that corrects points."""

TEXT = f"""
name = "small"
version = "1"
licence = "free"
[detector]
layout = "yunet"
file = "d.onnx"
sha256 = "{SHA_A}"
[encoder]
layout = "arcface"
file = "e.onnx"
sha256 = "{SHA_B}"
colour = "rgb"
mean = 127.5
std = [127.5, 127.5, 127.5]
dimension = 64
"""

POINTS = f"""
[landmarks]
file = "l.onnx"
sha256 = "{SHA_A}"
"""


def read(directory: Path, text: str) -> PackManifest:
    (directory / MANIFEST_NAME).write_text(text, encoding="utf-8")
    return read_manifest(directory)


@pytest.mark.parametrize("manifest", [MANIFEST, CORRECTED])
def test_what_is_written_is_read_back(tmp_path: Path, manifest: PackManifest) -> None:
    text = write_manifest(manifest, tmp_path).read_text(encoding="utf-8")
    assert read_manifest(tmp_path) == manifest
    tables = [line for line in text.splitlines() if line.startswith("[") and line.endswith("]")]
    wanted = [f"[{name}]" for name in ("detector", "landmarks", "encoder", "calibration")]
    assert tables == (wanted if manifest.landmarks else [wanted[0], *wanted[2:]])


def test_a_short_manifest_has_defaults(tmp_path: Path) -> None:
    manifest = read(tmp_path, TEXT)
    assert manifest.detector.input_size == 320
    assert manifest.encoder.mean == (127.5, 127.5, 127.5)
    assert manifest.calibration == ()
    assert manifest.landmarks is None
    landmarks = read(tmp_path, TEXT + POINTS).landmarks
    assert landmarks == LandmarksManifest(file="l.onnx", sha256=SHA_A)
    assert (landmarks.input_size, landmarks.margin, landmarks.score_threshold) == (64, 0.12, 0.5)
    assert (landmarks.mean, landmarks.std) == (127.5, 127.5)


@pytest.mark.parametrize("size", [64, 96, 160])
def test_a_detector_may_look_at_small_squares(tmp_path: Path, size: int) -> None:
    text = TEXT.replace('layout = "yunet"', f'layout = "yunet"\ninput_size = {size}')
    assert read(tmp_path, text).detector.input_size == size


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("input_size = 72", "'input_size' must be a multiple of 16"),
        ("input_size = 16", "must be 32 to 128"),
        ("input_size = 144", "must be 32 to 128"),
        ("margin = 0.31", "'margin' is 0.31, but must be 0 to 0.3"),
        ("margin = -0.01", "'margin'"),
        ("score_threshold = 0", "must be 0.01 to 0.99"),
        ("score_threshold = 1", "must be 0.01 to 0.99"),
        ("mean = [1, 2, 3]", "'mean' must be a number"),
        ("std = 0", "'std'"),
        ('layout = "points"', "unknown key 'layout'"),
        ('file = "../l.onnx"', "'file'"),
        ('sha256 = "beef"', "'sha256'"),
    ],
)
def test_a_wrong_key_of_the_model_for_points_is_named(tmp_path: Path, line: str, named: str) -> None:
    key = line.partition(" ")[0]
    kept = [old for old in POINTS.splitlines() if not old.startswith(key)]
    with pytest.raises(PackError, match=r"pack\.toml \[landmarks\]") as raised:
        read(tmp_path, TEXT + "\n".join([*kept, line]) + "\n")
    assert named in str(raised.value)


@pytest.mark.parametrize("table", ["landmarks = 1", "[landmarks]", "[[landmarks]]\nfile = 'l.onnx'"])
def test_a_table_for_points_is_whole_or_left_out(tmp_path: Path, table: str) -> None:
    text = f"{table}\n{TEXT}" if "=" in table and "[" not in table else f"{TEXT}\n{table}\n"
    with pytest.raises(PackError, match=r"\[landmarks\].*(is missing|must be a table)"):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('name = "small"', "", "'name' is missing"),
        ('name = "small"', 'name = "../up"', "'name'"),
        ('name = "small"', "name = 7", "'name'"),
        ('licence = "free"', 'licence = " "', "'licence'"),
        ('licence = "free"', 'licence = "a\\nb"', "'licence'"),
        ('version = "1"', 'version = "1"\nsurprise = 1', "unknown key 'surprise'"),
        ('layout = "yunet"', 'layout = "mtcnn"', "must be one of: scrfd, yunet"),
        ('layout = "yunet"', 'layout = "yunet"\nmean = 3.0', "unknown key 'mean'"),
        ('layout = "yunet"', 'layout = "yunet"\ninput_size = 100', "multiple of 32"),
        ('layout = "yunet"', 'layout = "yunet"\ninput_size = 99999', "must be 64 to 2048"),
        ('layout = "yunet"', 'layout = "yunet"\nborder = "wide"', "'border' must be a number"),
        ('layout = "yunet"', 'layout = "yunet"\nborder = nan', "'border' must be a number"),
        ('layout = "yunet"', 'layout = "yunet"\nscore_threshold = true', "'score_threshold'"),
        ('layout = "yunet"', f'layout = "yunet"\ninput_size = 1{"0" * 400}', "of ordinary size"),
        ('layout = "yunet"', f'layout = "yunet"\ninput_size = {"1" * 5000}', "cannot be read as TOML"),
        ('layout = "yunet"', f'layout = "yunet"\nborder = {"[" * 5000}', "cannot be read as TOML"),
        ('layout = "arcface"', 'layout = "clip"', "must be one of: arcface"),
        ('file = "e.onnx"', 'file = "../e.onnx"', "'file'"),
        ('file = "e.onnx"', 'file = "/etc/e.onnx"', "'file'"),
        ('file = "e.onnx"', 'file = "e.pkl"', "'file'"),
        ('file = "e.onnx"', 'file = "..onnx"', "'file'"),
        (f'sha256 = "{SHA_B}"', 'sha256 = "beef"', "'sha256'"),
        ('colour = "rgb"', 'colour = "grey"', "must be one of: rgb, bgr"),
        ("mean = 127.5", "mean = [1, 2]", "one number, or three"),
        ("std = [127.5, 127.5, 127.5]", "std = 0", "'std'"),
        ("dimension = 64", "dimension = 64.5", "whole number"),
        ("dimension = 64", "dimension = 64\nflip = 1", "true or false"),
        ("[encoder]", "[[encoder]]", "must be a table"),
    ],
)
def test_a_wrong_key_is_named(tmp_path: Path, old: str, new: str, named: str) -> None:
    assert old in TEXT
    with pytest.raises(PackError, match=r"pack\.toml") as raised:
        read(tmp_path, TEXT.replace(old, new))
    assert named in str(raised.value)


@pytest.mark.parametrize(
    "points",
    [
        "1",
        "[0.1, 0.2]",
        "[[0.1]]",
        "[[0.2, 0.1], [0.1, 0.01]]",
        "[[0.1, 0.1], [0.2, 0.2]]",
        "[[0.1, 2.0]]",
        "[[2.0, 0.1]]",
    ],
)
def test_a_calibration_that_is_no_falling_curve_is_refused(tmp_path: Path, points: str) -> None:
    with pytest.raises(PackError, match="points"):
        read(tmp_path, TEXT + f'[calibration]\nsource = "x"\npoints = {points}\n')


def test_a_calibration_without_a_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PackError, match="measured on"):
        read(tmp_path, TEXT + "[calibration]\npoints = [[0.1, 0.1]]\n")


def test_a_folder_without_a_manifest_is_named(tmp_path: Path) -> None:
    with pytest.raises(PackError, match=r"no pack\.toml"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("content", [b"name = ", b"\xff\xfe", b"x" * 1_000_001])
def test_a_file_that_is_no_manifest_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / MANIFEST_NAME).write_bytes(content)
    with pytest.raises(PackError, match=r"pack\.toml"):
        read_manifest(tmp_path)


def test_a_manifest_that_could_not_be_read_back_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(PackError, match="name"):
        write_manifest(replace(MANIFEST, name="Not A Name"), tmp_path)
    assert not (tmp_path / MANIFEST_NAME).exists()


def test_the_contract_covers_what_shapes_a_template() -> None:
    encoder, detector, landmarks = MANIFEST.encoder, MANIFEST.detector, CORRECTED.landmarks
    assert landmarks is not None
    changed = [
        replace(MANIFEST, encoder=replace(encoder, sha256=SHA_A)),
        replace(MANIFEST, encoder=replace(encoder, mean=(1.0, 2.0, 3.0))),
        replace(MANIFEST, encoder=replace(encoder, std=(4.0, 5.0, 7.0))),
        replace(MANIFEST, encoder=replace(encoder, colour="rgb")),
        replace(MANIFEST, encoder=replace(encoder, flip=False)),
        replace(MANIFEST, encoder=replace(encoder, dimension=64)),
        replace(MANIFEST, detector=replace(detector, sha256=SHA_B)),
        replace(MANIFEST, detector=replace(detector, border=0.2)),
        replace(MANIFEST, detector=replace(detector, input_size=640)),
        replace(MANIFEST, detector=replace(detector, score_threshold=0.7)),
        CORRECTED,
        replace(CORRECTED, landmarks=replace(landmarks, sha256=SHA_B)),
        replace(CORRECTED, landmarks=replace(landmarks, input_size=64)),
        replace(CORRECTED, landmarks=replace(landmarks, margin=0.1)),
        replace(CORRECTED, landmarks=replace(landmarks, score_threshold=0.4)),
        replace(CORRECTED, landmarks=replace(landmarks, mean=1.0)),
        replace(CORRECTED, landmarks=replace(landmarks, std=1.0)),
    ]
    ids = {manifest.contract_id for manifest in [MANIFEST, *changed]}
    assert len(ids) == len(changed) + 1
    assert all(len(contract_id) == 64 for contract_id in ids)


def test_the_contract_leaves_out_what_does_not() -> None:
    renamed = replace(
        MANIFEST,
        name="other",
        version="9",
        licence="none",
        calibration=(),
        calibration_source="",
        encoder=replace(MANIFEST.encoder, file="renamed.onnx"),
    )
    assert renamed.contract_id == MANIFEST.contract_id


def test_the_model_for_points_is_renamed_freely() -> None:
    assert CORRECTED.landmarks is not None
    renamed = replace(CORRECTED, landmarks=replace(CORRECTED.landmarks, file="renamed.onnx"))
    assert renamed.contract_id == CORRECTED.contract_id
    assert [model.file for model in renamed.models] == ["d.onnx", "renamed.onnx", "e.onnx"]


def test_packs_without_a_model_for_points_have_the_contract_that_they_had() -> None:
    # Of pipeline 2. Whatever changes it by accident would have every registry encoded again.
    assert MANIFEST.contract_id == "b2ca37af97767ebf07c147cc5bb2a20ccc69b84e610f199f214e023d940d64b4"
