"""All pairs are compared once, and thresholds keep their promise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from index.comparisons import BINS, compare_all, design_effect
from index.extraction import Template


def made(counts: list[int], *, seed: int = 0, dimension: int = 8) -> tuple[list[Template], NDArray[np.int64]]:
    """Templates of persons with so many pictures each, pictures of a person near to one another."""
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    vectors = random.normal(size=(len(counts), dimension))[labels] + 0.7 * random.normal(
        size=(len(labels), dimension)
    )
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return list(vectors.astype(np.float32)), labels


def brute(templates: list[Template], labels: NDArray[np.int64]) -> tuple[list[float], list[float]]:
    mated: list[float] = []
    others: list[float] = []
    for i, one in enumerate(templates):
        for j in range(i + 1, len(templates)):
            (mated if labels[i] == labels[j] else others).append(float(one @ templates[j]))
    return sorted(mated), sorted(others, reverse=True)


@settings(max_examples=25, deadline=None)
@given(counts=st.lists(st.integers(1, 5), min_size=2, max_size=12), seed=st.integers(0, 99))
def test_every_pair_is_compared_once(counts: list[int], seed: int) -> None:
    templates, labels = made(counts, seed=seed)
    mated, others = brute(templates, labels)
    found = compare_all(templates, labels, max_far=0.2)
    assert sorted(found.mated_scores) == pytest.approx(mated, abs=1e-5)
    assert found.non_mated_pairs == len(others)
    assert list(found.non_mated_top) == pytest.approx(others[: len(found.non_mated_top)], abs=1e-5)
    assert len(found.non_mated_top) == min(len(others), int(0.2 * len(others) + 1e-9) + 1)
    assert found.mated_histogram.sum() == len(mated)
    assert found.non_mated_histogram.sum() == len(others)


def test_blocks_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    templates, labels = made([3] * 20)
    whole = compare_all(templates, labels, max_far=0.1)
    monkeypatch.setattr("index.comparisons._BLOCK_SCORES", 7 * 60)
    pieces = compare_all(templates, labels, max_far=0.1)
    assert pieces.non_mated_top == pytest.approx(whole.non_mated_top, abs=1e-6)
    assert sorted(pieces.mated_scores) == pytest.approx(sorted(whole.mated_scores), abs=1e-6)
    assert pieces.non_mated_histogram.sum() == whole.non_mated_histogram.sum()


@pytest.mark.parametrize("far", [0.2, 0.1, 0.013, 0.001])
def test_a_threshold_is_the_lowest_that_keeps_the_rate(far: float) -> None:
    templates, labels = made([2] * 30)
    _, others = brute(templates, labels)
    found = compare_all(templates, labels, max_far=0.2)
    at = found.threshold_for(far)
    assert found.match_rate(at) <= far
    just_below = float(np.nextafter(at, -1))
    assert found.match_rate(just_below) > far or found.match_rate(just_below) == pytest.approx(
        far + 1 / len(others)
    )


def test_scores_that_tie_count_together() -> None:
    same: Template = np.array([1.0, 0.0], np.float32)
    found = compare_all([same] * 4, np.arange(4), max_far=0.5)
    assert found.match_rate(found.threshold_for(0.5)) == 0.0


def test_pictures_without_a_template_are_left_out() -> None:
    templates, labels = made([2, 2, 2])
    some: list[Template | None] = [None, *templates[1:]]
    found = compare_all(some, labels, max_far=0.5)
    assert len(found.mated_scores) == 2
    assert found.non_mated_pairs == 8


def test_nothing_compared_is_no_rate() -> None:
    found = compare_all([None, None], np.array([0, 1]), max_far=0.5)
    rate = found.accept_rate(0.5)
    assert (rate.low, rate.high, rate.n) == (0.0, 1.0, 0)
    assert found.threshold_for(0.1) == -1.0


def test_the_histograms_lie_where_the_scores_are() -> None:
    opposite = [np.array(v, np.float32) for v in ([1.0, 0.0], [1.0, 0.0], [-1.0, 0.0])]
    found = compare_all(opposite, np.array([0, 0, 1]), max_far=0.5)
    assert found.mated_histogram[BINS - 1] == 1
    assert found.non_mated_histogram[0] == 2


def test_independent_pairs_have_no_design_effect() -> None:
    random = np.random.default_rng(1)
    accepted = random.random(4000) < 0.9
    assert design_effect(accepted, np.arange(4000)) == pytest.approx(1.0, abs=0.05)


def test_pairs_that_stand_and_fall_together_count_once() -> None:
    random = np.random.default_rng(1)
    accepted = np.repeat(random.random(400) < 0.9, 10)
    assert design_effect(accepted, np.repeat(np.arange(400), 10)) == pytest.approx(10.0, rel=0.05)


def test_without_any_error_every_person_counts_once() -> None:
    assert design_effect(np.ones(40, bool), np.repeat(np.arange(4), 10)) == 10.0


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    random = np.random.default_rng(3)
    holds = 0
    for _ in range(200):
        rates = random.beta(9, 1, size=60)
        accepted = random.random((60, 10)) < rates[:, None]
        templates: list[Template] = []
        found = compare_all(templates, np.empty(0, np.int64), max_far=0.5)
        rate = type(found)(
            mated_scores=accepted.reshape(-1).astype(float),
            mated_labels=np.repeat(np.arange(60), 10),
            non_mated_top=np.empty(0),
            non_mated_pairs=0,
            mated_histogram=found.mated_histogram,
            non_mated_histogram=found.non_mated_histogram,
        ).accept_rate(0.5)
        holds += rate.low <= 0.9 <= rate.high
    assert holds >= 180
