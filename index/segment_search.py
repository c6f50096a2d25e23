"""Searching segments: exactly row by row, or through codes with exact comparison of the finds.

Either way a segment answers with every reference that matters at or above some score,
the *floor* of its answer. What memory holds may be rounded (`index.compact`), so everything
within the rounding's bound of what matters is kept, and the last comparison is with originals.
`search_segments` puts the answers together, sees which score matters in the end (the
threshold, or that of the last person who fits the list) and goes deeper wherever a floor
lies above it, until none does.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from index.compressed_scan import Hits
from index.probes import Probes
from index.questions import Depths, Question, feasible
from index.ranking import exact_pair_scores, fitting, ranked_lists
from index.segments import Segment
from index.types import Candidate, Vectors

_SCAN_ROWS = 16384
"""Rows scored by one matrix product of an exact scan: 32 MB at 512 dimensions."""

_FIRST_KEPT = 64
"""References kept beside four times the list wanted, before weaker ones are left out."""

_DEEPER = 4
"""Factor by which a scan takes more rows when it did not take enough."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """Probes and references that may belong together, k of them.

    Attributes:
        probes: Shape (k,), places in the question.
        rows: Shape (k,), rows of one segment.
        scores: Shape (k,), float32 cosines with what the segment has in memory.
        person_keys: Shape (k,), whose the rows are.
    """

    probes: NDArray[np.intp]
    rows: NDArray[np.int64]
    scores: NDArray[np.float32]
    person_keys: NDArray[np.int64]

    def taken(self, kept: NDArray[np.bool_]) -> "Pairs":
        """Return some of the pairs."""
        return Pairs(self.probes[kept], self.rows[kept], self.scores[kept], self.person_keys[kept])


@dataclass(frozen=True, slots=True)
class Finds:
    """What one segment found for n probes.

    Attributes:
        which: Shape (n,), the probes, as places in the question.
        floors: Shape (n,): everything that matters at or above this score is among the pairs.
        pairs: What was found.
        hits: What the compressed scan returned, or None after an exact scan.
    """

    which: NDArray[np.intp]
    floors: NDArray[np.float64]
    pairs: Pairs
    hits: Hits | None = None


@dataclass(frozen=True, slots=True)
class Piece:
    """Some probes to search for in one segment.

    Attributes:
        place: The segment, as a place in the list searched.
        which: The probes, as places in the question.
        depth: How many rows to take from the segment's codes, 0 for an exact scan.
        all_near: Whether to take instead all rows that may reach the threshold, since they are few.
    """

    place: int
    which: NDArray[np.intp]
    depth: int
    all_near: bool = False


Run = Callable[[Callable[[list[Piece]], list[Finds]], Sequence[list[Piece]]], list[list[Finds]]]
"""Applies a function to all shares of the work, in as many threads as it sees fit; results in order."""


def search_segments(
    segments: Sequence[Segment], question: Question, *, depths: Depths, run: Run, shares: int
) -> list[list[Candidate]]:
    """Find the persons closest to each probe in all segments together.

    Args:
        segments: Everything to search.
        question: What is asked.
        depths: Experience with compressed scans, used and extended.
        run: Does the work.
        shares: Into how many parts of about equal size to divide it.

    Returns:
        One candidate list per probe.
    """
    compressed = any(segment.scan is not None for segment in segments)

    def work(pieces: list[Piece]) -> list[Finds]:
        """Search for one share; probes are rotated here since FAISS keeps to one thread here."""
        probes = Probes.of(question.vectors) if compressed else None
        return [_scan(segments[piece.place], question, probes, piece) for piece in pieces]

    every = np.arange(len(question.vectors))
    floors = np.full((len(segments), len(every)), -np.inf)
    pairs: list[Pairs] = [_NO_PAIRS] * len(segments)
    matters = np.full(len(every), question.threshold)
    todo = [
        Piece(place, every, depths.first(segment, question), depths.all_near(segment, question))
        for place, segment in enumerate(segments)
    ]
    while todo:
        divided = _divided(todo, segments, shares)
        done = [
            (piece, finds)
            for share, results in zip(divided, run(work, divided), strict=True)
            for piece, finds in zip(share, results, strict=True)
        ]
        for piece, finds in done:
            floors[piece.place, finds.which] = finds.floors
            pairs[piece.place] = _updated(pairs[piece.place], finds)
        matters = _what_matters(segments, question, pairs)
        for piece, finds in done:
            _learn(segments[piece.place], question, finds, matters, depths)
        todo = [
            Piece(piece.place, short, feasible(_DEEPER * piece.depth, segments[piece.place]))
            for piece, _ in done
            if len(short := np.flatnonzero(floors[piece.place] > matters))
        ]
    return _candidates(segments, question, pairs, matters)


_NO_PAIRS = Pairs(
    probes=np.empty(0, dtype=np.intp),
    rows=np.empty(0, dtype=np.int64),
    scores=np.empty(0, dtype=np.float32),
    person_keys=np.empty(0, dtype=np.int64),
)


def _divided(todo: Sequence[Piece], segments: Sequence[Segment], shares: int) -> list[list[Piece]]:
    """Divide pieces into shares of about equal work, the largest first."""
    divided: list[list[Piece]] = [[] for _ in range(shares)]
    rows = [0] * shares
    for piece in sorted(todo, key=lambda piece: -len(segments[piece.place])):
        lightest = rows.index(min(rows))
        divided[lightest].append(piece)
        rows[lightest] += len(segments[piece.place])
    return [share for share in divided if share]


def _scan(segment: Segment, question: Question, probes: Probes | None, piece: Piece) -> Finds:
    """Search one segment for some probes."""
    if segment.scan is None or probes is None:
        return _scan_exactly(segment, question, piece.which, None)
    mine = probes.taken(piece.which)
    hits = segment.scan.within(mine, threshold=question.threshold) if piece.all_near else None
    if hits is None and piece.depth:
        hits = segment.scan.search(mine, depth=piece.depth, threshold=question.threshold)
    compared = mine.rotated if segment.store.rotated else None
    if hits is None:
        return _scan_exactly(segment, question, piece.which, compared)
    return _compared(segment, question, piece.which, hits, compared)


def _scan_exactly(
    segment: Segment, question: Question, which: NDArray[np.intp], rotated: Vectors | None
) -> Finds:
    """Compare some probes, rotated where rows are, with every row."""
    scores = np.empty((len(which), len(segment)), dtype=np.float32)
    probes = question.vectors[which] if rotated is None else rotated
    for first, block in segment.store.blocks(_SCAN_ROWS):
        np.matmul(probes, block.T, out=scores[:, first : first + len(block)])
    near = scores >= question.threshold - question.tolerance(segment)
    near &= segment.alive
    if question.where is not None:
        near &= fitting(question.where, sexes=segment.sexes, birth_years=segment.birth_years)
    places, rows = np.nonzero(near)
    pairs = _worth_keeping(segment, question, which[places], rows, scores[places, rows])
    return Finds(which, np.full(len(which), -np.inf), pairs)


def _compared(
    segment: Segment, question: Question, which: NDArray[np.intp], hits: Hits, rotated: Vectors | None
) -> Finds:
    """Compare some probes, rotated where rows are, with the rows that a compressed scan returned."""
    places, rows = hits.probes, hits.rows
    if segment.dead or question.where is not None:
        kept = segment.alive[rows]
        if question.where is not None:
            kept &= fitting(question.where, sexes=segment.sexes[rows], birth_years=segment.birth_years[rows])
        places, rows = places[kept], rows[kept]
    probes = question.vectors[which] if rotated is None else rotated
    scores = segment.store.scores(rows, probes, places)
    near = scores >= question.threshold - question.tolerance(segment)
    pairs = _worth_keeping(segment, question, which[places[near]], rows[near], scores[near])
    return Finds(which, hits.floor, pairs, hits)


def _worth_keeping(
    segment: Segment,
    question: Question,
    probes: NDArray[np.intp],
    rows: NDArray[np.int64],
    scores: NDArray[np.float32],
) -> Pairs:
    """Leave out excluded persons, and references too weak for a list of `limit` persons.

    Args:
        segment: Whose rows these are.
        question: What is asked.
        probes: Shape (k,), ascending places in the question.
        rows: Shape (k,).
        scores: Shape (k,).
    """
    pairs = Pairs(probes, rows, scores, segment.person_keys[rows])
    kept = np.ones(len(rows), dtype=np.bool_)
    bounds = [0, *(np.flatnonzero(np.diff(probes)) + 1).tolist(), len(rows)]
    for start, stop in pairwise(bounds if len(rows) else []):
        probe = int(probes[start])
        mine = kept[start:stop]
        excluded = question.exclude[probe]
        if len(excluded) == 1:
            mine &= pairs.person_keys[start:stop] != next(iter(excluded))
        elif excluded:
            mine &= ~np.isin(pairs.person_keys[start:stop], list(excluded))
        few = stop - start <= 4 * question.limit + _FIRST_KEPT
        if not few and mine.sum() > 4 * question.limit + _FIRST_KEPT:
            lowest = _score_of_last(scores[start:stop][mine], pairs.person_keys[start:stop][mine], question)
            mine &= scores[start:stop] >= lowest - 2.0 * question.tolerance(segment)
    return pairs.taken(kept)


def _score_of_last(scores: NDArray[np.float32], person_keys: NDArray[np.int64], question: Question) -> float:
    """Return the best score of the last person who fits a list, or the threshold where all fit."""
    taken = min(len(scores), 2 * question.limit + _FIRST_KEPT)
    while True:
        best = np.argpartition(-scores, taken - 1)[:taken] if taken < len(scores) else np.arange(len(scores))
        order = best[np.argsort(-scores[best])]
        _, first = np.unique(person_keys[order], return_index=True)
        if len(first) >= question.limit:
            return float(scores[order[np.sort(first)[question.limit - 1]]])
        if taken == len(scores):
            return question.threshold
        taken = min(4 * taken, len(scores))


def _updated(pairs: Pairs, finds: Finds) -> Pairs:
    """Replace what was found before for the probes of newer finds."""
    if len(pairs.probes) == 0:
        return finds.pairs
    old, new = pairs.taken(~np.isin(pairs.probes, finds.which)), finds.pairs
    return Pairs(
        np.concatenate([old.probes, new.probes]),
        np.concatenate([old.rows, new.rows]),
        np.concatenate([old.scores, new.scores]),
        np.concatenate([old.person_keys, new.person_keys]),
    )


def _what_matters(
    segments: Sequence[Segment], question: Question, pairs: Sequence[Pairs]
) -> NDArray[np.float64]:
    """Return for each probe the exact score below which no reference can come into its list any more.

    Where the first scores of `limit` persons reach some score, their exact ones reach it less the tolerance.
    """
    matters = np.full(len(question.vectors), question.threshold)
    probes = np.concatenate([part.probes for part in pairs]) if pairs else np.empty(0, dtype=np.intp)
    counts = np.bincount(probes, minlength=len(matters))
    if counts.max(initial=0) < question.limit:
        return matters
    tolerance = max(question.tolerance(segment) for segment in segments)
    scores = np.concatenate([part.scores for part in pairs])
    person_keys = np.concatenate([part.person_keys for part in pairs])
    for probe in np.flatnonzero(counts >= question.limit):
        mine = probes == probe
        lowest = _score_of_last(scores[mine], person_keys[mine], question)
        matters[probe] = max(question.threshold, lowest - tolerance)
    return matters


def _learn(
    segment: Segment, question: Question, finds: Finds, matters: NDArray[np.float64], depths: Depths
) -> None:
    """Note how many compressed scores were not too low for what mattered in the end."""
    if finds.hits is None or segment.scan is None:
        return
    needed, ranked = finds.hits.near, finds.hits.ranked
    all_taken = ranked is None or int(needed.max()) < ranked.shape[1]
    near = float(needed.mean()) if all_taken else None
    if ranked is not None and (matters[finds.which] > question.threshold).any():
        cuts = segment.scan.cut(matters[finds.which], steps=finds.hits.steps)
        needed = (ranked >= cuts[:, None]).sum(axis=1)
    depths.learn(segment, question, int(needed.max()), near=near)


def _candidates(
    segments: Sequence[Segment], question: Question, pairs: Sequence[Pairs], matters: NDArray[np.float64]
) -> list[list[Candidate]]:
    """Score the finalists exactly and rank their persons."""
    final = [
        part.taken(part.scores >= matters[part.probes] - question.tolerance(segment))
        for segment, part in zip(segments, pairs, strict=True)
    ]
    probes = np.concatenate([part.probes for part in final]) if final else np.empty(0, dtype=np.intp)
    if len(probes) == 0:
        return [[] for _ in question.vectors]
    vectors = np.concatenate(
        [segment.store.originals(part.rows) for segment, part in zip(segments, final, strict=True)]
    )
    reference_ids = np.concatenate(
        [segment.reference_ids[part.rows] for segment, part in zip(segments, final, strict=True)]
    )
    person_keys = np.concatenate([part.person_keys for part in final])
    scores = exact_pair_scores(question.vectors[probes], vectors)
    kept = scores >= question.threshold
    return ranked_lists(
        probes[kept],
        scores[kept],
        reference_ids=reference_ids[kept],
        person_keys=person_keys[kept],
        count=len(question.vectors),
        limit=question.limit,
    )
