"""What only a gallery on a server can get wrong: short pages, a second writer, a server that is gone."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from index.gallery import ExactGallery
from index.types import Reference, References, SearchFilter
from tests.index.test_gallery import random_vectors, unit
from tests.milvus import MakeMilvus, needed

needed()

from index.errors import BackendError  # noqa: E402 - imports the extra
from index.milvus_gallery import MilvusGallery  # noqa: E402 - imports the extra
from index.milvus_server import MilvusServer  # noqa: E402 - imports the extra

pytestmark = pytest.mark.milvus
DIMENSION = 16


def many(count: int, *, seed: int = 1, per_person: int = 3) -> References:
    """References of a third as many persons, with many ties: every vector occurs about twice."""
    chosen = np.random.default_rng(seed).integers(0, count // 2, count)
    vectors = random_vectors(count // 2, seed=seed, dimension=DIMENSION)[chosen]
    records = [
        Reference(i, 1 + i // per_person, sex=i % 3, birth_year=1950 + i % 40) for i in range(1, count + 1)
    ]
    return References.of(records, vectors)


@pytest.fixture(scope="module")
def kept(milvus_server: MilvusServer) -> Iterator[MilvusGallery]:
    """300 references behind pages of five, so that nearly every search must widen and halve."""
    collection = milvus_server.create("short_pages", dimension=DIMENSION)
    yield MilvusGallery(collection, many(300), largest_page=5)
    milvus_server.drop("short_pages")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 2**16),
    near=st.integers(1, 300),
    limit=st.sampled_from([1, 3, 7, 40]),
    threshold=st.sampled_from([-1.0, 0.2, 0.5, 0.9]),
    exclude=st.frozensets(st.integers(1, 101), max_size=4),
    where=st.sampled_from([None, SearchFilter(sex=1), SearchFilter(2, (1960, 1975))]),
)
def test_short_pages_lose_nobody_and_keep_the_order_of_the_oracle(
    kept: MilvusGallery,
    seed: int,
    near: int,
    limit: int,
    threshold: float,
    exclude: frozenset[int],
    where: SearchFilter | None,
) -> None:
    references = many(300)
    noise = random_vectors(1, seed=seed, dimension=DIMENSION)
    probe = unit(references.vectors[near - 1 : near] + 0.3 * noise)
    expected = ExactGallery(DIMENSION, references).search(
        probe, limit=limit, threshold=threshold, exclude=[exclude], where=where
    )
    found = kept.search(probe, limit=limit, threshold=threshold, exclude=[exclude], where=where)
    assert found == expected


def test_probes_with_different_exclusions_are_answered_in_their_order(kept: MilvusGallery) -> None:
    probes = random_vectors(20, seed=5, dimension=DIMENSION)
    exclude = [frozenset({1 + i % 4}) for i in range(20)]
    expected = ExactGallery(DIMENSION, many(300)).search(probes, limit=4, exclude=exclude)
    assert kept.search(probes, limit=4, exclude=exclude) == expected


def test_counts_are_right_after_every_change_and_after_reopening(
    milvus_server: MilvusServer, make_milvus: MakeMilvus
) -> None:
    gallery = make_milvus(DIMENSION)
    oracle = ExactGallery(DIMENSION)
    vectors = random_vectors(12, seed=6, dimension=DIMENSION)
    steps = [
        [Reference(i, 1 + i // 3) for i in range(1, 13)],
        [Reference(3, 9), Reference(4, 9)],
        [Reference(5, 3), Reference(20, 50)],
    ]
    for step in steps:
        for each in (gallery, oracle):
            each.enrol(step, vectors[: len(step)])
        assert (len(gallery), gallery.person_count) == (len(oracle), oracle.person_count)
    for ids in ([1, 2], [3, 77], [20]):
        gallery.remove(ids)
        oracle.remove(ids)
        assert (len(gallery), gallery.person_count) == (len(oracle), oracle.person_count)
    again = MilvusGallery(milvus_server.open(gallery.collection_name, dimension=DIMENSION))
    assert (len(again), again.person_count) == (len(oracle), oracle.person_count)


def test_the_position_is_kept_with_the_collection_and_is_no_reference(
    milvus_server: MilvusServer, make_milvus: MakeMilvus
) -> None:
    gallery = make_milvus(DIMENSION)
    assert gallery.position is None
    gallery.record_position(41)
    gallery.record_position(42)
    again = MilvusGallery(milvus_server.open(gallery.collection_name, dimension=DIMENSION))
    assert again.position == 42
    assert (len(again), again.references().reference_ids.tolist()) == (0, [])
    assert again.search(random_vectors(1, seed=7, dimension=DIMENSION), limit=5) == [[]]


def test_the_former_writer_is_refused_once_another_has_taken_over(
    milvus_server: MilvusServer, make_milvus: MakeMilvus
) -> None:
    vectors = random_vectors(2, seed=8, dimension=DIMENSION)
    former = make_milvus(DIMENSION)
    former.enrol([Reference(1, 1)], vectors[:1])
    later = MilvusGallery(milvus_server.open(former.collection_name, dimension=DIMENSION))
    later.remove([1])
    with pytest.raises(BackendError, match="taken over"):
        former.enrol([Reference(1, 1)], vectors[:1])
    with pytest.raises(BackendError, match="taken over"):
        former.record_position(3)
    assert len(later) == 0


def test_a_collection_that_is_gone_is_an_error_and_not_an_empty_answer(
    milvus_server: MilvusServer, make_milvus: MakeMilvus
) -> None:
    gallery = make_milvus(DIMENSION, many(10))
    milvus_server.drop(gallery.collection_name)
    probe = random_vectors(1, seed=9, dimension=DIMENSION)
    with pytest.raises(BackendError):
        gallery.search(probe, limit=3)
    with pytest.raises(BackendError):
        gallery.enrol([Reference(99, 99)], probe)
    with pytest.raises(BackendError):
        gallery.remove([1])
    with pytest.raises(BackendError):
        gallery.references()


def test_a_server_that_nobody_answers_at_is_an_error() -> None:
    with pytest.raises(BackendError, match="connect"):
        MilvusServer("http://127.0.0.1:9", timeout_s=0.5)


def test_a_collection_of_another_dimension_is_refused(
    milvus_server: MilvusServer, make_milvus: MakeMilvus
) -> None:
    gallery = make_milvus(DIMENSION)
    with pytest.raises(BackendError, match="dimension 8"):
        milvus_server.open(gallery.collection_name, dimension=8)


def test_an_alias_is_switched_from_one_collection_to_the_next(milvus_server: MilvusServer) -> None:
    names = ["aliased_1", "aliased_2"]
    for name in names:
        milvus_server.create(name, dimension=DIMENSION)
    try:
        assert milvus_server.names("aliased_") == names
        assert milvus_server.resolve("aliased", among=names) is None
        milvus_server.point("aliased", names[0], before=None)
        assert milvus_server.resolve("aliased", among=names) == names[0]
        milvus_server.point("aliased", names[1], before=names[0])
        assert milvus_server.resolve("aliased", among=names) == names[1]
        with pytest.raises(BackendError, match="exists already"):
            milvus_server.create(names[0], dimension=DIMENSION)
    finally:
        milvus_server.drop_alias("aliased")
        for name in names:
            milvus_server.drop(name)


def test_removed_references_leave_the_files_when_compacted_and_no_search_loses_anything(
    make_milvus: MakeMilvus,
) -> None:
    references = many(40)
    gallery = make_milvus(DIMENSION, references)
    gallery.remove(list(range(1, 31)))
    gallery.compact()
    assert gallery.references().reference_ids.tolist() == list(range(31, 41))
    (found,) = gallery.search(references.vectors[35:36], limit=1)
    assert found[0].score == pytest.approx(1.0, abs=1e-6)
