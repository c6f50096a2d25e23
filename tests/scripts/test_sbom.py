"""The bill of materials: valid, complete, and without a word about where anything was downloaded."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from index.pack_manifest import read_manifest
from scripts.sbom import completed
from tests.synthetic import make_synthetic_pack

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("sbom") / "packages.json"
    options = ["--short-PURLs", "--output-reproducible", "--sv", "1.6", "-o", str(path)]
    tool = [sys.executable, "-W", "ignore", "-m", "cyclonedx_py"]
    command = [*tool, "requirements", "requirements.lock", "--pyproject", "pyproject.toml", *options]
    subprocess.run(command, cwd=ROOT, check=True)
    read: dict[str, Any] = json.loads(path.read_bytes())
    return read


def test_every_locked_package_and_model_is_listed_with_its_hashes(
    packages: dict[str, Any], tmp_path: Path
) -> None:
    pack = read_manifest(make_synthetic_pack(tmp_path, landmarks=True))
    document = completed(packages, [pack])
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    pinned = set(re.findall(r"^([\w.-]+)==([^ \\;]+)", lock, flags=re.MULTILINE))
    listed = {(part["name"], part["version"]) for part in document["components"] if part["type"] == "library"}
    assert listed == pinned
    hashes = {
        found["content"]
        for part in document["components"]
        for held in (part, *part.get("externalReferences", []))
        for found in held.get("hashes", [])
    }
    assert hashes >= set(re.findall(r"--hash=sha256:([0-9a-f]{64})", lock))
    assert len(pack.models) == 3
    assert hashes >= {model.sha256 for model in pack.models}
    assert not JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(document))


def test_no_component_names_an_address(packages: dict[str, Any]) -> None:
    document = completed(packages, [])
    assert "://" in json.dumps(packages["components"])
    assert "://" not in json.dumps(document["components"])
    assert "://" not in json.dumps(document["dependencies"])
