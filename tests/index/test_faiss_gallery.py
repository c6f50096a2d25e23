"""The faiss gallery against the oracle, beyond what the contract suite needs: size, change, upkeep."""

import gc
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from index.faiss_gallery import FaissGallery
from index.gallery import ExactGallery
from index.gallery_state import SMALL_SEGMENTS
from index.segments import COMPRESS_FROM
from index.types import Candidate, Reference, References, SearchFilter, Vectors

LARGE = 3 * COMPRESS_FROM


def unit(rows: np.ndarray) -> Vectors:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def random_vectors(count: int, *, seed: int, dimension: int = 32) -> Vectors:
    return unit(np.random.default_rng(seed).standard_normal((count, dimension)))


def near(vectors: Vectors, cosine: float, *, seed: int) -> Vectors:
    """Vectors at a given cosine from the rows, in random directions."""
    aside = np.random.default_rng(seed).standard_normal(vectors.shape)
    aside -= (aside * vectors).sum(axis=1, keepdims=True) * vectors
    return unit(cosine * vectors + np.sqrt(1 - cosine**2) * unit(aside))


def records(count: int, *, first: int = 1, portraits: int = 1) -> list[Reference]:
    """References of persons with so many portraits each, of both sexes and many ages."""
    return [
        Reference(i, person_key=1 + i // portraits, sex=i % 3, birth_year=1940 + i % 70)
        for i in range(first, first + count)
    ]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)


def is_quiet(gallery: FaissGallery) -> bool:
    """Whether all codes are made and no upkeep runs."""
    return not gallery._upkeep.running.locked() and all(
        segment.scan is not None or len(segment) < COMPRESS_FROM for segment in gallery._state.segments
    )


def numbers(candidates: Sequence[Candidate]) -> list[int]:
    return [candidate.reference_id for candidate in candidates]


@pytest.mark.parametrize("dimension", [32, 61, 64, 128, 129, 256, 512])
def test_candidates_equal_those_of_the_oracle_at_every_dimension(dimension: int) -> None:
    vectors = random_vectors(LARGE, seed=dimension, dimension=dimension)
    references = References.of(records(LARGE, portraits=2), vectors)
    faiss, exact = FaissGallery(dimension, references), ExactGallery(dimension, references)
    assert any(segment.scan is not None for segment in faiss._state.segments)
    probes = np.concatenate(
        [near(vectors[:10], 0.6, seed=1), random_vectors(10, seed=2, dimension=dimension)]
    )
    for threshold in (-1.0, 0.0, 0.2, 0.3, 0.45):
        wanted = exact.search(probes, limit=15, threshold=threshold)
        assert faiss.search(probes, limit=15, threshold=threshold) == wanted
    assert faiss.search(probes[:0], limit=15) == []


@pytest.mark.parametrize("limit", [1, 3, 200, 20_000])
def test_candidates_equal_those_of_the_oracle_at_every_limit(limit: int) -> None:
    vectors = random_vectors(LARGE, seed=1, dimension=64)
    references = References.of(records(LARGE, portraits=3), vectors)
    faiss, exact = FaissGallery(64, references), ExactGallery(64, references)
    probes = near(vectors[:4], 0.5, seed=2)
    for threshold in (-1.0, 0.3):
        assert faiss.search(probes, limit=limit, threshold=threshold) == exact.search(
            probes, limit=limit, threshold=threshold
        )


def test_a_person_with_thousands_of_close_references_hides_nobody() -> None:
    """More references of one person than any compressed scan takes at first."""
    probe = random_vectors(1, seed=3, dimension=64)
    crowd = near(np.repeat(probe, 6000, axis=0), 0.8, seed=4)
    others = near(np.repeat(probe, 5, axis=0), 0.5, seed=5)
    rest = random_vectors(LARGE, seed=6, dimension=64)
    people = [1] * 6000 + [2, 3, 4, 5, 6] + [7 + i for i in range(LARGE)]
    references = References.of(
        [Reference(i, person_key=person) for i, person in enumerate(people, start=1)],
        np.concatenate([crowd, others, rest]),
    )
    (found,) = FaissGallery(64, references).search(probe, limit=6, threshold=0.45)
    assert sorted(candidate.person_key for candidate in found) == [1, 2, 3, 4, 5, 6]


def test_filters_and_exclusions_equal_the_oracles_on_compressed_segments() -> None:
    vectors = random_vectors(LARGE, seed=7, dimension=64)
    references = References.of(records(LARGE, portraits=2), vectors)
    faiss, exact = FaissGallery(64, references), ExactGallery(64, references)
    probes = near(vectors[:6], 0.7, seed=8)
    for where in (SearchFilter(sex=1), SearchFilter(birth_years=(1950, 1951)), SearchFilter(2, (1999, 1999))):
        for threshold in (-1.0, 0.35):
            options: dict[str, Any] = {
                "limit": 5,
                "threshold": threshold,
                "exclude": [frozenset({1 + i // 2}) for i in range(1, 7)],
                "where": where,
            }
            assert faiss.search(probes, **options) == exact.search(probes, **options)


def test_equal_vectors_in_different_segments_go_to_the_smaller_reference_id() -> None:
    vectors = random_vectors(2 * LARGE, seed=9, dimension=64)
    vectors[LARGE:] = vectors[:LARGE]
    shuffled = np.random.default_rng(10).permutation(2 * LARGE) + 1
    references = References.of([Reference(int(i), person_key=int(i)) for i in shuffled], vectors)
    faiss, exact = FaissGallery(64, references, threads=4), ExactGallery(64, references)
    found = faiss.search(vectors[:20], limit=2, threshold=0.9)
    assert found == exact.search(vectors[:20], limit=2, threshold=0.9)
    assert all(len(candidates) == 2 for candidates in found)


def test_a_batch_gives_what_its_probes_give_alone() -> None:
    vectors = random_vectors(LARGE, seed=11, dimension=64)
    gallery = FaissGallery(64, References.of(records(LARGE), vectors))
    probes = near(vectors[:75], 0.6, seed=12)
    together = gallery.search(probes, limit=10, threshold=0.3)
    assert together == [gallery.search(probe[None], limit=10, threshold=0.3)[0] for probe in probes]


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_the_number_of_threads_changes_nothing(threads: int) -> None:
    vectors = random_vectors(LARGE, seed=13, dimension=64)
    references = References.of(records(LARGE), vectors)
    probes = near(vectors[:8], 0.6, seed=14)
    assert FaissGallery(64, references, threads=threads).search(
        probes, limit=10, threshold=0.3
    ) == ExactGallery(64, references).search(probes, limit=10, threshold=0.3)


def test_single_enrolments_become_compressed_segments_and_are_found_throughout() -> None:
    gallery = FaissGallery(32)
    count = 3 * COMPRESS_FROM + 17
    vectors = random_vectors(count, seed=15)
    for start in range(0, count, 500):
        stop = min(start + 500, count)
        gallery.enrol(records(stop - start, first=start + 1), vectors[start:stop])
        found = gallery.search(vectors[[0, stop - 1]], limit=1, threshold=0.99)
        assert [numbers(candidates) for candidates in found] == [[1], [stop]]
    wait_until(lambda: is_quiet(gallery))
    assert sum(segment.scan is not None for segment in gallery._state.segments) == 3
    assert (len(gallery), gallery.person_count) == (count, count)
    oracle = ExactGallery(32, References.of(records(count), vectors))
    probes = near(vectors[::1500], 0.8, seed=16)
    assert gallery.search(probes, limit=5, threshold=0.5) == oracle.search(probes, limit=5, threshold=0.5)


def test_many_small_segments_are_joined_by_themselves() -> None:
    gallery = FaissGallery(32, threads=1)
    bulk = 5 * SMALL_SEGMENTS * COMPRESS_FROM
    gallery.enrol(records(bulk, first=1_000_000), random_vectors(bulk, seed=17))
    for i in range(SMALL_SEGMENTS):
        first = 1 + i * COMPRESS_FROM
        gallery.enrol(records(COMPRESS_FROM, first=first), random_vectors(COMPRESS_FROM, seed=18 + i))
    wait_until(lambda: is_quiet(gallery) and len(gallery._state.segments) <= 2)
    assert len(gallery) == bulk + SMALL_SEGMENTS * COMPRESS_FROM
    (found,) = gallery.search(random_vectors(COMPRESS_FROM, seed=20)[:1], limit=1, threshold=0.99)
    assert numbers(found) == [1 + 2 * COMPRESS_FROM]


def test_compaction_drops_removed_vectors_from_memory_and_keeps_all_others() -> None:
    vectors = random_vectors(LARGE, seed=19)
    gallery = FaissGallery(32, References.of(records(LARGE), vectors))
    gallery.enrol([Reference(LARGE + 1, 900_000)], vectors[:1])
    gallery.remove([*range(5, 300), LARGE + 1])
    gallery.compact()
    held = [segment.store.gather(np.arange(len(segment))) for segment in gallery._state.all]
    ids = np.concatenate([segment.reference_ids for segment in gallery._state.all])
    assert not set(range(5, 300)) & set(ids.tolist())
    assert sum(len(rows) for rows in held) == LARGE - 295
    assert not (np.concatenate(held) == vectors[100]).all(axis=1).any()
    assert sum(len(segment.scan) for segment in gallery._state.segments if segment.scan) == LARGE - 295
    (found,) = gallery.search(vectors[400:401], limit=1)
    assert numbers(found) == [401]


def test_removed_vectors_leave_memory_by_themselves() -> None:
    vectors = random_vectors(LARGE, seed=20)
    gallery = FaissGallery(32, References.of(records(LARGE), vectors), compact_after_s=0.05)
    gallery.remove([7])
    wait_until(lambda: all(7 not in segment.reference_ids for segment in gallery._state.all))
    gallery.remove([8])
    wait_until(lambda: all(8 not in segment.reference_ids for segment in gallery._state.all))
    assert len(gallery) == LARGE - 2


def test_a_segment_with_many_dead_is_rewritten_at_once() -> None:
    gallery = FaissGallery(32, References.of(records(LARGE), random_vectors(LARGE, seed=21)))
    gallery.remove(range(1, LARGE // 3))
    wait_until(lambda: is_quiet(gallery) and sum(map(len, gallery._state.segments)) == len(gallery))


def test_removing_everything_leaves_an_empty_gallery_that_fills_again() -> None:
    vectors = random_vectors(LARGE, seed=22)
    gallery = FaissGallery(32, References.of(records(LARGE), vectors))
    gallery.remove(range(1, LARGE + 1))
    assert (len(gallery), gallery.person_count) == (0, 0)
    assert gallery.search(vectors[:1], limit=3) == [[]]
    gallery.compact()
    assert gallery._state.all == ()
    gallery.enrol([Reference(5, 5)], vectors[4:5])
    assert numbers(gallery.search(vectors[4:5], limit=3)[0]) == [5]


def test_changes_during_a_rewrite_are_not_lost() -> None:
    """References are removed, replaced and added while compaction after compaction runs."""
    vectors = random_vectors(LARGE, seed=23)
    gallery = FaissGallery(32, References.of(records(LARGE), vectors))
    gallery.remove([LARGE])
    stop = threading.Event()

    def compact() -> None:
        while not stop.is_set():
            gallery.compact()

    thread = threading.Thread(target=compact, daemon=True)
    thread.start()
    fresh = random_vectors(200, seed=24)
    for i in range(200):
        gallery.remove([1 + 3 * i])
        gallery.enrol([Reference(2 + 3 * i, person_key=500_000 + i)], fresh[i : i + 1])
        (found,) = gallery.search(fresh[i : i + 1], limit=1, threshold=0.99)
        assert [candidate.person_key for candidate in found] == [500_000 + i]
        assert gallery.search(vectors[3 * i : 3 * i + 1], limit=1, threshold=0.99) == [[]]
    stop.set()
    thread.join()
    gallery.compact()
    everything = gallery.references()
    removed = {1 + 3 * i for i in range(200)} | {LARGE}
    assert set(everything.reference_ids.tolist()) == set(range(1, LARGE + 1)) - removed
    np.testing.assert_array_equal(everything.vectors[0], fresh[0])
    assert gallery.person_count == len(set(everything.person_keys.tolist()))


def test_a_gallery_that_is_no_longer_used_leaves_no_thread_behind() -> None:
    gallery = FaissGallery(32, References.of(records(10), random_vectors(10, seed=25)))
    gallery.remove([1])
    assert any(thread.name == "gallery-upkeep" for thread in threading.enumerate())
    upkeep = gallery._upkeep
    del gallery
    gc.collect()
    assert upkeep.gone.is_set()


def test_memory_mapped_references_are_searched_in_place(tmp_path: Any) -> None:
    vectors = random_vectors(LARGE, seed=26, dimension=64)
    np.save(tmp_path / "vectors.npy", vectors)
    mapped = np.load(tmp_path / "vectors.npy", mmap_mode="r")
    plain = References.of(records(LARGE), vectors)
    references = References(plain.reference_ids, plain.person_keys, plain.sexes, plain.birth_years, mapped)
    gallery = FaissGallery(64, references)
    assert all(np.shares_memory(segment.store.array, mapped) for segment in gallery._state.segments)  # type: ignore[attr-defined]
    probes = near(vectors[:5], 0.6, seed=27)
    assert gallery.search(probes, limit=5, threshold=0.3) == ExactGallery(64, plain).search(
        probes, limit=5, threshold=0.3
    )


POOL = random_vectors(COMPRESS_FROM + 64, seed=28)


class ChangingGallery(RuleBasedStateMachine):
    """Any sequence of changes leaves the faiss gallery and the oracle with the same answers."""

    def __init__(self) -> None:
        super().__init__()
        self.faiss = FaissGallery(32, threads=2, compact_after_s=0.02)
        self.exact = ExactGallery(32)

    @rule(
        ids=st.lists(st.integers(1, 12), min_size=1, max_size=6, unique=True),
        person=st.integers(1, 4),
        seed=st.integers(0, 50),
    )
    def enrol(self, ids: list[int], person: int, seed: int) -> None:
        added = [Reference(i, person_key=person + i % 2, sex=i % 3) for i in ids]
        rows = POOL[[(seed + i) % 40 for i in ids]]
        self.faiss.enrol(added, rows)
        self.exact.enrol(added, rows)

    @rule(first=st.sampled_from([3, 100, 2000]))
    def enrol_many(self, first: int) -> None:
        added = records(COMPRESS_FROM, first=first, portraits=2)
        self.faiss.enrol(added, POOL[:COMPRESS_FROM])
        self.exact.enrol(added, POOL[:COMPRESS_FROM])

    @rule(ids=st.lists(st.integers(1, 14), max_size=8))
    def remove(self, ids: list[int]) -> None:
        self.faiss.remove(ids)
        self.exact.remove(ids)

    @rule(first=st.integers(1, 3000), count=st.sampled_from([50, 1500]))
    def remove_many(self, first: int, count: int) -> None:
        self.faiss.remove(range(first, first + count))
        self.exact.remove(range(first, first + count))

    @rule()
    def compact(self) -> None:
        self.faiss.compact()

    @rule(
        row=st.integers(0, 63),
        limit=st.integers(1, 8),
        threshold=st.sampled_from([-1.0, 0.3, 0.6, 0.999]),
        exclude=st.frozensets(st.integers(1, 5), max_size=2),
        sex=st.sampled_from([None, 1]),
    )
    def search(
        self, row: int, limit: int, threshold: float, exclude: frozenset[int], sex: int | None
    ) -> None:
        options: dict[str, Any] = {
            "limit": limit,
            "threshold": threshold,
            "exclude": [exclude],
            "where": None if sex is None else SearchFilter(sex=sex),
        }
        assert self.faiss.search(POOL[row : row + 1], **options) == self.exact.search(
            POOL[row : row + 1], **options
        )

    @invariant()
    def counts_agree(self) -> None:
        assert len(self.faiss) == len(self.exact)
        assert self.faiss.person_count == self.exact.person_count

    def teardown(self) -> None:
        ours, theirs = self.faiss.references(), self.exact.references()
        for name in ("reference_ids", "person_keys", "sexes", "birth_years", "vectors"):
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))


TestChangingGallery = ChangingGallery.TestCase
TestChangingGallery.settings = settings(max_examples=12, stateful_step_count=20, deadline=None)
