"""The scan by machine code, against the same sums made one by one."""

from typing import cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from index import machine_code
from index.codebook import TRIPLES, codebook_for
from index.codes import encoded
from index.compressed_scan import CompressedScan
from index.faiss_scan import FaissScan
from index.machine_code import ScanCode, scan_code, why_not
from index.native_scan import NativeScan
from index.probes import MAX_GROUPS, Probes, Tables, code_for
from index.scan_ir import TOP
from index.types import Vectors

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not() or "machine code runs here")


def unit(count: int, dimension: int, *, seed: int) -> Vectors:
    rows = np.random.default_rng(seed).standard_normal((count, dimension))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def code() -> ScanCode:
    return cast("ScanCode", scan_code())


def codes_of(vectors: Vectors) -> tuple[NDArray[np.uint8], NDArray[np.intp]]:
    """Codes as they are stored, two in a byte, and one by one."""
    packed, _ = encoded(Probes.of(vectors).rotated, codebook_for(vectors.shape[1]))
    return packed, np.stack([packed & 15, packed >> 4], axis=2).reshape(len(packed), -1).astype(np.intp)


def sums_of(tables: Tables, codes: NDArray[np.intp]) -> NDArray[np.int64]:
    """What every row adds up to for every probe, shape (n, m)."""
    groups = np.arange(codes.shape[1])
    return np.stack(
        [
            tables.entries[codes, probe, groups].sum(axis=1, dtype=np.int64)
            for probe in range(len(tables.steps))
        ]
    )


@settings(deadline=None, max_examples=40)
@given(
    rows=st.integers(1, 200),
    probes=st.integers(1, 19),
    dimension=st.sampled_from([33, 66, 130, 448, 512]),
    share=st.sampled_from([0.0, 0.02, 0.5, 1.0]),
    seed=st.integers(0, 2**16),
)
def test_what_is_above_a_cut_is_what_sums_made_one_by_one_say(
    rows: int, probes: int, dimension: int, share: float, seed: int
) -> None:
    """Odd numbers of rows, probes and code bytes; each probe with a cut of its own; more hits than room."""
    vectors = unit(rows, dimension, seed=seed)
    packed, codes = codes_of(vectors)
    asked = Probes.of(unit(probes, dimension, seed=seed + 1))
    tables = cast("Tables", asked.tables)
    sums = sums_of(tables, codes)
    scores = (sums * tables.steps[:, None] + tables.starts[:, None]).astype(np.float32)
    cuts = np.quantile(scores.astype(np.float64), 1.0 - share, axis=1) - 1e-6
    cuts[0] = 2.0 if share == 0.0 else -2.0
    near, found, found_scores = NativeScan(packed, code()).above(asked, cuts)
    which = np.repeat(np.arange(probes), near)
    wanted = np.nonzero(scores >= cuts[:, None])
    np.testing.assert_array_equal(which, wanted[0])
    np.testing.assert_array_equal(found, wanted[1])
    np.testing.assert_array_equal(found_scores, scores[wanted])


@settings(deadline=None, max_examples=20)
@given(rows=st.integers(1, 200), depth=st.integers(1, 200), seed=st.integers(0, 2**16))
def test_the_best_are_in_order_and_none_better_is_left_out(rows: int, depth: int, seed: int) -> None:
    depth = min(depth, rows)
    packed, codes = codes_of(unit(rows, 96, seed=seed))
    asked = Probes.of(unit(3, 96, seed=seed + 1))
    sums = sums_of(cast("Tables", asked.tables), codes)
    ranked, found = NativeScan(packed, code()).best(asked, depth)
    for probe in range(3):
        assert len(set(found[probe].tolist())) == depth
        np.testing.assert_array_equal(sums[probe, found[probe]], np.sort(sums[probe])[::-1][:depth])
    assert (np.diff(ranked, axis=1) <= 0).all()


@given(st.integers(1, 40), st.sampled_from([32, 256, 512]), st.integers(0, 2**16))
def test_an_entry_is_off_by_half_a_step_at_most(probes: int, dimension: int, seed: int) -> None:
    codebook = codebook_for(dimension)
    rotated = Probes.of(unit(probes, dimension, seed=seed)).rotated
    tables = Tables.of(rotated, codebook)
    points = codebook.centroids(rotated.shape[1])
    exact = np.einsum("pg,nmg->pnm", points, rotated.reshape(probes, -1, codebook.group))
    least = exact.min(axis=0)
    said = tables.entries * tables.steps[:, None] + least
    assert np.abs(said - exact).max() <= 0.5001 * tables.steps.max() + 1e-7
    assert tables.entries.max(axis=(0, 2)).tolist() == [TOP] * probes
    np.testing.assert_allclose(tables.starts, least.sum(axis=1), atol=1e-5)


def test_a_probe_without_direction_is_scanned_too() -> None:
    """A zero vector has tables without width."""
    packed, _ = codes_of(unit(40, 96, seed=1))
    asked = Probes.of(np.zeros((1, 96), dtype=np.float32))
    near, _, scores = NativeScan(packed, code()).above(asked, np.array([-1.0]))
    assert near.tolist() == [40]
    assert (scores == 0.0).all()


@pytest.mark.parametrize("why", ["the processor has no AVX2", ""])
def test_faiss_scans_where_machine_code_cannot_run(why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("index.machine_code.why_not", lambda: why)
    scan = CompressedScan(unit(40, 96, seed=2))
    assert isinstance(scan._scan, FaissScan if why else NativeScan)
    assert (Probes.of(unit(1, 96, seed=3)).tables is None) is bool(why)


def test_faiss_scans_what_sums_of_16_bits_cannot_hold() -> None:
    dimension = TRIPLES.group * MAX_GROUPS
    assert code_for(TRIPLES, dimension) is code()
    assert code_for(TRIPLES, dimension + 1) is None
    assert np.iinfo(np.uint16).max > MAX_GROUPS * TOP


def test_memory_that_may_not_be_executed_is_noticed() -> None:
    assert machine_code._may_execute()
