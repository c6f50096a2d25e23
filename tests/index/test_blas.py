"""Choosing kernels by processor flags."""

import subprocess
import sys
from pathlib import Path

import pytest

from index.blas import tune_blas

AVX512 = "avx2 fma avx512f avx512cd avx512bw avx512dq avx512vl"


@pytest.mark.parametrize(
    ("flags", "kernels"),
    [(AVX512, "SkylakeX"), ("sse4_2 avx2 fma avx512f", "Haswell"), ("sse4_2 avx", None), ("", None)],
)
def test_the_processors_flags_choose_the_kernels(tmp_path: Path, flags: str, kernels: str | None) -> None:
    listing = tmp_path / "cpuinfo"
    listing.write_text(f"processor\t: 0\nmodel name\t: some\nflags\t\t: fpu {flags}\n\nprocessor\t: 1\n")
    environment: dict[str, str] = {}
    tune_blas(environment, cpu_info=listing)
    assert environment.get("OPENBLAS_CORETYPE") == kernels
    assert environment["OMP_WAIT_POLICY"] == "PASSIVE"
    assert environment["OPENBLAS_THREAD_TIMEOUT"] == "4"


def test_what_the_operator_has_set_stays(tmp_path: Path) -> None:
    listing = tmp_path / "cpuinfo"
    listing.write_text(f"flags : {AVX512}\n")
    chosen = {"OPENBLAS_CORETYPE": "Zen", "OMP_WAIT_POLICY": "ACTIVE", "OPENBLAS_THREAD_TIMEOUT": "10"}
    environment = dict(chosen)
    tune_blas(environment, cpu_info=listing)
    assert environment == chosen


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe flags", b"flags"])
def test_an_unreadable_list_leaves_the_kernels_to_openblas(tmp_path: Path, content: bytes | None) -> None:
    listing = tmp_path / "cpuinfo"
    if content is not None:
        listing.write_bytes(content)
    environment: dict[str, str] = {}
    tune_blas(environment, cpu_info=listing)
    assert "OPENBLAS_CORETYPE" not in environment


def test_tuning_imports_neither_numpy_nor_faiss() -> None:
    """Both read the settings at their import, so the module that makes them must come first."""
    program = (
        "import index.blas, sys; index.blas.tune_blas();print('numpy' in sys.modules, 'faiss' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
