"""Comparing a gallery's answers with exact search, candidate by candidate."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from index.compact import Enrolled, Originals, originals_of
from index.gallery import Gallery
from index.ranking import exact_scores, ranked_persons
from index.rates import proportion
from index.types import Candidate, Rate, Vectors

_PROBE_BLOCK = 256
_REFERENCE_BLOCK = 8192
"""Sizes of one matrix product; 8 MB of scores."""

MATED_COSINE = 0.6
CANDIDATES = 10
"""What `measure_recall` makes its probes and its threshold of."""


@dataclass(frozen=True, slots=True)
class Differences:
    """How a gallery's candidates differ from those of exact search.

    Attributes:
        probes: Probes compared.
        candidates: Candidates that exact search returned.
        missed: Candidates of exact search that the gallery did not return.
        extra: Candidates of the gallery that exact search did not return.
        max_score_error: Largest difference of a common candidate's score.
    """

    probes: int
    candidates: int
    missed: int
    extra: int
    max_score_error: float

    @property
    def recall(self) -> Rate:
        """Share of exact search's candidates that the gallery returned."""
        return proportion(self.candidates - self.missed, self.candidates)


def compare_with_exact(
    gallery: Gallery, references: Enrolled, probes: Vectors, *, limit: int, threshold: float
) -> Differences:
    """Search a gallery and compare every candidate with exact search.

    Args:
        gallery: Holds exactly `references`.
        references: What exact search searches.
        probes: Shape (n, d).
        limit: Longest candidate list.
        threshold: Lowest score.
    """
    expected = search_exactly(references, probes, limit=limit, threshold=threshold)
    found = [
        candidates
        for start in range(0, len(probes), _PROBE_BLOCK)
        for candidates in gallery.search(
            probes[start : start + _PROBE_BLOCK], limit=limit, threshold=threshold
        )
    ]
    missed = extra = 0
    errors = [0.0]
    for wanted, got in zip(expected, found, strict=True):
        right = {candidate.person_key: candidate.score for candidate in wanted}
        scores = {candidate.person_key: candidate.score for candidate in got}
        missed += len(right.keys() - scores.keys())
        extra += len(scores.keys() - right.keys())
        errors += [abs(right[person] - scores[person]) for person in right.keys() & scores.keys()]
    return Differences(len(probes), sum(map(len, expected)), missed, extra, max(errors))


def measure_recall(gallery: Gallery, references: Enrolled, *, probes: int = 500, seed: int = 0) -> Rate:
    """Measure which share of exact search's candidates a gallery returns, before it is put to use.

    Probes are enrolled vectors mixed with noise to a cosine of about 0.6, as second portraits
    of the same people are (median 0.61 on real embeddings). The threshold is chosen so that a
    probe has about ten candidates: the mate, and strangers close to the cut, whom a compressed
    scan would lose first.

    Args:
        gallery: Holds exactly `references`.
        references: Everything enrolled, at least one.
        probes: Searches made.
        seed: Of the draw and of the noise.
    """
    random = np.random.default_rng(seed)
    rows = random.integers(len(references), size=min(probes, 4 * len(references)))
    originals = originals_of(references)
    noise = random.standard_normal((len(rows), originals.dimension))
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    mixed = MATED_COSINE * originals.originals(rows) + math.sqrt(1.0 - MATED_COSINE**2) * noise
    searched = (mixed / np.linalg.norm(mixed, axis=1, keepdims=True)).astype(np.float32)
    sample = np.concatenate([searched[:32] @ block.T for _, block in _blocks(originals)], axis=1)
    depth = min(CANDIDATES, len(references))
    threshold = float(np.median(np.partition(sample, -depth, axis=1)[:, -depth]))
    return compare_with_exact(gallery, references, searched, limit=2 * CANDIDATES, threshold=threshold).recall


def search_exactly(
    references: Enrolled, probes: Vectors, *, limit: int, threshold: float
) -> list[list[Candidate]]:
    """Compare probes with all references by blocked matrix products.

    Faster than `ExactGallery` on large galleries, since only scores near the threshold are
    computed in float64; meant for thresholds that few scores reach.

    Args:
        references: m references.
        probes: Shape (n, d).
        limit: Longest candidate list.
        threshold: Lowest score.
    """
    margin = probes.shape[1] * 2.0**-23
    originals = originals_of(references)
    near: list[list[int]] = [[] for _ in probes]
    for first, block in _blocks(originals):
        for start in range(0, len(probes), _PROBE_BLOCK):
            scores = probes[start : start + _PROBE_BLOCK] @ block.T
            for flat in np.flatnonzero(scores >= threshold - margin).tolist():
                probe, row = divmod(flat, scores.shape[1])
                near[start + probe].append(first + row)
    return [
        _ranked(references, probe, rows, limit=limit, threshold=threshold)
        for probe, rows in zip(probes, near, strict=True)
    ]


def _blocks(originals: Originals) -> Iterator[tuple[int, Vectors]]:
    """Yield the first row and the vectors of each block, read from disk where they lie there."""
    for first in range(0, len(originals), _REFERENCE_BLOCK):
        last = min(first + _REFERENCE_BLOCK, len(originals))
        yield first, originals.originals(np.arange(first, last, dtype=np.int64))


def _ranked(
    references: Enrolled, probe: Vectors, rows: Sequence[int], *, limit: int, threshold: float
) -> list[Candidate]:
    """Score some rows exactly and rank their persons."""
    chosen = np.array(rows, dtype=np.int64)
    scores = exact_scores(probe[None], originals_of(references).originals(chosen))[0]
    chosen, scores = chosen[scores >= threshold], scores[scores >= threshold]
    return ranked_persons(
        scores,
        reference_ids=references.reference_ids[chosen],
        person_keys=references.person_keys[chosen],
        limit=limit,
    )
