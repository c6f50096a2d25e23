"""`oneperson evaluate`: one command, one folder, and again where it stopped."""

import json
from pathlib import Path

import pytest

from tests.scripts.commands import Operator
from tests.synthetic import synthetic_portrait


@pytest.fixture
def operator(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Operator:
    """Somebody with a data folder of their own."""
    typing = Operator(monkeypatch, capsys)
    typing.set("data_dir", tmp_path / "var")
    return typing


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """Two pictures of each of six persons."""
    folder = tmp_path / "labelled"
    folder.mkdir()
    rows = ["path,identity"]
    for person in range(6):
        for shot in range(2):
            (folder / f"{person}-{shot}.jpg").write_bytes(synthetic_portrait(person, shot, size=(180, 220)))
            rows.append(f"{person}-{shot}.jpg,{person}")
    (folder / "manifest.csv").write_text("\n".join(rows))
    return folder


def test_everything_is_written(
    operator: Operator, labelled: Path, synthetic_pack_dir: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = operator.types("evaluate", str(labelled), "--pack", str(synthetic_pack_dir), "--out", str(out))
    assert done.code == 0, done.err
    assert {path.name for path in out.iterdir()} == {
        "report.json",
        "det.png",
        "scores.png",
        "errors.html",
        "failures.csv",
        "templates",
    }
    report = json.loads((out / "report.json").read_text())
    assert report["pack"] == "synthetic 1"
    assert report["rank1"]["value"] == 1.0
    assert "rank 1               1.0000" in done.out
    assert "12 of 12 (100.0 %)" in done.err


def test_each_group_is_measured_by_itself(
    operator: Operator, labelled: Path, synthetic_pack_dir: Path, tmp_path: Path
) -> None:
    manifest = labelled / "manifest.csv"
    head, *rows = manifest.read_text().splitlines()
    groups = ["f"] * 6 + ["m"] * 5 + ["x"]
    lines = [f"{head},sex", *(f"{row},{group}" for row, group in zip(rows, groups, strict=True))]
    manifest.write_text("\n".join(lines))
    command = ["evaluate", str(labelled), "--pack", str(synthetic_pack_dir), "--out", str(tmp_path / "out")]
    done = operator.types(*command, "--by", "sex")
    assert done.code == 0, done.err
    found = json.loads((tmp_path / "out" / "report.json").read_text())["groups"]
    assert (found["f"]["images"], found["f"]["identities"], found["m"]["images"]) == (6, 3, 5)
    assert found["f"]["rank1"]["value"] == 1.0
    assert "no identity has two pictures" in found["x"]["reason"]
    assert "sex m: 5 pictures of 3 identities" in done.out
    refused = operator.types(*command, "--by", "age")
    assert refused.code != 0
    assert "no column age" in refused.err


def test_a_second_run_gives_the_same_report(
    operator: Operator, labelled: Path, synthetic_pack_dir: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command = ["evaluate", str(labelled), "--pack", str(synthetic_pack_dir), "--out", str(out)]
    operator.types(*command)
    first = (out / "report.json").read_text()
    done = operator.types(*command, "--threads", "1")
    assert done.code == 0
    assert (out / "report.json").read_text() == first
    assert "0.0/s" in done.err


@pytest.mark.parametrize(
    ("manifest", "named"),
    [
        (None, "is missing; list the pictures there"),
        ("path,identity\nx.jpg,1\n", "line 2: there is no file 'x.jpg'"),
        ("path,identity\n0-0.jpg,1\n1-0.jpg,2\n", "no identity has two pictures"),
    ],
)
def test_what_cannot_be_evaluated_is_said_in_one_line(
    operator: Operator,
    labelled: Path,
    synthetic_pack_dir: Path,
    tmp_path: Path,
    manifest: str | None,
    named: str,
) -> None:
    (labelled / "manifest.csv").unlink()
    if manifest is not None:
        (labelled / "manifest.csv").write_text(manifest)
    done = operator.types(
        "evaluate", str(labelled), "--pack", str(synthetic_pack_dir), "--out", str(tmp_path / "out")
    )
    assert done.code == 1
    assert named in done.err
    assert "Traceback" not in done.err
    assert not (tmp_path / "out" / "report.json").exists()


def test_an_unknown_pack_is_named(operator: Operator, labelled: Path, tmp_path: Path) -> None:
    done = operator.types("evaluate", str(labelled), "--pack", "nothing", "--out", str(tmp_path / "out"))
    assert done.code == 2
    assert "nothing" in done.err
