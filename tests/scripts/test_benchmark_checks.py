"""The benchmark of checks asks a real service, and its parts add up to what the service took."""

import json
from pathlib import Path

from scripts.benchmark_checks import ChecksPlan, measure_checks
from scripts.benchmark_tables import checks_table
from tests.synthetic import synthetic_portrait


def test_checks_of_a_real_service_are_measured_with_their_parts(
    synthetic_pack_dir: Path, tmp_path: Path
) -> None:
    for person in range(4):
        (tmp_path / f"{person}.jpg").write_bytes(synthetic_portrait(person))
    plan = ChecksPlan(300, clients=2, seconds=1.0, pack=synthetic_pack_dir, portraits=tmp_path)
    figures = measure_checks(plan, report=lambda _step: None)
    for phase in (figures.lone, figures.together):
        assert phase.checks > 0
        assert phase.per_s > 0
        assert phase.p50_ms <= phase.p99_ms
        assert phase.cpu_ms > 0
        assert phase.parts_ms.keys() >= {"decode", "detect", "encode", "search", "database", "chain", "rest"}
        assert min(phase.parts_ms.values()) >= 0
    assert figures.lone.clients == 1
    assert any(phase.holds for phase in (figures.lone, figures.together))
    assert json.loads(figures.as_json())["database"] == "sqlite"
    assert checks_table(figures).row_count > 10
