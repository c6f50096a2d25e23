"""Comparison with exact search tells what is missing, what is too much, and how far scores are off."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from index.faiss_gallery import FaissGallery
from index.gallery import ExactGallery
from index.recall import compare_with_exact, measure_recall, search_exactly
from index.types import Candidate, Reference, References, SearchFilter, Vectors


def some_references(count: int, *, portraits: int = 1) -> References:
    rows = np.random.default_rng(1).standard_normal((count, 64))
    vectors = np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)
    return References.of([Reference(i + 1, 1 + i // portraits) for i in range(count)], vectors)


class ForgetfulGallery(ExactGallery):
    """Loses person 1, makes up person 999 and adds a little to every score."""

    def search(
        self,
        probes: Vectors,
        *,
        limit: int,
        threshold: float = -1.0,
        exclude: Sequence[frozenset[int]] | None = None,
        where: SearchFilter | None = None,
    ) -> list[list[Candidate]]:
        found = super().search(probes, limit=limit, threshold=threshold, exclude=exclude, where=where)
        return [
            [replace(c, score=c.score + 1e-3) for c in candidates if c.person_key != 1]
            + [Candidate(99, 999, 999, 0.5)]
            for candidates in found
        ]


@pytest.mark.parametrize("portraits", [1, 3])
@pytest.mark.parametrize("threshold", [0.2, 0.35])
def test_blocked_exact_search_equals_the_oracle(portraits: int, threshold: float) -> None:
    references = some_references(9000, portraits=portraits)
    probes = references.vectors[:300] * np.float32(0.8) + references.vectors[300:600] * np.float32(0.6)
    probes /= np.linalg.norm(probes, axis=1, keepdims=True)
    oracle = ExactGallery(64, references).search(probes, limit=7, threshold=threshold)
    assert search_exactly(references, probes, limit=7, threshold=threshold) == oracle


def test_equal_answers_have_no_differences_and_a_recall_of_one() -> None:
    references = some_references(9000)
    differences = compare_with_exact(
        FaissGallery(64, references), references, references.vectors[:200], limit=10, threshold=0.3
    )
    assert (differences.missed, differences.extra, differences.max_score_error) == (0, 0, 0.0)
    assert differences.probes == 200
    assert differences.recall.value == 1.0
    assert differences.recall.n == differences.candidates >= 200


def test_lost_and_invented_candidates_and_wrong_scores_are_counted() -> None:
    references = some_references(500)
    differences = compare_with_exact(
        ForgetfulGallery(64, references), references, references.vectors[:20], limit=5, threshold=0.6
    )
    assert (differences.candidates, differences.missed, differences.extra) == (20, 1, 20)
    assert differences.max_score_error == pytest.approx(1e-3)
    assert differences.recall.value == pytest.approx(0.95)


class ShallowGallery(ExactGallery):
    """Loses the last candidate of every list, as a scan that is too shallow would."""

    def search(
        self,
        probes: Vectors,
        *,
        limit: int,
        threshold: float = -1.0,
        exclude: Sequence[frozenset[int]] | None = None,
        where: SearchFilter | None = None,
    ) -> list[list[Candidate]]:
        found = super().search(probes, limit=limit, threshold=threshold, exclude=exclude, where=where)
        return [candidates[:-1] for candidates in found]


def test_recall_is_measured_on_candidates_close_to_the_cut() -> None:
    references = some_references(1200)
    exact = measure_recall(ExactGallery(64, references), references, probes=200)
    assert exact.value == 1.0
    assert exact.n > 1000
    forgetful = measure_recall(ShallowGallery(64, references), references, probes=200)
    assert 0.5 < forgetful.value < 1.0


def test_recall_of_one_reference_is_one() -> None:
    references = some_references(1)
    assert measure_recall(ExactGallery(64, references), references).value == 1.0
