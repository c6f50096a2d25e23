"""False-alarm rates against populations whose true rates are known."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.calibration import Calibration, calibrate, from_pack_table
from index.errors import CalibrationError
from index.false_alarm_curves import MeasuredCurve, fit_tail
from index.non_mated import search_among_others
from index.rows import Rows
from index.types import Reference, References, Vectors

NOW = datetime(2026, 3, 4, tzinfo=UTC)
TABLE = [(0.30, 1e-3), (0.40, 1e-4), (0.46, 1e-5), (0.50, 1e-6)]


def unit(rows: np.ndarray) -> Vectors:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def population(count: int, *, rng: np.random.Generator, dimension: int = 32, spread: float = 0.0) -> Vectors:
    """Persons drawn independently; `spread` pulls some of them to a common look, which makes hubs."""
    rows = rng.standard_normal((count, dimension))
    rows[:, 0] += spread * rng.exponential(1.0, count)
    return unit(rows)


def one_each(vectors: Vectors) -> References:
    return References.of([Reference(i, person_key=i) for i in range(1, len(vectors) + 1)], vectors)


def calibrated(
    references: References,
    *,
    target: float = 0.01,
    sample: int = 4000,
    seed: int = 0,
    pairs: frozenset[tuple[int, int]] = frozenset(),
) -> Calibration:
    return calibrate(
        Rows.of(references),
        target_fpir=target,
        gallery="flagged",
        contract_id="pack-a",
        created_at=NOW,
        sample=sample,
        seed=seed,
        exclude_pairs=pairs,
    )


def by_table(
    persons: int, *, target: float = 0.01, points: Sequence[tuple[float, float]] = TABLE
) -> Calibration:
    return from_pack_table(
        points, persons=persons, target_fpir=target, gallery="flagged", contract_id="pack-a", created_at=NOW
    )


def test_each_person_searches_the_others_and_never_themselves() -> None:
    rng = np.random.default_rng(1)
    vectors = population(900, rng=rng)
    records = [Reference(i, person_key=1 + i // 3) for i in range(900, 0, -1)]
    references = References.of(records, vectors)
    searches = search_among_others(Rows.of(references), sample=10_000, seed=3)
    assert len(searches) == len(set(references.person_keys.tolist()))
    scores = references.vectors.astype(np.float64) @ references.vectors.T.astype(np.float64)
    same = references.person_keys[:, None] == references.person_keys[None, :]
    best = np.where(same, -2.0, scores).max(axis=1)
    for person, score, nearest in zip(searches.persons, searches.scores, searches.nearest, strict=True):
        own = best[references.person_keys == person]
        assert np.abs(own - score).min() < 1e-6
        assert nearest != person


def test_one_reference_is_the_probe_and_not_the_best_of_several() -> None:
    """With three references each, the mean best score must be that of a single portrait."""
    rng = np.random.default_rng(2)
    vectors = population(1500, rng=rng)
    records = [Reference(i + 1, person_key=1 + i // 3) for i in range(1500)]
    references = References.of(records, vectors)
    searches = search_among_others(Rows.of(references), sample=500, seed=5)
    scores = vectors.astype(np.float64) @ vectors.T.astype(np.float64)
    same = (np.arange(1500)[:, None] // 3) == (np.arange(1500)[None, :] // 3)
    single = np.where(same, -2.0, scores).max(axis=1)
    best_of_three = single.reshape(500, 3).max(axis=1).mean()
    assert abs(searches.scores.mean() - single.mean()) < 0.25 * (best_of_three - single.mean())


def test_excluded_pairs_do_not_meet_in_either_order() -> None:
    rng = np.random.default_rng(3)
    vectors = population(300, rng=rng)
    vectors[10] = vectors[200]
    references = one_each(vectors)
    rows = Rows.of(references)
    plain = search_among_others(rows, sample=300, seed=0)
    apart = search_among_others(rows, sample=300, seed=0, exclude_pairs={(201, 11), (11, 9999)})
    assert plain.scores[10] == pytest.approx(1.0, abs=1e-6)
    assert max(apart.scores[10], apart.scores[200]) < 0.95
    assert apart.nearest[10] != 201


def test_more_persons_than_blocks_are_all_searched() -> None:
    rng = np.random.default_rng(4)
    vectors = population(5000, rng=rng, dimension=8)
    searches = search_among_others(Rows.of(one_each(vectors)), sample=1100, seed=1)
    rows = searches.persons - 1
    scores = vectors[rows] @ vectors.T
    scores[np.arange(len(rows)), rows] = -2
    np.testing.assert_allclose(searches.scores, scores.max(axis=1), atol=1e-6)
    np.testing.assert_array_equal(searches.nearest, scores.argmax(axis=1) + 1)


def test_the_same_seed_gives_the_same_calibration() -> None:
    references = one_each(population(400, rng=np.random.default_rng(5)))
    assert calibrated(references, sample=150, seed=8) == calibrated(references, sample=150, seed=8)
    assert calibrated(references, sample=150, seed=8) != calibrated(references, sample=150, seed=9)


def test_the_share_at_the_threshold_is_the_target_or_just_below() -> None:
    references = one_each(population(1000, rng=np.random.default_rng(6)))
    calibration = calibrated(references, target=0.05)
    searches = search_among_others(Rows.of(references), sample=1000, seed=0)
    share = float(np.mean(searches.scores >= calibration.threshold))
    assert 0.045 < share <= 0.05
    assert calibration.fpir.value == pytest.approx(share)
    assert (calibration.fpir.n, calibration.sample, calibration.persons) == (1000, 1000, 1000)


def test_equal_best_scores_never_push_the_share_over_the_target() -> None:
    curve = MeasuredCurve.of(np.array([0.5] * 30 + [0.2] * 970), persons=1000, design_effect=1.0)
    threshold = curve.threshold(0.01)
    assert threshold > 0.5
    assert curve.rate(threshold).value <= 0.01


@pytest.mark.parametrize(
    ("spread", "persons", "sample"),
    [(0.0, 300, 300), (0.0, 600, 150), (1.5, 300, 300)],
    ids=["everybody sampled", "a quarter sampled", "with hubs"],
)
def test_the_interval_contains_the_true_rate_of_the_gallery(spread: float, persons: int, sample: int) -> None:
    """Fresh persons of the same population tell each gallery's true rate at its threshold.

    95 % are promised; 120 galleries and a truth known to a few per cent allow 90 %.
    """
    rng = np.random.default_rng(7)
    contained = []
    for repetition in range(120):
        gallery = population(persons, rng=rng, spread=spread)
        calibration = calibrated(one_each(gallery), target=0.05, sample=sample, seed=repetition)
        strangers = population(4000, rng=rng, spread=spread)
        truth = float(np.mean((strangers @ gallery.T).max(axis=1) >= calibration.threshold))
        contained.append(calibration.fpir.low <= truth <= calibration.fpir.high)
    assert np.mean(contained) >= 0.90


def test_an_interval_that_took_searches_for_independent_would_be_too_narrow() -> None:
    """The design effect earns its place: without it, coverage falls clearly below 95 %."""
    rng = np.random.default_rng(8)
    naive, honest = [], []
    for repetition in range(150):
        gallery = population(300, rng=rng)
        calibration = calibrated(one_each(gallery), target=0.05, seed=repetition)
        assert isinstance(calibration.curve, MeasuredCurve)
        independent = MeasuredCurve(300, 300, 1.0, calibration.curve.top, calibration.curve.quantiles)
        truth = float(np.mean((population(4000, rng=rng) @ gallery.T).max(axis=1) >= calibration.threshold))
        plain = independent.rate(calibration.threshold)
        naive.append(plain.low <= truth <= plain.high)
        honest.append(calibration.fpir.low <= truth <= calibration.fpir.high)
    assert np.mean(naive) < np.mean(honest) - 0.02


def test_undetected_duplicates_are_counted_as_outlying_and_can_be_excluded() -> None:
    rng = np.random.default_rng(9)
    vectors = population(2000, rng=rng, dimension=128)
    twice = rng.choice(2000, size=30, replace=False)
    vectors[twice[:15]] = unit(vectors[twice[15:]] + 0.06 * rng.standard_normal((15, 128)))
    pairs = frozenset((int(a) + 1, int(b) + 1) for a, b in zip(twice[:15], twice[15:], strict=True))
    polluted = calibrated(one_each(vectors))
    clean = calibrated(one_each(vectors), pairs=pairs)
    assert polluted.outlying == 30
    assert clean.outlying == 0
    assert clean.threshold < polluted.threshold - 0.1


def test_beyond_the_sample_the_rate_is_extrapolated_and_close_to_the_truth() -> None:
    """A thousand times more searches tell the truth at scores that 500 searches never saw."""
    rng = np.random.default_rng(10)
    gallery = population(2000, rng=rng, dimension=128)
    calibration = calibrated(one_each(gallery), sample=500)
    best = np.concatenate(
        [(population(4000, rng=rng, dimension=128) @ gallery.T).max(axis=1) for _ in range(12)]
    )
    assert isinstance(calibration.curve, MeasuredCurve)
    score = float(np.quantile(best, 1 - 2e-4))
    assert score > calibration.curve.top[0]
    rate = calibration.false_alarm_rate(score)
    assert rate.extrapolated
    assert 2e-5 < rate.value < 4e-3
    assert rate.low <= rate.value <= rate.high
    assert rate.high >= 2e-4


def test_a_target_below_the_sample_takes_its_threshold_from_the_tail() -> None:
    references = one_each(population(400, rng=np.random.default_rng(11)))
    calibration = calibrated(references, target=0.0005)
    assert isinstance(calibration.curve, MeasuredCurve)
    assert calibration.threshold > calibration.curve.top[0]
    assert calibration.fpir.value == pytest.approx(0.0005, rel=0.01)
    assert calibration.fpir.low == 0.0
    assert calibration.fpir.high > 0.005


@given(st.lists(st.floats(-1.2, 1.5), min_size=2, max_size=20), st.sampled_from([300, 5000]))
def test_the_rate_falls_with_the_score_and_never_reaches_zero(scores: list[float], count: int) -> None:
    best = np.random.default_rng(count).normal(0.3, 0.05, count)
    for calibration in (_of_scores(best), by_table(50)):
        rates = [calibration.false_alarm_rate(score) for score in sorted(scores)]
        assert all(a.value >= b.value > 0.0 for a, b in pairwise(rates))
        assert all(0.0 <= rate.low <= rate.value <= rate.high <= 1.0 for rate in rates)


def _of_scores(best: np.ndarray) -> Calibration:
    """A calibration whose curve has these best scores."""
    base = by_table(len(best))
    curve = MeasuredCurve.of(best, persons=len(best), design_effect=2.0)
    return Calibration.from_document(
        base.as_document() | {"method": "measured", "curve": curve.as_document(), "sample": len(best)}
    )


def test_a_large_sample_keeps_its_rates_below_the_scores_stored_one_by_one() -> None:
    best = np.random.default_rng(12).normal(0.3, 0.05, 20_000)
    calibration = _of_scores(best)
    for score in (0.2, 0.28, 0.35, 0.39, 0.45):
        assert calibration.false_alarm_rate(score).value == pytest.approx(np.mean(best >= score), abs=0.004)
    assert calibration.threshold_for(0.4) == pytest.approx(np.quantile(best, 0.6), abs=0.002)
    assert len(json.dumps(calibration.as_document())) < 60_000


def test_rates_follow_the_size_of_the_gallery() -> None:
    references = one_each(population(1000, rng=np.random.default_rng(13)))
    calibration = calibrated(references)
    doubled = calibration.scale_to(2000)
    assert doubled.threshold == calibration.threshold
    assert doubled.fpir.value == pytest.approx(1 - (1 - calibration.fpir.value) ** 2)
    assert doubled.threshold_for(0.01) > calibration.threshold
    assert doubled.false_alarm_rate(doubled.threshold_for(0.01)).value <= 0.01
    assert doubled.scale_to(1000) == calibration
    assert calibration.scale_to(0).fpir.value < calibration.fpir.value


def test_a_scaled_rate_predicts_the_rate_of_the_larger_gallery() -> None:
    rng = np.random.default_rng(14)
    gallery = population(4000, rng=rng)
    small = calibrated(one_each(gallery[:1000]), target=0.05)
    strangers = population(8000, rng=rng)
    truth = float(np.mean((strangers @ gallery.T).max(axis=1) >= small.threshold))
    grown = small.scale_to(4000).fpir
    assert grown.low <= truth <= grown.high
    assert truth > 0.12


@pytest.mark.parametrize("persons", [1, 50, 3000])
def test_a_calibration_survives_json(persons: int) -> None:
    calibration = by_table(persons)
    if persons > 200:
        calibration = calibrated(one_each(population(persons, rng=np.random.default_rng(15))), sample=2500)
    again = Calibration.from_document(json.loads(json.dumps(calibration.as_document())))
    assert again == calibration
    assert again.false_alarm_rate(0.77) == calibration.false_alarm_rate(0.77)


@pytest.mark.parametrize("document", [{}, {"method": "pack"}, {"curve": 3}])
def test_a_document_that_is_no_calibration_is_refused(document: dict[str, object]) -> None:
    with pytest.raises(CalibrationError, match="cannot be read"):
        Calibration.from_document(document)


def test_too_small_a_gallery_is_not_calibrated_on_itself() -> None:
    with pytest.raises(CalibrationError, match="199 persons"):
        calibrated(one_each(population(199, rng=np.random.default_rng(16))))


@pytest.mark.parametrize("target", [0.0, 1.0, -0.1, 2.0, float("nan")])
def test_a_target_that_is_no_proportion_is_refused(target: float) -> None:
    with pytest.raises(CalibrationError, match="target"):
        by_table(10, target=target)


def test_by_the_packs_table_the_target_decides_the_threshold() -> None:
    calibration = by_table(100, target=0.01)
    assert calibration.threshold == pytest.approx(0.40, abs=1e-3)
    assert calibration.fpir.value == pytest.approx(0.01, rel=1e-6)
    assert (calibration.fpir.low, calibration.fpir.high, calibration.fpir.n) == (0.0, 1.0, 0)
    assert calibration.method == "pack"
    assert by_table(10).threshold < calibration.threshold < by_table(190).threshold


def test_between_the_tables_points_the_rate_is_log_linear() -> None:
    assert by_table(1).false_alarm_rate(0.35).value == pytest.approx(10**-3.5, rel=1e-6)


def test_beyond_the_table_the_rate_errs_towards_false_alarms_and_is_marked() -> None:
    calibration = by_table(1)
    above = calibration.false_alarm_rate(0.60)
    assert above.extrapolated
    assert above.value == pytest.approx(1e-7, rel=1e-6)
    below = calibration.false_alarm_rate(0.28)
    assert below.extrapolated
    assert below.value == pytest.approx(1e-3 * 10 ** (0.02 * 25), rel=1e-6)
    assert calibration.false_alarm_rate(-1.0).value == 1.0
    assert not calibration.false_alarm_rate(0.45).extrapolated


def test_an_empty_gallery_has_a_threshold_too() -> None:
    assert 0.0 < by_table(0).threshold <= 1.0


@pytest.mark.parametrize(
    "points",
    [[], [(0.3, 1e-3)], [(0.3, 1e-3), (0.4, 1e-3)], [(0.3, 1e-4), (0.4, 1e-3)], [(0.3, 0.1), (0.4, 0.0)]],
)
def test_a_table_that_does_not_fall_is_refused(points: list[tuple[float, float]]) -> None:
    with pytest.raises(CalibrationError, match="table"):
        by_table(10, points=points)


def test_a_threshold_from_the_table_is_a_cosine() -> None:
    assert by_table(100_000_000, target=1e-6, points=[(0.3, 0.01), (0.9, 0.001)]).threshold == 1.0


def test_the_fitted_tail_recovers_an_exponential_tail() -> None:
    rng = np.random.default_rng(17)
    scores = np.sort(0.3 + rng.exponential(0.02, 500))[::-1]
    tail = fit_tail(scores.tolist())
    assert tail.scale == pytest.approx(0.02, rel=0.15)
    assert tail.shape < 0.15


def test_a_light_tail_is_held_at_the_exponential_and_a_wild_one_at_a_quarter() -> None:
    rng = np.random.default_rng(18)
    light = np.sort(rng.uniform(0.2, 0.3, 300))[::-1]
    wild = np.sort(0.3 + 0.01 * rng.pareto(0.8, 300))[::-1]
    assert fit_tail(light.tolist()).shape == 0.0
    assert fit_tail(wild.tolist()).shape == 0.25


@given(st.floats(0.0, 0.25), st.floats(-40.0, 0.0))
def test_the_tail_and_its_inverse_agree(shape: float, log_exceedance: float) -> None:
    tail = fit_tail([0.4, 0.35, 0.32, 0.3])
    tail = type(tail)(tail.level, tail.scale, shape if shape > 1e-6 else 0.0)
    score = tail.score_at(log_exceedance)
    assert tail.log_exceedance(score) == pytest.approx(log_exceedance, rel=1e-6, abs=1e-9)
