"""One contract for every gallery, and the oracle against a scan that anyone can check by eye."""

import threading
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from index.errors import DimensionError
from index.faiss_gallery import FaissGallery
from index.gallery import ExactGallery, Gallery
from index.types import Candidate, Reference, References, SearchFilter, Vectors

DIMENSION = 32

Maker = Callable[[int, References | None], Gallery]

MAKERS: dict[str, Maker] = {"exact": ExactGallery, "faiss": FaissGallery}


@pytest.fixture(params=[*sorted(MAKERS), pytest.param("milvus", marks=pytest.mark.milvus)])
def make(request: pytest.FixtureRequest) -> Maker:
    """The constructor of one backend: dimension and initial references."""
    if request.param == "milvus":
        maker: Maker = request.getfixturevalue("make_milvus")
        return maker
    return MAKERS[request.param]


def unit(rows: NDArray[np.floating]) -> Vectors:
    """Rows divided by their norm, float32."""
    scaled = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(scaled, dtype=np.float32)


def random_vectors(count: int, *, seed: int, dimension: int = DIMENSION) -> Vectors:
    return unit(np.random.default_rng(seed).standard_normal((count, dimension)))


def one_each(count: int, *, first: int = 1) -> list[Reference]:
    """References 1, 2, … of as many persons, whose keys are ten times as large."""
    return [Reference(reference_id=i, person_key=10 * i) for i in range(first, first + count)]


def persons(candidates: Sequence[Candidate]) -> list[int]:
    return [candidate.person_key for candidate in candidates]


def test_an_empty_gallery_answers_each_probe_with_no_candidate(make: Maker) -> None:
    gallery = make(DIMENSION, None)
    assert gallery.search(random_vectors(3, seed=1), limit=5) == [[], [], []]
    assert (len(gallery), gallery.person_count, gallery.dimension) == (0, 0, DIMENSION)


def test_no_probe_gives_no_list(make: Maker) -> None:
    gallery = make(DIMENSION, None)
    assert gallery.search(np.empty((0, DIMENSION), dtype=np.float32), limit=5) == []


def test_an_enrolled_vector_is_its_own_best_candidate_with_score_one(make: Maker) -> None:
    vectors = random_vectors(50, seed=2)
    gallery = make(DIMENSION, None)
    gallery.enrol(one_each(50), vectors)
    for row, candidates in enumerate(gallery.search(vectors, limit=1)):
        assert (candidates[0].rank, candidates[0].person_key) == (1, 10 * (row + 1))
        assert candidates[0].score == pytest.approx(1.0, abs=1e-6)


def test_candidates_come_best_first_with_exact_cosines_and_ranks_from_one(make: Maker) -> None:
    vectors = random_vectors(200, seed=3)
    gallery = make(DIMENSION, References.of(one_each(200), vectors))
    probe = random_vectors(1, seed=4)
    (candidates,) = gallery.search(probe, limit=30)
    cosines = np.sort(vectors.astype(np.float64) @ probe[0].astype(np.float64))[::-1][:30]
    assert [candidate.rank for candidate in candidates] == list(range(1, 31))
    np.testing.assert_allclose([candidate.score for candidate in candidates], cosines, atol=1e-6)


def test_a_person_occurs_once_with_the_best_of_several_references(make: Maker) -> None:
    axis = np.eye(DIMENSION)
    vectors = unit(np.stack([axis[0] + axis[1], axis[0] + 3 * axis[1], axis[0] + 2 * axis[2]]))
    references = [Reference(1, person_key=7), Reference(2, person_key=7), Reference(3, person_key=8)]
    gallery = make(DIMENSION, References.of(references, vectors))
    (candidates,) = gallery.search(unit(axis[:1]), limit=5)
    assert [(candidate.person_key, candidate.reference_id) for candidate in candidates] == [(7, 1), (8, 3)]
    assert gallery.person_count == 2


def test_one_person_with_many_references_does_not_crowd_out_others(make: Maker) -> None:
    probe = random_vectors(1, seed=5)
    near = unit(probe + 0.01 * random_vectors(300, seed=6))
    far = unit(probe + 2.0 * random_vectors(4, seed=7))
    references = [Reference(i, person_key=1) for i in range(1, 301)]
    references += [Reference(300 + i, person_key=1 + i) for i in range(1, 5)]
    gallery = make(DIMENSION, References.of(references, np.concatenate([near, far])))
    (candidates,) = gallery.search(probe, limit=5)
    assert sorted(persons(candidates)) == [1, 2, 3, 4, 5]


def test_a_view_shows_every_reference_in_order_and_no_later_change(make: Maker) -> None:
    vectors = random_vectors(30, seed=8)
    gallery = make(DIMENSION, References.of(one_each(30), vectors))
    gallery.remove([4, 9])
    rows, expected = gallery.rows(), gallery.references()
    gallery.remove([5])
    np.testing.assert_array_equal(rows.reference_ids, expected.reference_ids)
    np.testing.assert_array_equal(rows.person_keys, expected.person_keys)
    np.testing.assert_array_equal(rows.block(0, len(rows)), expected.vectors)
    assert (len(rows), rows.person_count, len(gallery.rows())) == (28, 28, 27)


def test_equal_scores_go_to_the_smaller_reference_id(make: Maker) -> None:
    vector = random_vectors(1, seed=8)
    ids = [41, 3, 17, 5, 29]
    gallery = make(DIMENSION, None)
    gallery.enrol([Reference(i, person_key=1000 - i) for i in ids], np.repeat(vector, 5, axis=0))
    (candidates,) = gallery.search(random_vectors(1, seed=9), limit=3)
    assert [candidate.reference_id for candidate in candidates] == [3, 5, 17]


def test_a_tie_within_a_person_names_the_smaller_reference_id(make: Maker) -> None:
    vector = random_vectors(1, seed=8)
    gallery = make(DIMENSION, None)
    gallery.enrol([Reference(9, person_key=1), Reference(4, person_key=1)], np.repeat(vector, 2, axis=0))
    (candidates,) = gallery.search(vector, limit=3)
    assert [candidate.reference_id for candidate in candidates] == [4]


def test_persons_below_the_threshold_are_left_out_and_all_others_returned(make: Maker) -> None:
    vectors = random_vectors(500, seed=10)
    gallery = make(DIMENSION, References.of(one_each(500), vectors))
    probe = random_vectors(1, seed=11)
    cosines = np.round(vectors.astype(np.float64) @ probe[0].astype(np.float64), 7)
    threshold = float(np.sort(cosines)[-37])
    (candidates,) = gallery.search(probe, limit=500, threshold=threshold)
    assert set(persons(candidates)) == {10 * (i + 1) for i in np.flatnonzero(cosines >= threshold)}
    assert len(candidates) == 37


def test_a_threshold_of_minus_one_keeps_the_opposite_vector(make: Maker) -> None:
    vectors = random_vectors(20, seed=12)
    gallery = make(DIMENSION, References.of(one_each(20), vectors))
    assert [len(found) for found in gallery.search(-vectors, limit=100)] == [20] * 20


def test_excluded_persons_never_come_back_whatever_their_references(make: Maker) -> None:
    vectors = random_vectors(30, seed=13)
    references = [Reference(i, person_key=1 + i // 3) for i in range(1, 31)]
    gallery = make(DIMENSION, References.of(references, vectors))
    found = gallery.search(vectors[:2], limit=30, exclude=[frozenset({1, 2, 3}), frozenset()])
    assert not {1, 2, 3} & set(persons(found[0]))
    assert {1, 2, 3} <= set(persons(found[1]))


def test_excluding_somebody_unknown_changes_nothing(make: Maker) -> None:
    vectors = random_vectors(5, seed=14)
    gallery = make(DIMENSION, References.of(one_each(5), vectors))
    assert gallery.search(vectors[:1], limit=5, exclude=[frozenset({999})]) == gallery.search(
        vectors[:1], limit=5
    )


def test_a_filter_by_sex_keeps_that_sex_and_the_unknown(make: Maker) -> None:
    references = [Reference(i, person_key=i, sex=sex) for i, sex in enumerate([0, 1, 2, 9], start=1)]
    gallery = make(DIMENSION, References.of(references, random_vectors(4, seed=15)))
    (found,) = gallery.search(random_vectors(1, seed=16), limit=9, where=SearchFilter(sex=2))
    assert sorted(persons(found)) == [1, 3, 4]


def test_a_filter_by_birth_years_includes_both_ends_and_the_unknown(make: Maker) -> None:
    years = [0, 1969, 1970, 1975, 1980, 1981]
    references = [Reference(i, person_key=i, birth_year=year) for i, year in enumerate(years, start=1)]
    gallery = make(DIMENSION, References.of(references, random_vectors(6, seed=17)))
    where = SearchFilter(birth_years=(1970, 1980))
    (found,) = gallery.search(random_vectors(1, seed=18), limit=9, where=where)
    assert sorted(persons(found)) == [1, 3, 4, 5]


def test_enrolling_an_id_again_replaces_vector_person_and_attributes(make: Maker) -> None:
    old, new = random_vectors(2, seed=19)
    gallery = make(DIMENSION, None)
    gallery.enrol([Reference(1, person_key=1, sex=1, birth_year=1950)], old[None])
    gallery.enrol([Reference(1, person_key=2, sex=2, birth_year=1990)], new[None])
    (found,) = gallery.search(new[None], limit=5)
    assert [(candidate.person_key, round(candidate.score, 5)) for candidate in found] == [(2, 1.0)]
    assert (len(gallery), gallery.person_count) == (1, 1)
    everything = gallery.references()
    assert (everything.sexes[0], everything.birth_years[0]) == (2, 1990)


def test_a_removed_reference_is_gone_and_its_person_when_it_was_the_last(make: Maker) -> None:
    vectors = random_vectors(4, seed=20)
    references = [Reference(1, 1), Reference(2, 1), Reference(3, 2), Reference(4, 3)]
    gallery = make(DIMENSION, References.of(references, vectors))
    gallery.remove([2, 3])
    assert (len(gallery), gallery.person_count) == (2, 2)
    (found,) = gallery.search(vectors[2:3], limit=9)
    assert sorted(persons(found)) == [1, 3]
    assert gallery.references().reference_ids.tolist() == [1, 4]


def test_removing_an_unknown_id_or_twice_is_harmless(make: Maker) -> None:
    gallery = make(DIMENSION, References.of(one_each(3), random_vectors(3, seed=21)))
    gallery.remove([2, 77])
    gallery.remove([2])
    gallery.remove([])
    assert gallery.references().reference_ids.tolist() == [1, 3]


def test_a_removed_id_can_be_enrolled_again(make: Maker) -> None:
    vectors = random_vectors(3, seed=22)
    gallery = make(DIMENSION, References.of(one_each(3), vectors))
    gallery.remove([2])
    gallery.enrol([Reference(2, person_key=5)], vectors[1:2])
    (found,) = gallery.search(vectors[1:2], limit=1)
    assert (found[0].reference_id, found[0].person_key) == (2, 5)


def test_references_are_returned_by_ascending_id_as_a_copy(make: Maker) -> None:
    vectors = random_vectors(3, seed=23)
    gallery = make(DIMENSION, None)
    gallery.enrol([Reference(9, 1), Reference(2, 2), Reference(5, 3)], vectors)
    everything = gallery.references()
    assert everything.reference_ids.tolist() == [2, 5, 9]
    np.testing.assert_array_equal(everything.vectors, vectors[[1, 2, 0]])
    everything.vectors[:] = 0
    np.testing.assert_array_equal(gallery.references().vectors, vectors[[1, 2, 0]])


def test_what_one_gallery_exports_another_takes_in_unchanged(make: Maker) -> None:
    gallery = make(DIMENSION, References.of(one_each(40), random_vectors(40, seed=24)))
    gallery.remove([3, 4])
    again = make(DIMENSION, gallery.references())
    probes = random_vectors(5, seed=25)
    assert again.search(probes, limit=40) == gallery.search(probes, limit=40)
    np.testing.assert_array_equal(again.references().vectors, gallery.references().vectors)


def test_the_callers_arrays_are_neither_kept_nor_changed(make: Maker) -> None:
    vectors = random_vectors(3, seed=26)
    before = vectors.copy()
    gallery = make(DIMENSION, None)
    gallery.enrol(one_each(3), vectors)
    vectors[:] = 0
    (found,) = gallery.search(before[:1], limit=1)
    assert found[0].score == pytest.approx(1.0, abs=1e-6)


def test_a_slightly_long_vector_still_scores_as_a_cosine(make: Maker) -> None:
    vectors = random_vectors(2, seed=27)
    gallery = make(DIMENSION, None)
    gallery.enrol(one_each(2), (vectors * 1.0009).astype(np.float32))
    (found,) = gallery.search(vectors[:1], limit=2)
    expected = float(vectors[0].astype(np.float64) @ vectors[1].astype(np.float64))
    assert [candidate.score for candidate in found] == pytest.approx([1.0, expected], abs=1e-6)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda rows: rows[:, :-1],
        lambda rows: rows[0],
        lambda rows: rows * 1.01,
        lambda rows: rows * 0,
        lambda rows: np.where(np.arange(rows.size).reshape(rows.shape) == 5, np.nan, rows),
        lambda rows: np.where(np.arange(rows.size).reshape(rows.shape) == 5, np.inf, rows),
    ],
    ids=["too short", "one-dimensional", "norm 1.01", "zero", "nan", "infinite"],
)
def test_bad_vectors_are_refused_and_nothing_is_enrolled(
    make: Maker, spoil: Callable[[Vectors], Vectors]
) -> None:
    gallery = make(DIMENSION, References.of(one_each(1), random_vectors(1, seed=28)))
    bad = spoil(random_vectors(2, seed=29))
    with pytest.raises(DimensionError):
        gallery.enrol(one_each(len(bad), first=1), bad)
    with pytest.raises(DimensionError):
        gallery.search(bad, limit=1)
    assert len(gallery) == 1


def test_records_that_do_not_belong_to_their_vectors_are_refused(make: Maker) -> None:
    gallery = make(DIMENSION, None)
    vectors = random_vectors(2, seed=30)
    for references in (
        [Reference(1, 1)],
        [Reference(1, 1), Reference(1, 2)],
        [Reference(0, 1), Reference(2, 1)],
    ):
        with pytest.raises(ValueError, match="reference"):
            gallery.enrol(references, vectors)
    assert len(gallery) == 0


def test_a_limit_below_one_or_a_missing_exclusion_is_refused(make: Maker) -> None:
    gallery = make(DIMENSION, References.of(one_each(2), random_vectors(2, seed=31)))
    probes = random_vectors(2, seed=32)
    with pytest.raises(ValueError, match="limit"):
        gallery.search(probes, limit=0)
    with pytest.raises(ValueError, match="exclude"):
        gallery.search(probes, limit=1, exclude=[frozenset()])


def test_searches_beside_a_writer_always_see_the_untouched_references(make: Maker) -> None:
    """Every search must find the 50 lasting persons, and each new one as soon as `enrol` returned."""
    lasting = random_vectors(50, seed=33)
    gallery = make(DIMENSION, References.of(one_each(50), lasting))
    stop = threading.Event()
    problems: list[str] = []

    def search() -> None:
        while not stop.is_set():
            found = gallery.search(lasting, limit=1)
            if [candidates[0].reference_id for candidates in found] != list(range(1, 51)):
                problems.append("a lasting reference was missed")

    threads = [threading.Thread(target=search, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    newcomers = random_vectors(60, seed=34)
    for i in range(60):
        gallery.enrol([Reference(1000 + i, person_key=1000 + i)], newcomers[i : i + 1])
        (found,) = gallery.search(newcomers[i : i + 1], limit=1, threshold=0.99)
        if persons(found) != [1000 + i]:
            problems.append("an enrolment was not visible at once")
        gallery.remove([1000 + i])
        if gallery.search(newcomers[i : i + 1], limit=1, threshold=0.99) != [[]]:
            problems.append("a removal was not visible at once")
    stop.set()
    for thread in threads:
        thread.join()
    assert problems == []


def naive_search(
    references: References,
    probe: Vectors,
    *,
    limit: int,
    threshold: float,
    exclude: frozenset[int],
    where: SearchFilter | None,
) -> list[tuple[int, int]]:
    """The contract once more, as slowly and plainly as possible: (person, reference) in order."""
    best: dict[int, tuple[float, int]] = {}
    for row, (reference_id, person) in enumerate(
        zip(references.reference_ids.tolist(), references.person_keys.tolist(), strict=True)
    ):
        sex, year = int(references.sexes[row]), int(references.birth_years[row])
        if where and where.sex is not None and sex not in (where.sex, 0, 9):
            continue
        if where and where.birth_years and year and not where.birth_years[0] <= year <= where.birth_years[1]:
            continue
        score = round(float(np.dot(probe.astype(np.float64), references.vectors[row].astype(np.float64))), 7)
        if person in exclude or score < threshold:
            continue
        key = (-score, reference_id)
        if person not in best or key < best[person]:
            best[person] = key
    ordered = sorted((key, person) for person, key in best.items())[:limit]
    return [(person, key[1]) for key, person in ordered]


VECTORS = npst.arrays(np.int8, (12, 8), elements=st.integers(-2, 2))


@settings(max_examples=60, deadline=None)
@given(
    components=VECTORS,
    people=st.lists(st.integers(1, 6), min_size=12, max_size=12),
    sexes=st.lists(st.sampled_from([0, 1, 2, 9]), min_size=12, max_size=12),
    years=st.lists(st.sampled_from([0, 1950, 1960, 1970]), min_size=12, max_size=12),
    limit=st.integers(1, 8),
    threshold=st.sampled_from([-1.0, 0.0, 0.5, 1.0]),
    exclude=st.frozensets(st.integers(1, 6), max_size=3),
    where=st.sampled_from(
        [None, SearchFilter(sex=1), SearchFilter(birth_years=(1955, 1970)), SearchFilter(2, (1950, 1960))]
    ),
)
def test_every_backend_does_what_the_contract_says_even_among_many_ties(
    components: NDArray[np.int8],
    people: list[int],
    sexes: list[int],
    years: list[int],
    limit: int,
    threshold: float,
    exclude: frozenset[int],
    where: SearchFilter | None,
) -> None:
    rows = components.astype(np.float64)
    rows[:, 0] += 5  # small whole numbers make ties; this keeps every norm above zero
    vectors = unit(rows)
    records = [Reference(100 - i, person_key=people[i], sex=sexes[i], birth_year=years[i]) for i in range(12)]
    references = References.of(records[:-1], vectors[:-1])
    expected = naive_search(
        references, vectors[-1], limit=limit, threshold=threshold, exclude=exclude, where=where
    )
    for name, maker in MAKERS.items():
        (found,) = maker(8, references).search(
            vectors[-1:], limit=limit, threshold=threshold, exclude=[exclude], where=where
        )
        assert [(candidate.person_key, candidate.reference_id) for candidate in found] == expected, name
