"""All pairs against a plain product of everything with everything."""

import shutil
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index import linking
from index.errors import DimensionError
from index.linking import Linker, Links, blocks, link_block, merge
from index.snapshot import open_generation, write_generation
from index.types import References
from tests.index.test_snapshot_fuzz import Gcm


def gallery(count: int, *, persons: int, seed: int, dimension: int = 32, first: int = 1) -> References:
    """Random references of random persons, some of them close to each other."""
    random = np.random.default_rng(seed)
    centres = random.standard_normal((max(1, persons // 2), dimension))
    rows = centres[random.integers(len(centres), size=count)] + random.standard_normal((count, dimension))
    return References(
        reference_ids=np.arange(first, first + count, dtype=np.int64),
        person_keys=random.integers(1, persons + 1, count).astype(np.int64),
        sexes=np.zeros(count, np.uint8),
        birth_years=np.zeros(count, np.uint16),
        vectors=(rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32),
    )


def link(left: References, right: References | None, threshold: float) -> Links:
    return merge([link_block(left, right, block, threshold=threshold) for block in range(blocks(left))])


def oracle(left: References, right: References | None, threshold: float) -> dict[tuple[int, int], float]:
    others = left if right is None else right
    scores = np.round(left.vectors.astype(np.float64) @ others.vectors.astype(np.float64).T, 7)
    best: dict[tuple[int, int], float] = {}
    for row, column in zip(*np.nonzero(scores >= threshold), strict=True):
        pair = (int(left.person_keys[row]), int(others.person_keys[column]))
        if pair[0] == pair[1]:
            continue
        pair = (min(pair), max(pair)) if right is None else pair
        best[pair] = max(best.get(pair, -1.0), float(scores[row, column]))
    return best


def as_pairs(links: Links) -> dict[tuple[int, int], float]:
    return {(int(a), int(b)): float(s) for a, b, s in zip(links.left, links.right, links.scores, strict=True)}


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks so small that every test crosses their borders."""
    monkeypatch.setattr(linking, "ROWS", 16)
    monkeypatch.setattr(linking, "COLUMNS", 24)


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.8])
@pytest.mark.parametrize("count", [1, 15, 16, 17, 131])
def test_no_pair_within_a_gallery_is_lost_or_added(count: int, threshold: float) -> None:
    left = gallery(count, persons=60, seed=count)
    found = as_pairs(link(left, None, threshold))
    expected = oracle(left, None, threshold)
    assert found.keys() == expected.keys()
    assert all(abs(found[pair] - expected[pair]) <= 1e-7 for pair in found)


def test_no_pair_between_two_galleries_is_lost_or_added() -> None:
    left = gallery(70, persons=40, seed=1)
    right = gallery(110, persons=40, seed=1, first=1000)
    assert as_pairs(link(left, right, 0.4)).keys() == oracle(left, right, 0.4).keys()


def test_best_references_are_named_and_best_pairs_come_first() -> None:
    left = gallery(100, persons=20, seed=3)
    links = link(left, None, 0.3)
    assert (np.diff(links.scores) <= 0).all()
    place = {int(reference): row for row, reference in enumerate(left.reference_ids)}
    for at in range(len(links)):
        one, other = place[int(links.left_references[at])], place[int(links.right_references[at])]
        assert {int(left.person_keys[one]), int(left.person_keys[other])} == {
            int(links.left[at]),
            int(links.right[at]),
        }
        exact = float(left.vectors[one].astype(np.float64) @ left.vectors[other].astype(np.float64))
        assert abs(exact - links.scores[at]) <= 1e-6


def test_pair_that_scores_exactly_the_threshold_is_returned() -> None:
    left = gallery(40, persons=40, seed=5)
    score = float(link(left, None, 0.2).scores[3])
    assert (link(left, None, score).scores >= score).all()
    assert score in link(left, None, score).scores


def test_blocks_may_come_in_any_order_and_twice() -> None:
    left = gallery(90, persons=50, seed=6)
    parts = [link_block(left, None, block, threshold=0.4) for block in range(blocks(left))]
    assert as_pairs(merge([*reversed(parts), parts[0]])) == as_pairs(merge(parts))


def test_empty_gallery_has_no_pairs() -> None:
    assert len(link(gallery(0, persons=1, seed=0), None, 0.5)) == 0


def test_galleries_of_different_dimension_are_refused() -> None:
    with pytest.raises(DimensionError):
        link_block(
            gallery(3, persons=3, seed=0), gallery(3, persons=3, seed=0, dimension=16), 0, threshold=0.5
        )


@settings(max_examples=25, deadline=None)
@given(count=st.integers(1, 60), persons=st.integers(1, 30), seed=st.integers(0, 99))
def test_any_gallery_gives_the_pairs_of_the_plain_product(count: int, persons: int, seed: int) -> None:
    left = gallery(count, persons=persons, seed=seed)
    assert as_pairs(link(left, None, 0.35)).keys() == oracle(left, None, 0.35).keys()


@pytest.mark.parametrize("alone", [True, False])
def test_no_pair_among_twenty_thousand_is_lost_by_the_compressed_scan(
    monkeypatch: pytest.MonkeyPatch, *, alone: bool
) -> None:
    monkeypatch.setattr(linking, "ROWS", 1024)
    monkeypatch.setattr(linking, "COLUMNS", 4096)
    monkeypatch.setattr(linking, "_SEGMENTS", 2)
    everybody = gallery(20_000, persons=18_000, seed=5, dimension=64)
    left = everybody if alone else gallery(1500, persons=900, seed=5, dimension=64, first=50_000)
    right = None if alone else everybody
    expected = link(left, right, 0.5)
    with closing(Linker(left, right, threshold=0.5)) as linker:
        assert all(segment.scan is not None for _, segment in linker._segments)
        found = merge([linker.block(block) for block in range(blocks(left))])
    assert len(expected) > 300
    for name in ("left", "right", "left_references", "right_references", "scores"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


def test_small_galleries_and_low_thresholds_are_compared_by_products() -> None:
    left = gallery(40, persons=30, seed=6)
    for threshold in (0.1, 0.5):
        with closing(Linker(left, None, threshold=threshold)) as linker:
            found = merge([linker.block(block) for block in range(blocks(left))])
        assert as_pairs(found) == oracle(left, None, threshold)


@pytest.mark.parametrize("threshold", [0.25, 0.6])
def test_pairs_of_a_generation_on_disk_are_those_of_vectors_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threshold: float
) -> None:
    """By products and by codes; within one gallery, and from one in memory to the one on disk."""
    monkeypatch.setattr(linking, "ROWS", 1024)
    monkeypatch.setattr(linking, "COLUMNS", 4096)
    monkeypatch.setattr(linking, "_SEGMENTS", 2)
    everybody = gallery(9000, persons=8000, seed=7, dimension=64)
    path = write_generation(tmp_path, everybody, contract_id="p", position=1, gallery="flagged", cipher=Gcm())
    stored, _ = open_generation(path, contract_id="p", cipher=Gcm())
    shutil.rmtree(path)
    few = gallery(600, persons=300, seed=7, dimension=64, first=50_000)
    for left, right, expected in (
        (stored, None, link(everybody, None, threshold)),
        (few, stored, link(few, everybody, threshold)),
    ):
        assert len(expected) > 100
        with closing(Linker(left, right, threshold=threshold)) as linker:
            found = merge([linker.block(block) for block in range(blocks(left))])
        for name in ("left", "right", "left_references", "right_references", "scores"):
            np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
