"""`oneperson benchmark accuracy`, whole, on invented persons."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from scripts.accuracy import Identity, is_mate_first, is_mate_returned, read_identities
from scripts.failures import CommandError
from tests.scripts.commands import Operator
from tests.synthetic import synthetic_portrait

PERSONS = 8


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """Two pictures of each person, one of one, and one whose second picture shows nobody."""
    folder = tmp_path / "labelled"
    folder.mkdir()
    lines = []
    for person in range(PERSONS):
        for shot in range(2):
            lines.append((f"{person}-{shot}.jpg", f"person {person}", "even" if person % 2 == 0 else "odd"))
            (folder / f"{person}-{shot}.jpg").write_bytes(synthetic_portrait(person, shot))
    (folder / "7-1.jpg").write_bytes(synthetic_portrait(7, 1, faces=0))
    (folder / "single.jpg").write_bytes(synthetic_portrait(90))
    lines.append(("single.jpg", "somebody", "even"))
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("path", "identity", "source"), *lines])
    return folder


@pytest.mark.enable_socket
def test_command_measures_both_ways_and_writes_them_down(
    labelled: Path,
    tmp_path: Path,
    synthetic_pack_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    operator = Operator(monkeypatch, capsys)
    document = tmp_path / "accuracy.json"
    done = operator.types(
        "benchmark",
        "accuracy",
        str(labelled),
        "--pack",
        str(synthetic_pack_dir),
        "--target-fpir",
        "0.001",
        "--json",
        str(document),
    )
    assert done.code == 0, done.err
    assert "mate scores highest, even" in done.out
    measured = json.loads(document.read_text(encoding="utf-8"))
    even, odd = measured["closed"]["even"], measured["closed"]["odd"]
    assert (even["value"], even["n"]) == (1.0, 4)
    # The picture without a face is a miss; it is not left out of the count.
    assert (odd["value"], odd["n"]) == (0.75, 4)
    opened = measured["open"]
    assert opened["persons"] == 5
    assert opened["observed"]["n"] == 4
    assert opened["mates_returned"]["n"] == 4
    assert opened["mates_returned"]["value"] == 1.0
    assert opened["inside"] == (
        opened["stated"]["low"] <= opened["observed"]["value"] <= opened["stated"]["high"]
    )
    assert opened["stated"]["value"] == pytest.approx(0.001, rel=0.5)


def test_first_two_pictures_of_each_identity_are_taken_in_the_order_of_the_manifest(labelled: Path) -> None:
    identities = read_identities(labelled)
    assert len(identities) == PERSONS + 1
    assert identities[1] == Identity("L000001", "odd", "1-0.jpg", "1-1.jpg")
    assert identities[-1].second is None
    assert len({identity.person_id for identity in identities}) == len(identities)


def test_manifest_without_sources_is_one_collection(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text("path,identity\na.jpg,A\nb.jpg,B\nc.jpg,A\n", encoding="utf-8")
    assert [(i.source, i.first, i.second) for i in read_identities(tmp_path)] == [
        ("all", "a.jpg", "c.jpg"),
        ("all", "b.jpg", None),
    ]


@pytest.mark.parametrize("content", [None, "", "path,identity\n", "file,person\na.jpg,A\n"])
def test_manifest_that_cannot_be_used_is_told(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "manifest.csv").write_text(content, encoding="utf-8")
    with pytest.raises(CommandError, match="path"):
        read_identities(tmp_path)


@pytest.mark.parametrize(
    ("candidates", "first", "returned"),
    [([], False, False), (["P1"], True, True), (["P2", "P1"], False, True), (["P2"], False, False)],
)
def test_mate_is_first_returned_or_missed(candidates: list[str], first: bool, returned: bool) -> None:
    identity = Identity("P1", "all", "a.jpg", "b.jpg")
    check: dict[str, Any] = {"candidates": [{"person_id": person} for person in candidates]}
    assert is_mate_first(identity, check) is first
    assert is_mate_returned(identity, check) is returned
