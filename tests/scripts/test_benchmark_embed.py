"""The benchmark of embedding measures both sides with the same models, and says what it cannot compare."""

import json
from pathlib import Path

import pytest

from scripts.benchmark_embed import EmbedPlan, measure_embed
from scripts.benchmark_tables import embed_table
from scripts.failures import CommandError
from tests.synthetic import synthetic_portrait


@pytest.fixture
def portraits(tmp_path: Path) -> Path:
    folder = tmp_path / "portraits"
    folder.mkdir()
    for person in range(3):
        (folder / f"{person}.jpg").write_bytes(synthetic_portrait(person))
    (folder / "notes.txt").write_text("no portrait")
    return folder


def test_both_sides_are_measured_with_the_same_models(synthetic_pack_dir: Path, portraits: Path) -> None:
    plan = EmbedPlan(synthetic_pack_dir, portraits, count=3, rounds=2)
    figures = measure_embed(plan, report=lambda _step: None)
    assert figures.portraits == 3
    assert figures.insightface is not None
    assert figures.ours.faces == figures.insightface.faces == 1
    written = json.loads(figures.as_json())
    for name in ("get_ratio", "whole_ratio", "per_s", "all_cores_ratio", "encoder_ms", "encoder_ratio"):
        assert written[name] > 0
    assert all(written["ours"][part] > 0 for part in ("decode_ms", "detect_ms", "encode_ms", "cpu_ms"))
    assert embed_table(figures).row_count == 10


@pytest.mark.faces
def test_a_detector_that_insightface_lacks_leaves_the_encoder_alone(dev_pack_dir: Path) -> None:
    figures = measure_embed(EmbedPlan(dev_pack_dir, None, count=2, rounds=1), report=lambda _step: None)
    assert figures.insightface is None
    assert figures.get_ratio is None
    assert figures.encoder_ratio > 0
    assert "scrfd" in figures.note
    assert embed_table(figures).caption == figures.note


def test_portraits_that_the_pack_cannot_use_are_refused(synthetic_pack_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").write_bytes(synthetic_portrait(1, faces=0))
    plan = EmbedPlan(synthetic_pack_dir, tmp_path, count=3, rounds=1)
    with pytest.raises(CommandError, match="admits none"):
        measure_embed(plan, report=lambda _step: None)
