"""Views of what is enrolled, wherever the vectors are."""

from pathlib import Path

import numpy as np
import pytest

from index.errors import GenerationError
from index.faiss_gallery import FaissGallery
from index.gallery import ExactGallery
from index.rows import Rows
from index.snapshot import open_generation, verify_generation, write_generation
from index.types import Reference, References
from tests.index.test_compact import COUNT, DIMENSION, PACK
from tests.index.test_faiss_gallery import random_vectors, records
from tests.index.test_snapshot_fuzz import Gcm


@pytest.fixture(scope="module")
def references() -> References:
    return References.of(records(COUNT, portraits=2), random_vectors(COUNT, seed=1, dimension=DIMENSION))


@pytest.fixture
def generation(references: References, tmp_path: Path) -> Path:
    return write_generation(
        tmp_path, references, contract_id=PACK, position=5, gallery="flagged", cipher=Gcm()
    )


@pytest.fixture
def changed(generation: Path) -> FaissGallery:
    """A gallery whose vectors lie on disk, in a sealed segment and in the buffer; some are gone."""
    stored, _ = open_generation(generation, contract_id=PACK, cipher=Gcm())
    gallery = FaissGallery(DIMENSION, stored)
    first = COUNT + 100
    gallery.enrol(
        [Reference(first + i, 900_000 + i) for i in range(6000)],
        random_vectors(6000, seed=2, dimension=DIMENSION),
    )
    gallery.enrol(
        [Reference(50, 7), Reference(first + 9000, 8)], random_vectors(2, seed=3, dimension=DIMENSION)
    )
    gallery.remove([1, 2, 3, 60, first + 10])
    return gallery


def same(rows: Rows, expected: References) -> None:
    np.testing.assert_array_equal(rows.reference_ids, expected.reference_ids)
    np.testing.assert_array_equal(rows.person_keys, expected.person_keys)
    np.testing.assert_array_equal(rows.block(0, len(rows)), expected.vectors)
    assert (len(rows), rows.dimension) == (len(expected), expected.vectors.shape[1])


def test_a_living_gallery_is_seen_whole_and_in_order(changed: FaissGallery) -> None:
    rows, expected = changed.rows(), changed.references()
    same(rows, expected)
    assert rows.person_count == changed.person_count
    some = np.random.default_rng(4).permutation(len(rows))[:700]
    np.testing.assert_array_equal(rows.vectors(some), expected.vectors[some])
    for size in (1000, 100_000):
        blocks = list(rows.blocks(size, start=17))
        assert [first for first, _ in blocks] == list(range(17, len(rows), size))
        np.testing.assert_array_equal(np.concatenate([part for _, part in blocks]), expected.vectors[17:])


def test_later_changes_do_not_touch_a_view(changed: FaissGallery) -> None:
    rows, expected = changed.rows(), changed.references()
    changed.remove(expected.reference_ids[::3].tolist())
    changed.enrol([Reference(5, 1)], random_vectors(1, seed=5, dimension=DIMENSION))
    changed.compact()
    same(rows, expected)
    assert len(changed.rows()) < len(rows)


def test_columns_are_viewed_without_a_copy(references: References) -> None:
    rows = Rows.of(references)
    same(rows, references)
    assert np.shares_memory(rows.block(5, 9), references.vectors)
    same(ExactGallery(DIMENSION, references).rows(), references)


def test_an_empty_gallery_has_an_empty_view() -> None:
    rows = FaissGallery(DIMENSION).rows()
    assert (len(rows), rows.person_count, list(rows.blocks(10))) == (0, 0, [])
    assert rows.vectors(np.empty(0, dtype=np.int64)).shape == (0, DIMENSION)


def test_a_damaged_vector_is_found_by_reading_and_by_verifying(generation: Path) -> None:
    verify_generation(generation, contract_id=PACK, cipher=Gcm())
    path = generation / "vectors.npy"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    stored, _ = open_generation(generation, contract_id=PACK, cipher=Gcm())
    with pytest.raises(GenerationError, match="damaged"):
        Rows.of(stored).block(0, COUNT)
    with pytest.raises(GenerationError, match="damaged"):
        verify_generation(generation, contract_id=PACK, cipher=Gcm())
