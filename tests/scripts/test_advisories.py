"""Locked packages are compared with a copy of the advisories, as a closed network has one."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version

from scripts.advisories import advisories, concerns, locked, main

PINS = {"some-package": {Version("2.1.0")}}


def advisory(**affected: Any) -> dict[str, Any]:
    package = {"ecosystem": "PyPI", "name": "Some.Package"}
    return {"id": "OSV-1", "summary": "Reads too much", "affected": [{"package": package, **affected}]}


def events(*given: dict[str, str]) -> dict[str, Any]:
    return advisory(ranges=[{"type": "ECOSYSTEM", "events": list(given)}])


@pytest.mark.parametrize(
    ("known", "is_hit"),
    [
        (advisory(versions=["2.1"]), True),
        (advisory(versions=["2.1.1"]), False),
        (events({"introduced": "0"}), True),
        (events({"introduced": "0"}, {"fixed": "2.1.0"}), False),
        (events({"introduced": "0"}, {"fixed": "2.1.1"}), True),
        (events({"introduced": "2.2"}), False),
        (events({"introduced": "2.0"}, {"last_affected": "2.1.0"}), True),
        (events({"introduced": "1.0"}, {"last_affected": "2.0.9"}), False),
        (events({"introduced": "0"}, {"fixed": "1.0"}, {"introduced": "2.0"}), True),
        (events({"introduced": "not a version"}), True),
        (events({"introduced": "0"}) | {"withdrawn": "2026-01-01T00:00:00Z"}, False),
        (advisory(package={"ecosystem": "npm", "name": "some-package"}, versions=["2.1.0"]), False),
    ],
)
def test_an_advisory_concerns_the_versions_that_it_names(known: dict[str, Any], is_hit: bool) -> None:
    assert concerns(known, PINS) == (["some-package 2.1.0"] if is_hit else [])


def test_a_copy_is_a_folder_or_an_archive(tmp_path: Path) -> None:
    text = json.dumps(advisory(versions=["1"]))
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "OSV-1.json").write_text(text)
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("OSV-1.json", text)
    assert [*advisories(tmp_path / "folder")] == [*advisories(tmp_path / "all.zip")] == [json.loads(text)]


def test_the_end_says_whether_something_was_found_or_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    assert main([]) == 2
    assert main([str(tmp_path)]) == 2, "no advisories is not the same as no vulnerability"
    (tmp_path / "a.json").write_text(json.dumps(advisory(versions=["2.1.0"])))
    assert main([str(tmp_path)]) == 0
    name, versions = next(iter(locked([Path("requirements.lock")]).items()))
    hit = advisory(versions=[str(min(versions))])
    hit["affected"][0]["package"]["name"] = name
    (tmp_path / "b.json").write_text(json.dumps(hit))
    assert main([str(tmp_path)]) == 1
    assert f"{name} {min(versions)}: OSV-1: Reads too much" in capsys.readouterr().out
