"""The table is measured on pairs of different persons, and only where there are enough."""

from pathlib import Path

import numpy as np
import pytest

from index.errors import CalibrationError
from index.labelled import LabelledPicture
from index.labelled_templates import Outcome
from index.pack import PackManifest, load_pack
from index.pack_calibration import FEWEST_PAIRS, measure_match_rates, with_match_rates


def persons(count: int, *, dimension: int = 16) -> tuple[list[LabelledPicture], list[Outcome]]:
    vectors = np.random.default_rng(2).normal(size=(count, dimension)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return [LabelledPicture(f"{i}.jpg", str(i)) for i in range(count)], [Outcome(v) for v in vectors]


def test_rates_are_shares_of_pairs() -> None:
    rows, outcomes = persons(300)
    points, pairs = measure_match_rates(rows, outcomes)
    vectors = np.stack([o.template for o in outcomes if o.template is not None])
    scores = (vectors @ vectors.T)[np.triu_indices(300, 1)]
    assert pairs == 300 * 299 // 2
    for threshold, rate in points:
        assert rate == pytest.approx((scores >= threshold).mean(), rel=0.01)
        assert rate * pairs >= FEWEST_PAIRS * 0.99
    thresholds = [threshold for threshold, _ in points]
    assert thresholds == sorted(thresholds)


def test_pairs_of_one_person_are_left_out() -> None:
    rows, outcomes = persons(200)
    doubled = [*rows, *(LabelledPicture(f"again-{row.path}", row.identity) for row in rows)]
    points, _ = measure_match_rates(doubled, outcomes * 2)
    assert max(threshold for threshold, _ in points) < 0.9


def test_too_few_persons_are_refused() -> None:
    with pytest.raises(CalibrationError, match="too few"):
        measure_match_rates(*persons(5))


def test_the_table_does_not_change_the_contract(synthetic_pack_dir: Path) -> None:
    manifest = load_pack(synthetic_pack_dir).manifest
    changed: PackManifest = with_match_rates(manifest, ((0.2, 0.1), (0.3, 0.01)), source="some")
    assert changed.contract_id == manifest.contract_id
    assert changed.calibration == ((0.2, 0.1), (0.3, 0.01))
