"""The figures are those of the protocol, counted again by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index.errors import EvaluationError
from index.evaluation import FPIR_TARGETS, NOBODY, evaluate_outcomes, threshold_for
from index.labelled import LabelledPicture
from index.labelled_templates import Outcome


def outcome(*values: float) -> Outcome:
    vector = np.array(values, np.float32)
    return Outcome((vector / np.linalg.norm(vector)).astype(np.float32))


FAILED = Outcome(None, ("no-face",))


def pictures(labels: str) -> list[LabelledPicture]:
    return [LabelledPicture(f"{place}.jpg", label) for place, label in enumerate(labels)]


def test_the_first_picture_is_enrolled_and_the_second_searched() -> None:
    found = evaluate_outcomes(
        pictures("aabbb"),
        [outcome(1, 0, 0), outcome(1, 0.1, 0), outcome(0, 1, 0), outcome(0, 1, 0.1), outcome(0, 0, 1)],
    )
    assert found.mated.probes.tolist() == [1, 3]
    assert found.mated.mates.tolist() == [0, 2]
    assert found.mated.rivals.tolist() == [2, 0]
    assert found.rank1.value == 1.0
    assert (found.images, found.identities) == (5, 2)
    assert found.comparisons.non_mated_pairs == 6
    assert len(found.comparisons.mated_scores) == 4


def test_order_in_the_manifest_decides_and_not_the_name() -> None:
    rows = [LabelledPicture("z.jpg", "a"), LabelledPicture("a.jpg", "a"), LabelledPicture("b.jpg", "b")]
    found = evaluate_outcomes(rows, [outcome(1, 0), outcome(1, 0.1), outcome(0, 1)])
    assert (found.mated.mates.tolist(), found.mated.probes.tolist()) == ([0], [1])


def test_a_single_picture_is_a_non_mated_probe_that_does_not_find_itself() -> None:
    found = evaluate_outcomes(pictures("aab"), [outcome(1, 0, 0), outcome(1, 0.1, 0), outcome(0.5, 1, 0)])
    assert found.non_mated.probes.tolist() == [1, 2]
    assert found.non_mated.rivals.tolist() == [2, 0]
    assert found.non_mated.rival_scores[1] == pytest.approx(0.5 / np.sqrt(1.25), abs=1e-6)


def test_a_mate_below_somebody_else_is_not_first() -> None:
    found = evaluate_outcomes(
        pictures("aabc"), [outcome(0, 1), outcome(1, 0.2), outcome(1, 0), outcome(0.9, 0.1)]
    )
    assert found.mated.ranks.tolist() == [3]
    assert found.rank1.value == 0.0


def test_a_tie_counts_against_the_mate() -> None:
    found = evaluate_outcomes(pictures("aabc"), [outcome(1, 0), outcome(1, 0), outcome(1, 0), outcome(0, 1)])
    assert found.mated.ranks.tolist() == [2]


@pytest.mark.parametrize("failed", [0, 1])
def test_a_failed_picture_is_a_miss(failed: int) -> None:
    outcomes = [outcome(1, 0, 0), outcome(1, 0, 0), outcome(0, 1, 0), outcome(0, 1, 0), outcome(0, 0, 1)]
    outcomes[failed] = FAILED
    found = evaluate_outcomes(pictures("aabbc"), outcomes)
    assert found.rank1.value == 0.5
    assert found.rank1.n == 2
    assert all(rate.value >= 0.5 for rate in found.fnir.values())
    assert found.failure_to_enrol.value == pytest.approx(0.2)
    assert found.mated.ranks[0] == 0


def test_a_person_whose_reference_failed_is_nobodys_candidate() -> None:
    outcomes = [FAILED, outcome(1, 0), outcome(1, 0.1), outcome(0.1, 1)]
    found = evaluate_outcomes(pictures("aabc"), outcomes)
    assert set(found.non_mated.rivals.tolist()) <= {2, 3}


def test_a_failed_probe_is_no_non_mated_search() -> None:
    outcomes = [outcome(1, 0), FAILED, outcome(0, 1), outcome(0.7, 0.7), outcome(0.5, 0.7)]
    found = evaluate_outcomes(pictures("aabcd"), outcomes)
    assert found.non_mated.rivals[0] == NOBODY
    assert np.isfinite(found.non_mated.rival_scores).sum() == 3


def test_without_second_pictures_there_is_nothing_to_measure() -> None:
    with pytest.raises(EvaluationError, match="no identity has two pictures"):
        evaluate_outcomes(pictures("ab"), [outcome(1, 0), outcome(0, 1)])


def test_when_everything_failed_the_failures_are_pointed_at() -> None:
    with pytest.raises(EvaluationError, match="fewer than two identities gave a template"):
        evaluate_outcomes(pictures("aab"), [FAILED] * 3)


@settings(max_examples=60, deadline=None)
@given(
    scores=st.lists(
        st.floats(-1, 1, allow_subnormal=False).map(lambda v: round(v, 2)), min_size=1, max_size=80
    ),
    target=st.sampled_from([0.5, 0.1, 0.01, 0.001]),
)
def test_a_threshold_keeps_its_target_and_no_lower_one_does(scores: list[float], target: float) -> None:
    values = np.array(scores)
    at = threshold_for(values, target)
    assert (values >= at).mean() <= target
    below = values[values < at]
    if len(below):
        assert (values >= below.max()).mean() > target


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000))
def test_figures_equal_a_count_by_hand(seed: int) -> None:
    random = np.random.default_rng(seed)
    labels = [f"p{i}" for i in range(40) for _ in range(random.integers(1, 4))]
    centres = {label: random.normal(size=6) for label in labels}
    outcomes = [
        FAILED if random.random() < 0.05 else outcome(*(centres[label] + 0.8 * random.normal(size=6)))
        for label in labels
    ]
    rows = [LabelledPicture(f"{place}.jpg", label) for place, label in enumerate(labels)]
    found = evaluate_outcomes(rows, outcomes)
    places: dict[str, list[int]] = {}
    for place, label in enumerate(labels):
        places.setdefault(label, []).append(place)
    gallery = {label: outcomes[own[0]].template for label, own in places.items()}
    first, mate_scores, false_scores = 0, [], []
    for label, own in places.items():
        probe = outcomes[own[1] if len(own) > 1 else own[0]].template
        others = [
            float(probe @ other)
            for name, other in gallery.items()
            if name != label and other is not None and probe is not None
        ]
        if others:
            false_scores.append(max(others))
        if len(own) > 1:
            mate = gallery[label]
            score = float(probe @ mate) if probe is not None and mate is not None else -np.inf
            mate_scores.append(score)
            first += score > max(others, default=-np.inf)
    assert found.rank1.value == pytest.approx(first / len(mate_scores))
    for target in FPIR_TARGETS:
        at = threshold_for(np.array(false_scores), target)
        assert found.fpir_thresholds[target] == pytest.approx(at, abs=1e-5)
        assert found.fnir[target].value == pytest.approx(
            (np.array(mate_scores) < at).mean(), abs=1.5 / len(mate_scores)
        )
