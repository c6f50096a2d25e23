"""`oneperson pack`: packs are added whole or not at all, and what is there is told truly."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from index.extraction import Extractor
from index.pack import load_pack, read_manifest
from scripts.pack_download import SOURCES, Download, PackSource
from tests.scripts.commands import Operator
from tests.scripts.test_pack_download import Server
from tests.synthetic import make_synthetic_pack, synthetic_portrait


@pytest.fixture
def operator(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Operator:
    """Somebody with a data folder of their own."""
    typing = Operator(monkeypatch, capsys)
    typing.set("data_dir", tmp_path / "var")
    return typing


@pytest.fixture
def loose(tmp_path: Path) -> Path:
    """The models of the synthetic pack without their manifest."""
    folder = make_synthetic_pack(tmp_path / "loose", landmarks=True)
    (folder / "pack.toml").unlink()
    return folder


@pytest.fixture
def server() -> Iterator[Server]:
    """A server for one test."""
    running = Server()
    yield running
    running.close()


def arguments(folder: Path, *more: str) -> list[str]:
    models = ["--detector", "detector.onnx", "--detector-layout", "scrfd", "--encoder", "encoder.onnx"]
    return ["pack", "add", str(folder), *models, "--licence", "made for tests", *more]


def leftovers(packs: Path) -> list[str]:
    return sorted(path.name for path in packs.iterdir()) if packs.is_dir() else []


def test_a_directory_with_a_manifest_is_copied(
    operator: Operator, synthetic_pack_dir: Path, tmp_path: Path
) -> None:
    done = operator.types("pack", "add", str(synthetic_pack_dir))
    assert done.code == 0, done.err
    assert "Added synthetic 1" in done.out
    assert "ONEPERSON_PACK=synthetic" in done.out
    added = load_pack(tmp_path / "var" / "packs" / "synthetic")
    assert added.contract_id == load_pack(synthetic_pack_dir).contract_id
    assert leftovers(tmp_path / "var" / "packs") == ["synthetic"]


def test_loose_models_get_a_manifest(operator: Operator, loose: Path, tmp_path: Path) -> None:
    # This detector takes one size only, so the default second size is refused, with the remedy.
    done = operator.types(*arguments(loose))
    assert done.code == 1
    assert "takes 256 x 256 only; set input_size to that and fallback_size to 0" in done.err
    done = operator.types(*arguments(loose, "--input-size", "256", "--fallback-size", "0", "--name", "mine"))
    assert done.code == 0, done.err
    manifest = read_manifest(tmp_path / "var" / "packs" / "mine")
    assert manifest.encoder.dimension == 64
    assert manifest.encoder.mean == (127.5, 127.5, 127.5)
    assert Extractor(load_pack(tmp_path / "var" / "packs" / "mine")).extract(synthetic_portrait(1)).faces


def test_a_model_for_points_is_added_and_copied(operator: Operator, loose: Path, tmp_path: Path) -> None:
    more = ["--input-size", "256", "--fallback-size", "0", "--landmarks", "landmarks.onnx"]
    done = operator.types(*arguments(loose, *more, "--into", str(tmp_path / "elsewhere")))
    assert done.code == 0, done.err
    assert "detector scrfd with corrected points, encoder arcface" in done.out
    made = tmp_path / "elsewhere" / "loose"
    assert operator.types("pack", "add", str(made), "--name", "copied").code == 0
    copied = load_pack(tmp_path / "var" / "packs" / "copied")
    assert leftovers(tmp_path / "var" / "packs" / "copied") == leftovers(made)
    assert copied.manifest.landmarks == read_manifest(made).landmarks
    assert copied.manifest.landmarks is not None
    assert len(Extractor(copied).extract(synthetic_portrait(1)).faces) == 1


def test_the_constants_are_taken(operator: Operator, loose: Path, tmp_path: Path) -> None:
    more = [
        "--input-size",
        "256",
        "--fallback-size",
        "0",
        "--mean",
        "1,2,3.5",
        "--std",
        "64",
        "--colour",
        "bgr",
    ]
    done = operator.types(*arguments(loose, *more, "--flip", "--into", str(tmp_path / "elsewhere")))
    assert done.code == 0, done.err
    encoder = read_manifest(tmp_path / "elsewhere" / "loose").encoder
    assert (encoder.mean, encoder.std) == ((1.0, 2.0, 3.5), (64.0, 64.0, 64.0))
    assert (encoder.colour, encoder.flip) == ("bgr", True)
    assert f"ONEPERSON_PACK={tmp_path / 'elsewhere' / 'loose'}" in done.out


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (["--mean", "grey"], "--mean 'grey': one number, or three"),
        (["--std", "1,2"], "--std '1,2': one number, or three"),
        (["--encoder", "gone.onnx"], "gone.onnx: cannot be"),
        (["--landmarks", "gone.onnx"], "gone.onnx: cannot be"),
        (["--landmarks", "encoder.onnx"], "a model for points takes n x 3 x 64 x 64"),
        (["--detector-layout", "yunet"], "layout 'yunet' has 12 outputs"),
        (["--name", "No Name"], "'name' is 'No Name'"),
    ],
)
def test_what_does_not_fit_leaves_nothing_behind(
    operator: Operator, loose: Path, tmp_path: Path, more: list[str], named: str
) -> None:
    done = operator.types(*arguments(loose, "--input-size", "256", "--fallback-size", "0", *more))
    assert done.code == 1
    assert named in done.err
    assert "Traceback" not in done.err
    assert leftovers(tmp_path / "var" / "packs") == []


def test_a_directory_without_manifest_or_options_asks_for_them(operator: Operator, loose: Path) -> None:
    done = operator.types("pack", "add", str(loose))
    assert done.code == 1
    assert "--detector, --encoder and --licence" in done.err


def test_an_unknown_name_lists_what_there_is(operator: Operator) -> None:
    done = operator.types("pack", "add", "antelope")
    assert done.code == 1
    assert "none of: buffalo_l, opencv-zoo" in done.err


def test_a_pack_is_not_overwritten(operator: Operator, synthetic_pack_dir: Path) -> None:
    assert operator.types("pack", "add", str(synthetic_pack_dir)).code == 0
    again = operator.types("pack", "add", str(synthetic_pack_dir))
    assert again.code == 1
    assert "is there already" in again.err
    assert operator.types("pack", "add", str(synthetic_pack_dir), "--name", "second").code == 0


def test_packs_are_listed_with_the_broken_ones(
    operator: Operator, synthetic_pack_dir: Path, tmp_path: Path
) -> None:
    operator.types("pack", "add", str(synthetic_pack_dir))
    broken = tmp_path / "var" / "packs" / "broken"
    broken.mkdir()
    (broken / "pack.toml").write_text("name = 1")
    done = operator.types("pack", "list")
    assert done.code == 0
    assert "synthetic 1: detector scrfd, encoder arcface with 64 numbers" in done.out
    assert "broken cannot be used" in done.out


def test_a_pack_is_verified_by_name_and_by_directory(
    operator: Operator, synthetic_pack_dir: Path, tmp_path: Path
) -> None:
    operator.types("pack", "add", str(synthetic_pack_dir))
    assert "In order: synthetic 1" in operator.types("pack", "verify", "synthetic").out
    assert operator.types("pack", "verify", str(synthetic_pack_dir)).code == 0
    with (tmp_path / "var" / "packs" / "synthetic" / "encoder.onnx").open("ab") as file:
        file.write(b"x")
    done = operator.types("pack", "verify", "synthetic")
    assert done.code == 1
    assert "SHA-256" in done.err
    assert operator.types("pack", "verify", "nothing").code == 1


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch, synthetic_pack_dir: Path, server: Server) -> PackSource:
    """The synthetic models, published on a server of this machine."""
    downloads = []
    for file in ("detector.onnx", "encoder.onnx"):
        content = (synthetic_pack_dir / file).read_bytes()
        server.serve(f"/{file}", content)
        downloads.append(Download(f"{server.url}/{file}", hashlib.sha256(content).hexdigest(), len(content)))
    pack = replace(
        SOURCES["opencv-zoo"],
        name="published",
        downloads=tuple(downloads),
        detector="detector.onnx",
        detector_layout="scrfd",
        encoder="encoder.onnx",
        input_size=256,
        fallback_size=0,
        mean=127.5,
        std=127.5,
    )
    monkeypatch.setitem(SOURCES, "published", pack)
    return pack


def test_nothing_is_downloaded_before_the_terms_are_accepted(
    operator: Operator, published: PackSource, tmp_path: Path
) -> None:
    done = operator.types("pack", "add", "published")
    assert done.code == 1
    assert "nothing was downloaded" in done.err
    assert published.licence in done.out
    assert leftovers(tmp_path / "var" / "packs") == []


def test_a_published_pack_is_downloaded_and_added(
    operator: Operator, published: PackSource, synthetic_pack_dir: Path, tmp_path: Path
) -> None:
    done = operator.types("pack", "add", "published", "--accept-licence")
    assert done.code == 0, done.err
    manifest = read_manifest(tmp_path / "var" / "packs" / "published")
    assert manifest.source == published.downloads[0].url
    assert manifest.encoder.sha256 == read_manifest(synthetic_pack_dir).encoder.sha256


def test_a_download_that_is_not_the_expected_one_is_not_added(
    operator: Operator, published: PackSource, server: Server, tmp_path: Path
) -> None:
    server.serve("/encoder.onnx", b"something else")
    done = operator.types("pack", "add", "published", "--accept-licence")
    assert done.code == 1
    assert "SHA-256 is" in done.err
    assert leftovers(tmp_path / "var" / "packs") == []


def test_a_table_is_measured_and_kept(operator: Operator, synthetic_pack_dir: Path, tmp_path: Path) -> None:
    operator.types("pack", "add", str(synthetic_pack_dir))
    folder = tmp_path / "portraits"
    folder.mkdir()
    for person in range(60):
        (folder / f"{person}.jpg").write_bytes(synthetic_portrait(person, size=(120, 148)))
    rows = "".join(f"{person}.jpg,{person}\n" for person in range(60))
    (folder / "manifest.csv").write_text("path,identity\n" + rows)
    before = read_manifest(tmp_path / "var" / "packs" / "synthetic")
    done = operator.types("pack", "calibrate", "synthetic", str(folder), "--source", "drawn persons")
    assert done.code == 0, done.err
    after = read_manifest(tmp_path / "var" / "packs" / "synthetic")
    assert after.contract_id == before.contract_id
    assert after.calibration != before.calibration
    assert after.calibration_source == "drawn persons: 1,770 pairs of different persons"
    assert dict(after.calibration)[0.1] == pytest.approx(0.245, rel=0.3)
