"""A wheel carries everything that the service reads at run time, and nothing else."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("index", "service", "scripts", "models")
NOT_CARRIED = {".sh"}
"""Kinds of files under the packages that only a checkout has."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from a copy of the sources, as the container image builds it."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source / name)
    for name in PACKAGES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    # Stands for a pack that a release brings, so that packaging is tested before there is one.
    pack = source / "models" / "probe-pack"
    pack.mkdir(parents=True)
    (pack / "pack.toml").write_text("name = 'probe'\n")
    (pack / "encoder.onnx").write_bytes(b"weights")
    out = tmp_path_factory.mktemp("wheel")
    build = f"from setuptools import build_meta; build_meta.build_wheel({str(out)!r})"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True)
    return next(out.glob("oneperson-*.whl"))


def names_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_every_file_of_the_packages_is_in_the_wheel(wheel: Path) -> None:
    files = {
        str(path.relative_to(ROOT))
        for name in PACKAGES
        for path in (ROOT / name).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix not in NOT_CARRIED
    }
    assert files - names_in(wheel) == set()


def test_a_pack_travels_with_its_weights(wheel: Path) -> None:
    assert {"models/probe-pack/pack.toml", "models/probe-pack/encoder.onnx"} <= names_in(wheel)


def test_tests_documents_and_data_stay_out(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in names_in(wheel)}
    assert {top for top in tops if not top.endswith(".dist-info")} <= set(PACKAGES)


def test_an_unpacked_wheel_runs_on_its_own_files(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    script = (
        "import service.engine, service.codes, service.database, service.language as words;"
        "print(service.engine.DELIVERED_PACKS);"
        "service.codes.load_codes();"
        "[words.catalogue(language) for language in words.LANGUAGES];"
        "database = service.database.Database('sqlite://');"
        "database.migrate()"
    )
    ran = subprocess.run(
        [sys.executable, "-P", "-c", script],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "installed"), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert Path(ran.stdout.strip()) == tmp_path / "installed" / "models"
