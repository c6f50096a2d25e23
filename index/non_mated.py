"""Non-mated searches of a gallery by its own members: each person's best score among the others."""

from collections.abc import Set
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from index.ranking import SCORE_DECIMALS
from index.rows import Rows
from index.types import Vectors

_PROBE_BLOCK = 1024
_REFERENCE_BLOCK = 4096
"""Sizes of one matrix product: 16 MB of scores, at 83 % of peak (shared/performance.md, "All pairs")."""


@dataclass(frozen=True, slots=True)
class NonMatedSearches:
    """Outcome of one search per sampled person against everybody else.

    Attributes:
        persons: Shape (n,), the sampled persons, distinct.
        scores: Shape (n,), float64, each one's best score among other persons.
        nearest: Shape (n,), the other person who scored it.
    """

    persons: NDArray[np.int64]
    scores: NDArray[np.float64]
    nearest: NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of searches, n."""
        return len(self.persons)


def search_among_others(
    references: Rows,
    *,
    sample: int,
    seed: int,
    exclude_pairs: Set[tuple[int, int]] = frozenset(),
) -> NonMatedSearches:
    """Search the gallery with one portrait of each sampled person, leaving that person out.

    One reference, drawn at random, is the probe: a search has one portrait, so taking the
    best of several would overstate it. The other persons count with all their references.

    Args:
        references: The gallery; at least two persons that are no excluded pair.
        sample: Most persons to sample, without replacement.
        seed: Of the draw.
        exclude_pairs: Person keys, in either order, known to be the same person.

    Returns:
        One search per sampled person who has somebody else to be compared with.
    """
    rng = np.random.default_rng(seed)
    by_person = np.argsort(references.person_keys, kind="stable")
    persons, first, counts = np.unique(
        references.person_keys[by_person], return_index=True, return_counts=True
    )
    drawn = np.sort(rng.choice(len(persons), size=min(sample, len(persons)), replace=False))
    rows = by_person[first[drawn] + (rng.random(len(drawn)) * counts[drawn]).astype(np.int64)]
    apart = _mates(exclude_pairs)
    hidden = [
        _rows_of({int(person), *apart.get(int(person), ())}, persons, first, counts, by_person)
        for person in persons[drawn]
    ]
    scores, best = _best_others(references.vectors(rows), references, hidden)
    found = best >= 0
    return NonMatedSearches(
        persons=persons[drawn][found],
        scores=np.asarray(np.round(scores[found].astype(np.float64), SCORE_DECIMALS), dtype=np.float64),
        nearest=references.person_keys[best[found]],
    )


def _mates(pairs: Set[tuple[int, int]]) -> dict[int, set[int]]:
    """Return for each person in a pair the others known to be the same."""
    mates: dict[int, set[int]] = {}
    for one, other in pairs:
        mates.setdefault(one, set()).add(other)
        mates.setdefault(other, set()).add(one)
    return mates


def _rows_of(
    wanted: set[int],
    persons: NDArray[np.int64],
    first: NDArray[np.intp],
    counts: NDArray[np.intp],
    by_person: NDArray[np.intp],
) -> NDArray[np.intp]:
    """Return the rows of all references of some persons; unknown persons have none."""
    places = np.searchsorted(persons, sorted(wanted))
    ranges = [
        by_person[first[place] : first[place] + counts[place]]
        for place, person in zip(places, sorted(wanted), strict=True)
        if place < len(persons) and persons[place] == person
    ]
    return np.concatenate(ranges)


def _best_others(
    probes: Vectors, references: Rows, hidden: list[NDArray[np.intp]]
) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Return each probe's best score and its row, its hidden rows left out; row -1 where none is left.

    References are read once, block by block.
    """
    best = np.full(len(probes), -np.inf, dtype=np.float32)
    row = np.full(len(probes), -1, dtype=np.intp)
    who = np.repeat(np.arange(len(hidden)), [len(rows) for rows in hidden])
    which = np.concatenate(hidden)
    order = np.argsort(which, kind="stable")
    who, which = who[order], which[order]
    for first, vectors in references.blocks(_REFERENCE_BLOCK):
        mine = slice(*np.searchsorted(which, [first, first + len(vectors)]))
        for start in range(0, len(probes), _PROBE_BLOCK):
            scores = probes[start : start + _PROBE_BLOCK] @ vectors.T
            here = (who[mine] >= start) & (who[mine] < start + len(scores))
            scores[who[mine][here] - start, which[mine][here] - first] = -np.inf
            block_best = scores.max(axis=1)
            better = np.flatnonzero(block_best > best[start : start + len(scores)])
            best[start + better] = block_best[better]
            row[start + better] = first + scores[better].argmax(axis=1)
    return best, row
