"""`install.sh` installs nothing from a bundle that is not whole; `make bundle` tries one that is."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TAG = f"cp{sys.version_info[0]}{sys.version_info[1]}"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle in form, whose package is none: whoever gets as far as pip, fails there."""
    folder = tmp_path / "bundle"
    (folder / "wheels").mkdir(parents=True)
    shutil.copy(ROOT / "scripts" / "install.sh", folder)
    (folder / "wheels" / "oneperson-0.1.0-py3-none-any.whl").write_bytes(b"no archive")
    (folder / "requirements.lock").write_text("")
    (folder / "PYTHON").write_text(f"{TAG}\n")
    summed = sorted(path for path in folder.rglob("*") if path.is_file())
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  ./{path.relative_to(folder)}\n" for path in summed
    ]
    (folder / "SHA256SUMS").write_text("".join(lines))
    return folder


def install(bundle: Path, target: Path) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin", "PYTHON": sys.executable}
    command = ["sh", str(bundle / "install.sh"), str(target)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_a_changed_file_is_refused(bundle: Path, tmp_path: Path) -> None:
    (bundle / "requirements.lock").write_text("another\n")
    done = install(bundle, tmp_path / "target")
    assert done.returncode == 1
    assert "damaged or was changed" in done.stderr
    assert not (tmp_path / "target").exists()


def test_another_python_is_refused(bundle: Path, tmp_path: Path) -> None:
    sums, own = bundle / "SHA256SUMS", bundle / "PYTHON"
    before = hashlib.sha256(own.read_bytes()).hexdigest()
    own.write_text("cp399\n")
    sums.write_text(sums.read_text().replace(before, hashlib.sha256(own.read_bytes()).hexdigest()))
    done = install(bundle, tmp_path / "target")
    assert done.returncode == 1
    assert "needs Python 3.99" in done.stderr


def test_a_directory_in_use_is_left_alone(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "kept").write_text("kept")
    done = install(bundle, tmp_path / "target")
    assert done.returncode == 1
    assert "is not empty" in done.stderr
    assert (tmp_path / "target" / "kept").read_text() == "kept"


def test_nothing_stays_of_an_installation_that_failed(bundle: Path, tmp_path: Path) -> None:
    done = install(bundle, tmp_path / "target")
    assert done.returncode == 1
    assert "was removed" in done.stderr
    assert not (tmp_path / "target").exists()


def test_a_target_must_be_named(bundle: Path) -> None:
    done = subprocess.run(["sh", str(bundle / "install.sh")], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "name the directory" in done.stderr
