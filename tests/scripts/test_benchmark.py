"""The benchmark of searches runs, finds no difference and writes every figure that it promises."""

import json
import subprocess
import sys
from pathlib import Path

PROMISED = {
    "persons",
    "dimension",
    "flat_ms",
    "lone_ms",
    "lone_ratio",
    "batch16_ratio",
    "clients16_ratio",
    "missed",
    "extra",
    "max_score_error",
    "bytes_per_reference",
    "load_s",
    "enrol_ms",
}


def test_a_small_run_writes_every_promised_figure(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    command = [sys.executable, "-m", "scripts", "benchmark", "search", "--persons", "6000", "--probes", "50"]
    done = subprocess.run(
        [*command, "--rounds", "3", "--json", str(file)],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "IndexFlatIP" in done.stdout
    figures = json.loads(file.read_text())
    assert figures.keys() >= PROMISED
    assert (figures["persons"], figures["dimension"]) == (6000, 512)
    assert (figures["missed"], figures["extra"]) == (0, 0)
    assert figures["max_score_error"] <= 1e-5
    assert all(figures[name] > 0 for name in PROMISED - {"missed", "extra", "max_score_error"})


def test_too_small_a_gallery_is_refused() -> None:
    command = [sys.executable, "-m", "scripts", "benchmark", "search", "--persons", "10"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert "1000" in done.stderr
