"""Galleries whose vectors stay on disk: what rounding may cost, and that it costs no candidate."""

import gc
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from index.codebook import codebook_for
from index.compact import CompactStore, StoredReferences, rounded, tolerance_of
from index.errors import DimensionError, GenerationError
from index.faiss_gallery import FaissGallery
from index.gallery import ExactGallery
from index.recall import measure_recall
from index.segments import COMPRESS_FROM
from index.snapshot import load_generation, open_generation, write_generation
from index.types import Reference, References, SearchFilter, Vectors
from tests.index.test_compressed_scan import lopsided, noise
from tests.index.test_faiss_gallery import near, random_vectors, records
from tests.index.test_snapshot import with_checksum
from tests.index.test_snapshot_fuzz import Gcm

DIMENSION = 40
COUNT = 2 * COMPRESS_FROM + 37
PACK = "pack-a"


@pytest.fixture(scope="module")
def references() -> References:
    return References.of(records(COUNT, portraits=2), random_vectors(COUNT, seed=1, dimension=DIMENSION))


@pytest.fixture(scope="module")
def written(references: References, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_generation(
        tmp_path_factory.mktemp("gallery"),
        references,
        contract_id=PACK,
        position=5,
        gallery="flagged",
        cipher=Gcm(),
    )


@pytest.fixture
def generation(written: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(written, tmp_path / written.name))


def opened(generation: Path) -> StoredReferences:
    enrolled, _ = open_generation(generation, contract_id=PACK, cipher=Gcm())
    assert isinstance(enrolled, StoredReferences)
    return enrolled


@pytest.mark.parametrize("dimension", [33, 128, 512])
@pytest.mark.parametrize("make", [lopsided, noise])
def test_no_probe_whatever_finds_a_rounded_score_further_off_than_the_tolerance(
    dimension: int, make: Any
) -> None:
    """The worst probe of all points along the rounding error itself."""
    vectors: Vectors = make(500, dimension, seed=1)
    rotated = np.asarray(vectors @ codebook_for(dimension).rotation(dimension).matrix)
    rows, steps, distance = rounded(rotated)
    store = CompactStore(rows, steps, tolerance_of(distance), source=None)  # type: ignore[arg-type]
    approximate = store.gather(np.arange(500)).astype(np.float64)
    off = rotated - approximate
    worst = off / np.linalg.norm(off, axis=1, keepdims=True)
    differences = np.abs(np.einsum("ij,ij->i", worst, off))
    assert differences.max() <= store.tolerance < 0.02
    assert differences.max() > 0.5 * store.tolerance
    ordinary = vectors.astype(np.float64) @ vectors.T - rotated @ approximate.T
    assert np.abs(ordinary).max() < store.tolerance


@pytest.mark.parametrize("threads", [1, 3])
def test_a_gallery_on_disk_answers_as_the_oracle_does(
    references: References, generation: Path, threads: int
) -> None:
    exact = ExactGallery(DIMENSION, references)
    gallery = FaissGallery(DIMENSION, opened(generation), threads=threads)
    assert all(isinstance(segment.store, CompactStore) for segment in gallery._state.segments)
    probes = np.concatenate(
        [near(references.vectors[:12], 0.7, seed=2), random_vectors(8, seed=3, dimension=DIMENSION)]
    )
    options: list[dict[str, Any]] = [
        {"limit": limit, "threshold": threshold} for limit in (1, 12) for threshold in (-1.0, 0.4, 0.55)
    ]
    options.append({"limit": 5, "threshold": 0.3, "where": SearchFilter(sex=1, birth_years=(1950, 1980))})
    options.append({"limit": 5, "threshold": 0.5, "exclude": [frozenset({1, 2})] * 20})
    for chosen in options:
        assert gallery.search(probes, **chosen) == exact.search(probes, **chosen)


def test_a_score_just_at_the_threshold_is_decided_by_the_original(
    references: References, generation: Path
) -> None:
    """One unit in the last decimal, a hundred-thousandth of what rounding may change."""
    gallery = FaissGallery(DIMENSION, opened(generation))
    probe = near(references.vectors[100:101], 0.6, seed=4)
    ((best, *_),) = ExactGallery(DIMENSION, references).search(probe, limit=1)
    assert gallery.search(probe, limit=1, threshold=best.score)[0] == [best]
    assert gallery.search(probe, limit=1, threshold=best.score + 1e-7) == [[]]


def test_changes_and_compaction_leave_the_oracles_answers_and_no_removed_row(
    references: References, generation: Path
) -> None:
    exact = ExactGallery(DIMENSION, references)
    gallery = FaissGallery(DIMENSION, opened(generation), threads=2)
    for changed in (exact, gallery):
        changed.remove(range(3, 400))
        changed.enrol([Reference(COUNT + 9, 77), Reference(500, 78)], references.vectors[:2])
    gallery.compact()
    stores = [segment.store for segment in gallery._state.segments if len(segment) > COMPRESS_FROM]
    assert stores
    assert all(isinstance(store, CompactStore) for store in stores)
    assert sum(map(len, gallery._state.all)) == len(gallery) == COUNT - 397 + 1
    probes = near(references.vectors[[0, 1, 10, 499, 5000]], 0.7, seed=5)
    assert gallery.search(probes, limit=9, threshold=0.3) == exact.search(probes, limit=9, threshold=0.3)
    for name in ("reference_ids", "person_keys", "sexes", "birth_years", "vectors"):
        np.testing.assert_array_equal(getattr(gallery.references(), name), getattr(exact.references(), name))


def test_recall_is_measured_against_the_originals_on_disk(generation: Path) -> None:
    stored = opened(generation)
    recall = measure_recall(FaissGallery(DIMENSION, stored), stored, probes=60)
    assert recall.value == 1.0
    assert recall.n > 300


def test_what_is_altered_on_disk_later_is_noticed_by_the_search_that_needs_it(
    references: References, generation: Path
) -> None:
    gallery = FaissGallery(DIMENSION, opened(generation))
    path = generation / "vectors.npy"
    data = bytearray(path.read_bytes())
    data[-50] ^= 1
    with path.open("r+b") as file:
        file.write(data)
    assert gallery.search(references.vectors[:1], limit=1, threshold=0.9)[0][0].reference_id == 1
    with pytest.raises(GenerationError, match=r"vectors\.npy is damaged"):
        gallery.search(references.vectors[-1:], limit=1, threshold=0.9)
    with pytest.raises(GenerationError, match=r"vectors\.npy"):
        load_generation(generation, contract_id=PACK, cipher=Gcm())


def test_damage_that_a_compaction_meets_ends_all_answers(references: References, generation: Path) -> None:
    gallery = FaissGallery(DIMENSION, opened(generation))
    with (generation / "vectors.npy").open("r+b") as file:
        file.truncate(100_000)
    gallery.remove([1])
    with pytest.raises(GenerationError, match="damaged"):
        gallery.compact()
    with pytest.raises(GenerationError, match="damaged"):
        gallery.search(random_vectors(1, seed=9, dimension=DIMENSION), limit=1, threshold=0.99)


def test_a_generation_may_be_deleted_while_it_is_searched_and_goes_with_its_gallery(
    references: References, generation: Path
) -> None:
    gallery = FaissGallery(DIMENSION, opened(generation), compact_after_s=0.01)
    shutil.rmtree(generation)
    assert gallery.search(references.vectors[7:8], limit=1, threshold=0.9)[0][0].reference_id == 8
    held = [link for link in Path("/proc/self/fd").iterdir() if str(generation) in _target(link)]
    assert len(held) == 1
    del gallery
    gc.collect()
    assert not [link for link in Path("/proc/self/fd").iterdir() if str(generation) in _target(link)]


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except FileNotFoundError:
        return ""


@pytest.mark.parametrize("name", ["codes", "bounds", "rows", "steps", "worst"])
def test_one_flipped_bit_in_what_was_computed_beforehand_is_found(generation: Path, name: str) -> None:
    path = generation / f"{name}.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(GenerationError, match=name):
        opened(generation)
    with pytest.raises(GenerationError, match=name):
        load_generation(generation, contract_id=PACK, cipher=Gcm())


@pytest.mark.parametrize(("change", "reason"), [({"format_version": 1}, "built anew"), ({}, "another way")])
def test_generations_of_another_format_or_compression_are_refused_and_say_why(
    references: References, tmp_path: Path, change: dict[str, object], reason: str
) -> None:
    generation = write_generation(tmp_path, references, contract_id=PACK, position=5, gallery="flagged")
    path = generation / "manifest.json"
    values = json.loads(path.read_bytes()) | (change or {"compression": "codebook 0"})
    path.write_bytes(with_checksum(values))
    with pytest.raises(GenerationError, match=reason):
        open_generation(generation, contract_id=PACK)


def test_a_plain_generation_is_mapped_and_another_dimension_refused(
    references: References, tmp_path: Path
) -> None:
    generation = write_generation(tmp_path, references, contract_id=PACK, position=5, gallery="flagged")
    stored, _ = open_generation(generation, contract_id=PACK)
    found = FaissGallery(DIMENSION, stored).search(references.vectors[5:6], limit=1, threshold=0.9)
    assert found[0][0].reference_id == 6
    with pytest.raises(DimensionError):
        FaissGallery(DIMENSION + 1, stored)
