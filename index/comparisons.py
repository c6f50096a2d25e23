"""1:1 comparisons over all pairs of labelled pictures, in bounded memory."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from index.extraction import Template
from index.rates import proportion
from index.types import Rate

BINS = 200
"""Bins of the histograms, from -1 to 1: 0.01 each, finer than a screen shows."""

_BLOCK_SCORES = 1 << 23
"""Scores looked at together: 32 MB of them, and as much again for each mask and copy."""


@dataclass(frozen=True, slots=True)
class Comparisons:
    """Scores of all pairs of pictures that have a template.

    Attributes:
        mated_scores: Shape (p,), every pair of the same identity.
        mated_labels: Shape (p,), whose pair it is.
        non_mated_top: The highest scores of pairs of different identities, descending: enough for the
            largest false accept rate asked for, and one more.
        non_mated_pairs: Number of pairs of different identities.
        mated_histogram: Shape (BINS,), counts from -1 to 1.
        non_mated_histogram: The same for pairs of different identities.
    """

    mated_scores: NDArray[np.float64] = field(repr=False)
    mated_labels: NDArray[np.int64] = field(repr=False)
    non_mated_top: NDArray[np.float64] = field(repr=False)
    non_mated_pairs: int
    mated_histogram: NDArray[np.int64] = field(repr=False)
    non_mated_histogram: NDArray[np.int64] = field(repr=False)

    def threshold_for(self, far: float) -> float:
        """Return the lowest threshold that at most a share `far` of the non-mated pairs reaches.

        Args:
            far: At most what `compare_all` was told. Below one in `non_mated_pairs` the threshold lies
                just above the highest non-mated score.
        """
        allowed = int(np.floor(far * self.non_mated_pairs + 1e-9))
        if allowed >= self.non_mated_pairs:
            return -1.0
        return float(np.nextafter(self.non_mated_top[allowed], np.inf))

    def accept_rate(self, threshold: float) -> Rate:
        """Return the share of mated pairs at or above a threshold; its interval knows they depend."""
        accepted = self.mated_scores >= threshold
        effect = design_effect(accepted, self.mated_labels)
        return proportion(int(accepted.sum()), len(accepted), design_effect=effect)

    def match_rate(self, threshold: float) -> float:
        """Return the share of non-mated pairs at or above a threshold, as far as `non_mated_top` reaches."""
        return float((self.non_mated_top >= threshold).sum()) / max(1, self.non_mated_pairs)


def compare_all(
    templates: Sequence[Template | None], labels: NDArray[np.int64], *, max_far: float
) -> Comparisons:
    """Compare every picture with every other.

    Args:
        templates: One per picture, None where there is none.
        labels: Shape (n,), equal numbers for equal identities.
        max_far: Largest false accept rate that will be asked for.
    """
    usable = [place for place, template in enumerate(templates) if template is not None]
    if not usable:
        usable_labels, vectors = np.empty(0, np.int64), np.empty((0, 1), np.float32)
    else:
        usable_labels, vectors = labels[usable], np.stack([t for t in templates if t is not None])
    kept = _Kept(_count_non_mated(usable_labels), max_far)
    step = max(1, _BLOCK_SCORES // max(1, len(vectors)))
    for start in range(0, len(vectors), step):
        rows = slice(start, start + step)
        scores = vectors[rows] @ vectors[start:].T
        upper = np.triu(np.ones(scores.shape, bool), 1)
        same = usable_labels[rows, None] == usable_labels[None, start:]
        kept.take(scores, upper & same, upper & ~same, usable_labels[rows])
    return kept.comparisons()


def design_effect(accepted: NDArray[np.bool_], labels: NDArray[np.int64]) -> float:
    """Tell how many times fewer independent trials the pairs are worth than they are many.

    Persons are drawn, not pairs: the variance of the ratio estimator over persons, over that of as many
    independent pairs. Where all or none are accepted, pairs per person.

    Source: Kish, Survey Sampling (1965), 6.4 and 8.2; Cochran, Sampling Techniques (1977), 9A.2.
    """
    _, person = np.unique(labels, return_inverse=True)
    persons, pairs = int(person.max(initial=-1)) + 1, len(accepted)
    if persons < 2:
        return max(1.0, float(pairs))
    share = float(accepted.mean())
    if share in (0.0, 1.0):
        return pairs / persons
    residual = np.bincount(person, accepted.astype(float) - share)
    variance = persons / (persons - 1) * float((residual**2).sum()) / pairs**2
    return max(1.0, variance / (share * (1 - share) / pairs))


def _count_non_mated(labels: NDArray[np.int64]) -> int:
    _, counts = np.unique(labels, return_counts=True)
    n = len(labels)
    return n * (n - 1) // 2 - int((counts * (counts - 1) // 2).sum())


class _Kept:
    """What is remembered of the scores while blocks pass by."""

    def __init__(self, non_mated_pairs: int, max_far: float) -> None:
        self._pairs = non_mated_pairs
        self._limit = int(np.floor(max_far * non_mated_pairs + 1e-9)) + 1
        self._top = np.empty(0)
        self._mated: list[NDArray[np.float64]] = []
        self._labels: list[NDArray[np.int64]] = []
        self._mated_histogram = np.zeros(BINS, np.int64)
        self._non_mated_histogram = np.zeros(BINS, np.int64)

    def take(
        self,
        scores: NDArray[np.float32],
        mated: NDArray[np.bool_],
        non_mated: NDArray[np.bool_],
        labels: NDArray[np.int64],
    ) -> None:
        own = scores[mated].astype(np.float64)
        others = scores[non_mated].astype(np.float64)
        self._mated.append(own)
        self._labels.append(labels[np.nonzero(mated)[0]])
        self._mated_histogram += _histogram(own)
        self._non_mated_histogram += _histogram(others)
        floor = self._top[-1] if len(self._top) == self._limit else -np.inf
        merged = np.concatenate([self._top, others[others > floor]])
        self._top = np.sort(merged)[::-1][: self._limit]

    def comparisons(self) -> Comparisons:
        return Comparisons(
            mated_scores=np.concatenate(self._mated or [np.empty(0)]),
            mated_labels=np.concatenate(self._labels or [np.empty(0, np.int64)]),
            non_mated_top=self._top,
            non_mated_pairs=self._pairs,
            mated_histogram=self._mated_histogram,
            non_mated_histogram=self._non_mated_histogram,
        )


def _histogram(scores: NDArray[np.float64]) -> NDArray[np.int64]:
    # Rounding can carry a cosine a hair past 1.
    return np.histogram(np.clip(scores, -1.0, 1.0), bins=BINS, range=(-1.0, 1.0))[0]
