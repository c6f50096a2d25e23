"""Searching segments: exactly row by row, or through codes with exact comparison of the finds.

Either way a segment answers with every reference that matters at or above some score,
the *floor* of its answer. `search_segments` puts the answers together, sees which score
matters in the end (the threshold, or that of the last person who fits the list) and goes
deeper wherever a floor lies above it, until none does.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from index.compressed_scan import CompressedScan
from index.ranking import exact_scores, fitting, ranked_persons
from index.segments import Segment
from index.types import Candidate, SearchFilter, Vectors

_SCAN_ROWS = 16384
"""Rows scored by one matrix product of an exact scan: 32 MB at 512 dimensions."""

_PROBES_TOGETHER = 32
"""Probes in one piece of work; beyond eight a batch gains nothing (shared/performance.md, "Search")."""

_MIN_DEPTH = 64
_DEEPER = 4
"""Factor by which a scan takes more rows when it did not take enough."""

_EXACT_SHARE = 16
"""Where a sixteenth of the rows would have to be compared one by one, all are scanned instead."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of every segment.

    Attributes:
        vectors: Shape (n, d), the probes.
        threshold: References scoring below do not matter.
        limit: Longest list of persons wanted.
        exclude: One set of persons per probe to leave out.
        where: Attribute filter, or None.
    """

    vectors: Vectors
    threshold: float
    limit: int
    exclude: Sequence[frozenset[int]]
    where: SearchFilter | None

    @property
    def tolerance(self) -> float:
        """Most that a float32 score may be off: d products and sums, each by 2^-24 of at most 1."""
        return float(self.vectors.shape[1]) * 2.0**-23


@dataclass(frozen=True, slots=True)
class Found:
    """What one segment found for one probe.

    Attributes:
        rows: Shape (k,), rows of the segment that may matter.
        scores: Shape (k,), their float32 scores.
        person_keys: Shape (k,).
        floor: Everything that matters at or above this score is in `rows`.
        compressed: All compressed scores taken, descending; empty after an exact scan.
        needed: How many of them were not too low to matter for the question's threshold.
        step: Resolution of the scan's tables.
    """

    rows: NDArray[np.int64]
    scores: NDArray[np.float32]
    person_keys: NDArray[np.int64]
    floor: float = -np.inf
    compressed: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, dtype=np.float32))
    needed: int = 0
    step: float = 0.0


@dataclass(frozen=True, slots=True)
class Piece:
    """Work for one thread: some probes in some segments.

    Attributes:
        which: The probes, as places in the question.
        places: The segments, as places in the list searched.
        depths: For each segment how many rows to take from its codes, 0 for an exact scan.
    """

    which: NDArray[np.intp]
    places: list[int]
    depths: list[int]


Run = Callable[[Callable[[Piece], list[list[Found]]], Sequence[Piece]], list[list[list[Found]]]]
"""Applies a function to all pieces, in as many threads as it sees fit; results in order."""


class Depths:
    """Remembers how many rows compressed scans had to take, by segment and kind of question.

    A depth too small costs a second scan and one too large some comparisons, but neither
    changes an answer, so races between searches do not matter.
    """

    def __init__(self) -> None:
        """Start without any experience."""
        self._depths: dict[tuple[int, int, int], float] = {}

    def first(self, segment: Segment, question: Question) -> int:
        """Return the depth to begin with, 0 for an exact scan."""
        fallback = max(4 * _MIN_DEPTH, len(segment) // 500)
        return _feasible(int(self._depths.get(_kind(segment, question), fallback)), segment)

    def learn(self, segment: Segment, question: Question, needed: int) -> None:
        """Take note of a depth that would have been just enough."""
        kind = _kind(segment, question)
        self._depths[kind] = max(_MIN_DEPTH, 1.5 * needed, 0.99 * self._depths.get(kind, 0.0))

    def forget_all_but(self, segments: Sequence[Segment]) -> None:
        """Drop segments that are gone."""
        numbers = {segment.number for segment in segments}
        self._depths = {kind: depth for kind, depth in list(self._depths.items()) if kind[0] in numbers}


def search_segments(
    segments: Sequence[Segment], question: Question, *, depths: Depths, run: Run, shares: int
) -> list[list[Candidate]]:
    """Find the persons closest to each probe in all segments together.

    Args:
        segments: Everything to search.
        question: What is asked.
        depths: Experience with compressed scans, used and extended.
        run: Does the work.
        shares: Into how many parts of about equal size to divide the segments.

    Returns:
        One candidate list per probe.
    """

    def work(piece: Piece) -> list[list[Found]]:
        """Search the segments of a piece; per segment one find per probe."""
        return [
            _scan(segments[place], question, piece.which, depth)
            for place, depth in zip(piece.places, piece.depths, strict=True)
        ]

    answers: list[dict[int, Found]] = [{} for _ in question.vectors]

    def do(pieces: Sequence[Piece]) -> None:
        """Do the work and file the finds."""
        for piece, results in zip(pieces, run(work, pieces), strict=True):
            for place, founds in zip(piece.places, results, strict=True):
                for probe, found in zip(piece.which.tolist(), founds, strict=True):
                    answers[probe][place] = found

    do(_first_pieces(segments, question, depths=depths, shares=shares))
    matters = []
    for probe, found in enumerate(answers):
        matters.append(_what_matters(found, question))
        while deeper := _deeper_pieces(segments, probe, found, matters[-1]):
            do(deeper)
            matters[-1] = _what_matters(found, question)
    _learn(segments, question, answers, matters, depths)
    return [
        _candidates(segments, question, probe, found, score)
        for probe, (found, score) in enumerate(zip(answers, matters, strict=True))
    ]


def _kind(segment: Segment, question: Question) -> tuple[int, int, int]:
    """Group questions that need about the same depth: by threshold, or by limit where there is none."""
    limit = question.limit if question.threshold <= 0.0 else 0
    return segment.number, round(max(question.threshold, 0.0) * 50), limit


def _feasible(depth: int, segment: Segment) -> int:
    """Return the depth, or 0 where an exact scan is the better way."""
    return depth if segment.scan is not None and depth * _EXACT_SHARE <= len(segment) else 0


def _first_pieces(
    segments: Sequence[Segment], question: Question, *, depths: Depths, shares: int
) -> list[Piece]:
    """Divide the segments by size, largest first, and the probes into handfuls."""
    parts: list[list[int]] = [[] for _ in range(shares)]
    rows = [0] * shares
    for place in sorted(range(len(segments)), key=lambda place: -len(segments[place])):
        smallest = rows.index(min(rows))
        parts[smallest].append(place)
        rows[smallest] += len(segments[place])
    return [
        Piece(
            which=np.arange(start, min(start + _PROBES_TOGETHER, len(question.vectors))),
            places=part,
            depths=[depths.first(segments[place], question) for place in part],
        )
        for start in range(0, len(question.vectors), _PROBES_TOGETHER)
        for part in parts
        if part
    ]


def _deeper_pieces(
    segments: Sequence[Segment], probe: int, found: dict[int, Found], matters: float
) -> list[Piece]:
    """Return what is still to be done for one probe: segments whose floor is above what matters."""
    return [
        Piece(np.array([probe]), [place], [_feasible(_DEEPER * len(part.compressed), segments[place])])
        for place, part in found.items()
        if part.floor > matters
    ]


def _scan(segment: Segment, question: Question, which: NDArray[np.intp], depth: int) -> list[Found]:
    """Search one segment for some probes."""
    if depth and segment.scan is not None:
        return _scan_codes(segment, segment.scan, question, which, depth)
    return _scan_exactly(segment, question, which)


def _scan_exactly(segment: Segment, question: Question, which: NDArray[np.intp]) -> list[Found]:
    """Compare some probes with every row."""
    scores = np.empty((len(which), len(segment)), dtype=np.float32)
    probes = question.vectors[which]
    for first, block in segment.store.blocks(_SCAN_ROWS):
        np.matmul(probes, block.T, out=scores[:, first : first + len(block)])
    kept = segment.alive
    if question.where is not None:
        kept = kept & fitting(question.where, sexes=segment.sexes, birth_years=segment.birth_years)
    founds = []
    for probe, row in zip(which.tolist(), scores, strict=True):
        rows = np.flatnonzero(kept & (row >= question.threshold - question.tolerance))
        founds.append(Found(*_strongest(segment, question, probe, rows, row[rows])))
    return founds


def _scan_codes(
    segment: Segment, scan: CompressedScan, question: Question, which: NDArray[np.intp], depth: int
) -> list[Found]:
    """Compare some probes with the rows that the compressed scan ranks best."""
    hits = scan.search(question.vectors[which], depth=depth)
    cuts = scan.cut(np.full(len(which), question.threshold), steps=hits.steps)
    needed = (hits.scores >= cuts[:, None]).sum(axis=1)
    founds = []
    for i, probe in enumerate(which.tolist()):
        rows = hits.rows[i, : needed[i]]
        rows = rows[segment.alive[rows]]
        if question.where is not None:
            fits = fitting(question.where, sexes=segment.sexes[rows], birth_years=segment.birth_years[rows])
            rows = rows[fits]
        scores = np.einsum("ij,j->i", segment.store.gather(rows), question.vectors[probe])
        near = scores >= question.threshold - question.tolerance
        strongest = _strongest(segment, question, probe, rows[near], scores[near])
        founds.append(
            Found(
                *strongest,
                floor=float(hits.floor[i]),
                compressed=hits.scores[i],
                needed=int(needed[i]),
                step=float(hits.steps[i]),
            )
        )
    return founds


def _strongest(
    segment: Segment,
    question: Question,
    probe: int,
    rows: NDArray[np.int64],
    scores: NDArray[np.float32],
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]:
    """Leave out excluded persons, and references too weak for a list of `limit` persons.

    Returns:
        Rows, scores and person keys of what may still matter.
    """
    person_keys = segment.person_keys[rows]
    if question.exclude[probe]:
        kept = ~np.isin(person_keys, list(question.exclude[probe]))
        rows, scores, person_keys = rows[kept], scores[kept], person_keys[kept]
    taken = 4 * question.limit + 64
    while taken < len(rows):
        best = np.argpartition(-scores, taken)[:taken]
        last = _score_of_last(scores[best], person_keys[best], question.limit)
        if last is not None:
            kept = scores >= last - 2.0 * question.tolerance
            return rows[kept], scores[kept], person_keys[kept]
        taken *= 4
    return rows, scores, person_keys


def _score_of_last(scores: NDArray[np.float32], person_keys: NDArray[np.int64], limit: int) -> float | None:
    """Return the best score of the last person in a list of `limit`, or None where there are fewer."""
    if len(scores) < limit:
        return None
    order = np.argsort(-scores)
    _, first = np.unique(person_keys[order], return_index=True)
    if len(first) < limit:
        return None
    return float(scores[order[np.partition(first, limit - 1)[limit - 1]]])


def _what_matters(found: dict[int, Found], question: Question) -> float:
    """Return the score below which no reference can come into the list any more."""
    if sum(len(part.rows) for part in found.values()) < question.limit:
        return question.threshold
    scores = np.concatenate([part.scores for part in found.values()])
    person_keys = np.concatenate([part.person_keys for part in found.values()])
    last = _score_of_last(scores, person_keys, question.limit)
    return question.threshold if last is None else max(question.threshold, last - 2.0 * question.tolerance)


def _learn(
    segments: Sequence[Segment],
    question: Question,
    answers: Sequence[dict[int, Found]],
    matters: Sequence[float],
    depths: Depths,
) -> None:
    """Note how many compressed scores were not too low for what mattered in the end."""
    for place, segment in enumerate(segments):
        if segment.scan is None or not answers:
            continue
        needed = [
            _needed(segment.scan, found[place], score) if score > question.threshold else found[place].needed
            for found, score in zip(answers, matters, strict=True)
        ]
        depths.learn(segment, question, max(needed))


def _needed(scan: CompressedScan, found: Found, matters: float) -> int:
    """Return how many compressed scores lie at or above the cut of what mattered."""
    cut = scan.cut(np.array([matters]), steps=np.array([found.step]))
    return int((found.compressed >= cut).sum())


def _candidates(
    segments: Sequence[Segment], question: Question, probe: int, found: dict[int, Found], matters: float
) -> list[Candidate]:
    """Score the finalists exactly and rank their persons."""
    finalists = [
        (segments[place], part.rows[part.scores >= matters - question.tolerance])
        for place, part in found.items()
    ]
    finalists = [(segment, rows) for segment, rows in finalists if len(rows)]
    if not finalists:
        return []
    vectors = np.concatenate([segment.store.gather(rows) for segment, rows in finalists])
    scores = exact_scores(question.vectors[probe : probe + 1], vectors)[0]
    kept = scores >= question.threshold
    return ranked_persons(
        scores[kept],
        reference_ids=np.concatenate([segment.reference_ids[rows] for segment, rows in finalists])[kept],
        person_keys=np.concatenate([segment.person_keys[rows] for segment, rows in finalists])[kept],
        limit=question.limit,
    )
