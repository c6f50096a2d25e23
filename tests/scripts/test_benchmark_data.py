"""The made-up embeddings score like the real ones that they stand for."""

import numpy as np
import pytest

from scripts.benchmark_data import PROFILES, as_references, make_mated_probes, make_persons

FIGURES = {
    "arcface": (0.061, {1e-6: 0.306}, 0.61),
    "edgeface": (0.076, {1e-3: 0.261, 1e-4: 0.333, 1e-5: 0.402}, 0.49),
}


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_scores_are_distributed_like_those_measured(name: str) -> None:
    spread, tail, mated_median = FIGURES[name]
    persons = make_persons(5000, PROFILES[name], dimension=512, seed=1)
    scores = (persons @ persons.T)[np.triu_indices(5000, 1)]
    assert scores.std() == pytest.approx(spread, rel=0.06)
    for share, quantile in tail.items():
        assert np.quantile(scores, 1 - share) == pytest.approx(quantile, rel=0.08)
    probes = make_mated_probes(persons, PROFILES[name], seed=2)
    assert np.median((probes * persons).sum(axis=1)) == pytest.approx(mated_median, abs=0.01)
    strangers = (probes[1:] * persons[:-1]).sum(axis=1)
    assert strangers.std() == pytest.approx(spread, rel=0.15)


@pytest.mark.parametrize("dimension", [64, 512])
def test_rows_have_norm_one_and_do_not_depend_on_anything_but_the_seed(dimension: int) -> None:
    persons = make_persons(300, PROFILES["arcface"], dimension=dimension, seed=7)
    np.testing.assert_allclose(np.linalg.norm(persons, axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(
        persons, make_persons(300, PROFILES["arcface"], dimension=dimension, seed=7)
    )
    assert not np.array_equal(persons, make_persons(300, PROFILES["arcface"], dimension=dimension, seed=8))


def test_every_person_has_one_reference() -> None:
    references = as_references(make_persons(10, PROFILES["arcface"], dimension=512, seed=1))
    assert references.reference_ids.tolist() == list(range(1, 11))
    assert len(set(references.person_keys.tolist())) == 10
