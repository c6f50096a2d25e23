"""How well a pack identifies and verifies labelled persons: open-set search and 1:1 comparison.

Protocol (after ISO/IEC 19795-1 and NIST's FRTE 1:N). The first picture of an identity is the
reference; all references together are the gallery. *Mated searches*: the second picture of each
identity that has one. A picture that gave no template makes its mated search a miss, whichever of
the two it is. *Non-mated searches*: every identity is searched once more with itself left out of
the gallery, by its second picture, or by its only one; a probe without a template is no search.
Pictures after the second take part in the 1:1 comparisons only, which are over all pairs.

A threshold for a false-alarm target is the lowest score above which the observed share of false
alarms is at most the target; a candidate scores at or above the threshold.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from index.comparisons import Comparisons, compare_all
from index.errors import EvaluationError
from index.labelled import LabelledPicture, by_identity
from index.labelled_templates import Outcome
from index.rates import proportion
from index.types import Rate, Vectors

FPIR_TARGETS = (0.1, 0.01, 0.001)
FAR_TARGETS = (0.001, 0.0001)

NOBODY = -1

_BLOCK = 1024


@dataclass(frozen=True, slots=True)
class Searches:
    """Searches of the gallery, one per row; places count pictures in manifest order.

    Attributes:
        probes: Shape (n,), the searched pictures.
        mates: Shape (n,), the enrolled picture of the same identity, also where it has no template.
        scores: Shape (n,), the mate's score; minus infinity where either has no template.
        ranks: Shape (n,), 1 when the mate scores above everybody else; 0 without a score.
        rivals: Shape (n,), the best other reference; `NOBODY` without a probe's template.
        rival_scores: Shape (n,), that one's score; minus infinity without.
    """

    probes: NDArray[np.int64]
    mates: NDArray[np.int64]
    scores: NDArray[np.float64]
    ranks: NDArray[np.int64]
    rivals: NDArray[np.int64]
    rival_scores: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Everything measured on one folder of labelled portraits.

    Attributes:
        images: Number of pictures.
        identities: Number of identities.
        failure_to_enrol: Share of pictures that gave no template.
        mated: Searches of the second pictures.
        non_mated: One search per identity with itself left out; `rivals` is the best candidate.
        comparisons: 1:1, over all pairs of pictures.
        rank1: Share of mated searches whose mate scores highest; ties count against.
        fnir: By target, the share of mated searches whose mate scores below `fpir_thresholds`.
        tar: By target, the share of mated pairs at or above `far_thresholds`.
        fpir_thresholds: By target false-positive identification rate.
        far_thresholds: By target false accept rate per pair.
    """

    images: int
    identities: int
    failure_to_enrol: Rate
    mated: Searches = field(repr=False)
    non_mated: Searches = field(repr=False)
    comparisons: Comparisons = field(repr=False)
    rank1: Rate
    fnir: dict[float, Rate]
    tar: dict[float, Rate]
    fpir_thresholds: dict[float, float]
    far_thresholds: dict[float, float]


def evaluate_outcomes(pictures: Sequence[LabelledPicture], outcomes: Sequence[Outcome]) -> Evaluation:
    """Measure identification and verification.

    Args:
        pictures: Manifest rows.
        outcomes: Their templates, in the same order.

    Raises:
        EvaluationError: There is no identity with two pictures, or fewer than two identities with a template.
    """
    places = by_identity(pictures)
    if all(len(own) < 2 for own in places.values()):
        raise EvaluationError(
            "no identity has two pictures, so nobody can be searched for; add second pictures"
        )
    searcher = _Searcher(places, outcomes)
    mated = searcher.search([(own[1], own[0]) for own in places.values() if len(own) > 1])
    non_mated = searcher.search([(own[min(1, len(own) - 1)], own[0]) for own in places.values()])
    false_scores = non_mated.rival_scores[np.isfinite(non_mated.rival_scores)]
    if len(false_scores) < 2:
        raise EvaluationError("fewer than two identities gave a template; look at the failures, or the pack")
    fpir_thresholds = {target: threshold_for(false_scores, target) for target in FPIR_TARGETS}
    labels = _labels(places, len(pictures))
    comparisons = compare_all([outcome.template for outcome in outcomes], labels, max_far=max(FAR_TARGETS))
    far_thresholds = {target: comparisons.threshold_for(target) for target in FAR_TARGETS}
    failed = sum(outcome.template is None for outcome in outcomes)
    n = len(mated.probes)
    return Evaluation(
        images=len(pictures),
        identities=len(places),
        failure_to_enrol=proportion(failed, len(pictures)),
        mated=mated,
        non_mated=non_mated,
        comparisons=comparisons,
        rank1=proportion(int((mated.ranks == 1).sum()), n),
        fnir={t: proportion(int((mated.scores < at).sum()), n) for t, at in fpir_thresholds.items()},
        tar={t: comparisons.accept_rate(at) for t, at in far_thresholds.items()},
        fpir_thresholds=fpir_thresholds,
        far_thresholds=far_thresholds,
    )


def evaluate_groups(
    pictures: Sequence[LabelledPicture], outcomes: Sequence[Outcome]
) -> dict[str, Evaluation | str]:
    """Measure each group by itself: its own gallery, pairs and thresholds.

    Args:
        pictures: Manifest rows with their groups.
        outcomes: Their templates, in the same order.

    Returns:
        By group, in alphabetical order; the reason where a group cannot be measured.
    """
    measured: dict[str, Evaluation | str] = {}
    for group in sorted({picture.group for picture in pictures}):
        own = [place for place, picture in enumerate(pictures) if picture.group == group]
        try:
            measured[group] = evaluate_outcomes(
                [pictures[place] for place in own], [outcomes[place] for place in own]
            )
        except EvaluationError as error:
            measured[group] = str(error)
    return measured


def threshold_for(false_scores: NDArray[np.float64], target: float) -> float:
    """Return the lowest threshold at which at most a share `target` of non-mated scores is reached.

    Args:
        false_scores: Best score of each non-mated search, or score of each non-mated pair.
        target: Above 0; when it is less than one in n, the threshold is just above the highest score.
    """
    allowed = int(np.floor(target * len(false_scores) + 1e-9))
    if allowed >= len(false_scores):
        return -1.0
    highest_refused = float(np.partition(false_scores, len(false_scores) - 1 - allowed)[-1 - allowed])
    return float(np.nextafter(highest_refused, np.inf))


class _Searcher:
    """Searches the gallery of first pictures, leaving the probe's own identity to be told apart."""

    def __init__(self, places: dict[str, list[int]], outcomes: Sequence[Outcome]) -> None:
        self._outcomes = outcomes
        enrolled = [own[0] for own in places.values() if outcomes[own[0]].template is not None]
        self._enrolled = np.array(enrolled, np.int64)
        self._row = {place: row for row, place in enumerate(enrolled)}
        self._gallery = _stack([outcomes[place] for place in enrolled])

    def search(self, pairs: Sequence[tuple[int, int]]) -> Searches:
        """Search with each pair's probe for its mate."""
        n = len(pairs)
        found = Searches(
            probes=np.array([probe for probe, _ in pairs], np.int64),
            mates=np.array([mate for _, mate in pairs], np.int64),
            scores=np.full(n, -np.inf),
            ranks=np.zeros(n, np.int64),
            rivals=np.full(n, NOBODY, np.int64),
            rival_scores=np.full(n, -np.inf),
        )
        usable = [i for i, (probe, _) in enumerate(pairs) if self._outcomes[probe].template is not None]
        for start in range(0, len(usable), _BLOCK):
            self._search_block(np.array(usable[start : start + _BLOCK]), found)
        return found

    def _search_block(self, rows: NDArray[np.int64], found: Searches) -> None:
        if not len(self._gallery):
            return
        vectors = _stack([self._outcomes[int(place)] for place in found.probes[rows]])
        scores = (vectors @ self._gallery.T).astype(np.float64)
        columns = np.array([self._row.get(int(mate), NOBODY) for mate in found.mates[rows]])
        known = np.flatnonzero(columns != NOBODY)
        found.scores[rows[known]] = scores[known, columns[known]]
        scores[known, columns[known]] = -np.inf
        best = scores.argmax(axis=1)
        best_scores = scores[np.arange(len(rows)), best]
        someone = np.isfinite(best_scores)
        found.rivals[rows[someone]] = self._enrolled[best[someone]]
        found.rival_scores[rows[someone]] = best_scores[someone]
        at_least = (scores[known] >= found.scores[rows[known], None]).sum(axis=1)
        found.ranks[rows[known]] = 1 + at_least


def _stack(outcomes: Sequence[Outcome]) -> Vectors:
    return (
        np.stack([o.template for o in outcomes if o.template is not None])
        if outcomes
        else np.empty((0, 1), np.float32)
    )


def _labels(places: dict[str, list[int]], pictures: int) -> NDArray[np.int64]:
    labels = np.empty(pictures, np.int64)
    for label, own in enumerate(places.values()):
        labels[own] = label
    return labels
