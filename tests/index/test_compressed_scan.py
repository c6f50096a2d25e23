"""What the compressed scan promises, measured."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.codebook import PAIRS, TRIPLES, Codebook, codebook_for
from index.codes import encoded
from index.compact import compression
from index.compressed_scan import CompressedScan
from index.machine_code import why_not
from index.probes import Probes
from index.rotation import fixed_rotation
from index.types import Vectors


@pytest.fixture(params=["machine code", "FAISS"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What scans: our own machine code, or FAISS as on a machine that cannot run it."""
    if request.param == "FAISS":
        monkeypatch.setattr("index.machine_code.why_not", lambda: "a test says so")
    elif why := why_not():
        pytest.skip(why)


def unit(rows: np.ndarray) -> Vectors:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def lopsided(count: int, dimension: int, *, seed: int) -> Vectors:
    """Vectors as unlike noise as an encoder's may be: few strong directions, a common offset."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((count, dimension)) * np.exp(-np.arange(dimension) / 20.0)
    return unit(rows + 0.3 * (np.arange(dimension) < 3))


def pairs_at(cosines: np.ndarray, vectors: Vectors, *, seed: int) -> Vectors:
    """One probe per row, at a given true cosine from it."""
    aside = np.random.default_rng(seed).standard_normal(vectors.shape)
    aside -= (aside * vectors).sum(axis=1, keepdims=True) * vectors
    return unit(cosines[:, None] * vectors + np.sqrt(1 - cosines[:, None] ** 2) * unit(aside))


@pytest.mark.parametrize("dimension", [1, 5, 64, 130, 512])
def test_the_rotation_keeps_every_inner_product(dimension: int) -> None:
    rotation = codebook_for(dimension).rotation(dimension)
    assert rotation.padded % (2 * codebook_for(dimension).group) == 0
    np.testing.assert_allclose(rotation.matrix @ rotation.matrix.T, np.eye(dimension), atol=1e-6)


def test_the_length_of_a_rotated_vector_is_known_without_its_rotation() -> None:
    """A rotation of 40,000 dimensions would take 13 GB and an hour."""
    assert codebook_for(40_000).padded(40_000) == 40_002
    assert codebook_for(512).padded(512) == codebook_for(512).rotation(512).padded == 516


def test_the_rotation_is_the_same_every_time() -> None:
    fixed_rotation.cache_clear()
    first = fixed_rotation(64, 4).matrix.copy()
    fixed_rotation.cache_clear()
    np.testing.assert_array_equal(first, fixed_rotation(64, 4).matrix)
    np.testing.assert_allclose(first[0, :4], [-0.1029446, -0.0026269, -0.0979344, -0.0451558], atol=1e-6)


def noise(count: int, dimension: int, *, seed: int) -> Vectors:
    """Vectors without any structure."""
    return unit(np.random.default_rng(seed).standard_normal((count, dimension)))


@pytest.mark.parametrize("dimension", [64, 128, 512])
@pytest.mark.parametrize("make", [lopsided, noise])
def test_no_reference_at_or_above_the_threshold_falls_below_the_cut(
    dimension: int, make: Callable[..., Vectors]
) -> None:
    """Every reference is met by one probe exactly at the threshold, where a loss is likeliest."""
    count = 1500
    vectors = make(count, dimension, seed=1)
    scan = CompressedScan(vectors)
    for threshold in (0.1, 0.3, 0.6):
        probes = pairs_at(np.full(count, threshold + 1e-6), vectors, seed=2)
        hits = scan.search(Probes.of(probes), depth=count)
        cuts = scan.cut(np.full(count, threshold), steps=Probes.of(probes).steps)
        own = hits.scores[hits.rows == hits.probes]
        assert (own >= cuts).all()
        # The margin is no luxury: the worst of 1,500 uses up a good part of it.
        typical = np.median(own)
        assert (typical - own.min()) > 0.25 * (typical - np.median(cuts))


def test_the_error_has_the_distribution_that_the_bound_rests_on() -> None:
    """w of the module's formula: mean 0 and variance 1/(D-1), with normal tails."""
    vectors = lopsided(20_000, 256, seed=3)
    scan = CompressedScan(vectors)
    cosine = 0.3
    probes = pairs_at(np.full(20_000, cosine), vectors, seed=4)[:400]
    hits = scan.search(Probes.of(probes), depth=20_000)
    compressed = np.empty((400, 20_000))
    compressed[hits.probes, hits.rows] = hits.scores
    true = probes.astype(np.float64) @ vectors.T.astype(np.float64)
    residual = compressed - 0.893 * true
    scaled = residual / (0.31 * np.sqrt(1 - true**2) / math.sqrt(255))
    assert abs(scaled.mean()) < 0.15
    assert scaled.std() == pytest.approx(1.0, abs=0.1)
    beyond_four = np.mean(np.abs(scaled - scaled.mean()) > 4 * scaled.std())
    assert beyond_four < 5 * math.erfc(4 / math.sqrt(2))


@pytest.mark.parametrize("depth", [1, 20, 200, 2999])
def test_everything_above_the_floor_was_returned(engine: None, depth: int) -> None:
    vectors = unit(np.random.default_rng(5).standard_normal((3000, 128)))
    scan = CompressedScan(vectors)
    probes = pairs_at(np.linspace(0.2, 0.9, 50), vectors[:50], seed=6)
    hits = scan.search(Probes.of(probes), depth=depth)
    true = probes @ vectors.T
    for row in range(50):
        left_out = np.setdiff1d(np.arange(3000), hits.rows[hits.probes == row])
        assert true[row, left_out].max() < hits.floor[row]


def test_a_scan_of_everything_has_no_floor(engine: None) -> None:
    vectors = unit(np.random.default_rng(7).standard_normal((40, 64)))
    hits = CompressedScan(vectors).search(Probes.of(vectors[:3]), depth=1000)
    assert np.isneginf(hits.floor).all()
    assert [sorted(hits.rows[hits.probes == row].tolist()) for row in range(3)] == [list(range(40))] * 3


SCAN = CompressedScan(unit(np.random.default_rng(8).standard_normal((500, 96))))


@given(st.floats(0.0, 0.999), st.floats(1e-5, 1e-3))
def test_the_floor_undoes_the_cut(threshold: float, step: float) -> None:
    steps = np.array([step])
    cut = SCAN.cut(np.array([threshold]), steps=steps)
    floor = float(SCAN.floor(cut, steps=steps)[0])
    assert floor == pytest.approx(threshold, abs=2e-6)


@given(st.floats(-1.0, 1.0), st.floats(-1.0, 1.0))
def test_a_higher_score_left_out_means_a_higher_floor(one: float, other: float) -> None:
    steps = np.array([1e-4, 1e-4])
    low, high = SCAN.floor(np.sort([one, other]), steps=steps)
    assert low <= high


def test_below_zero_nothing_is_known() -> None:
    assert np.isneginf(SCAN.cut(np.array([-0.5]), steps=np.array([1e-4])))[0]


@pytest.mark.parametrize("dimension", [128, 512])
def test_a_scan_by_a_cut_returns_every_planted_reference_and_little_else(
    engine: None, dimension: int
) -> None:
    """Pairs and triples: every reference is met by one probe exactly at the threshold."""
    count = 1500
    vectors = lopsided(count, dimension, seed=9)
    scan = CompressedScan(vectors)
    probes = Probes.of(pairs_at(np.full(count, 0.4 + 1e-6), vectors, seed=10))
    hits = scan.within(probes, threshold=0.4)
    assert hits is not None
    assert (hits.floor == 0.4).all()
    assert (np.diff(hits.probes) >= 0).all()
    np.testing.assert_array_equal(np.sort(hits.rows[hits.rows == hits.probes]), np.arange(count))
    everything = scan.search(probes, depth=count, threshold=0.4)
    for one, other in ((hits, everything), (everything, hits)):
        pairs = set(zip(one.probes.tolist(), one.rows.tolist(), strict=True))
        assert pairs == set(zip(other.probes.tolist(), other.rows.tolist(), strict=True))
    assert len(hits.rows) < hits.near.sum()


def test_thresholds_without_a_positive_cut_are_not_asked_of_a_scan() -> None:
    probes = Probes.of(noise(3, 96, seed=11))
    assert SCAN.within(probes, threshold=0.0) is None
    assert SCAN.within(probes, threshold=-1.0) is None


@pytest.mark.parametrize("codebook", [PAIRS, TRIPLES])
def test_points_say_as_much_as_they_are_documented_to(codebook: Codebook) -> None:
    width = 60 * codebook.group
    rows = np.random.default_rng(12).standard_normal((2000, width)).astype(np.float32) / math.sqrt(width)
    error = width * ((rows - codebook.decoded(codebook.codes(rows))) ** 2).mean()
    assert error == pytest.approx({2: 0.1076, 3: 0.2357}[codebook.group], abs=0.002)


@pytest.mark.parametrize("dimension", [128, 512])
def test_what_is_kept_of_a_reference_errs_on_the_safe_side(dimension: int) -> None:
    codebook = codebook_for(dimension)
    rotated = Probes.of(lopsided(500, dimension, seed=13)).rotated
    packed, bounds = encoded(rotated, codebook)
    codes = np.stack([packed & 15, packed >> 4], axis=2).reshape(500, -1)
    decoded = codebook.decoded(codes).astype(np.float64)
    along = (decoded * rotated).sum(axis=1)
    off = np.linalg.norm(decoded - along[:, None] * rotated, axis=1)
    assert (bounds[:, 0] <= along + 1e-6).all()
    assert (bounds[:, 1] >= off - 1e-6).all()
    np.testing.assert_allclose(bounds, np.stack([along, off], axis=1), atol=1e-3)


def test_long_vectors_have_triples_and_generations_say_so() -> None:
    assert codebook_for(256) is PAIRS
    assert codebook_for(512) is TRIPLES
    assert TRIPLES.code_bytes(512) == 86
    assert compression(256) != compression(512)
