"""All pairs of persons, in one gallery or between two, that score at or above a threshold.

A block of rows against everything that follows, keeping only what reaches the threshold. In one gallery
only the upper triangle is compared. Of a large generation the vectors stay on disk, as they do for
searches, and are read block by block: memory holds codes and rounded rows, 0.7 kB a reference of 512 numbers.

Where codes pay, a block goes through the compressed scan that searches use, sixteen rows at a
time, with its guarantee (`index.compressed_scan`): about half the processor time of matrix products
(150,000 references, 512 dimensions, a threshold of 0.36, AVX2). Otherwise, and where the threshold
is too low for codes, blocks are multiplied: 1,024 × 4,096 reach 83 % of the peak of two cores with
AVX-512 (NumPy's OpenBLAS, 512 dimensions: 264 million pairs a second).
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from index.compact import Enrolled
from index.compressed_scan import BATCH, use_one_thread
from index.errors import DimensionError
from index.questions import Depths, Question
from index.ranking import SCORE_DECIMALS
from index.rows import Rows
from index.segment_search import search_segments
from index.segments import Segment, parts_of, pays_to_compress
from index.types import Candidate

ROWS = 1024
COLUMNS = 4096

MARGIN = 1e-5
"""Float32 products of unit vectors differ from the exact cosine by less than this; measured 6e-7 at
512 dimensions. Pairs this close below the threshold are computed again in float64 before any is dropped."""


_SEGMENTS = 8
"""Parts that codes are cut into: a block scans those that it may have pairs in, a sixteenth too many."""

LEAST_THRESHOLD = 0.3
"""Below, blocked products are faster: they take 1.8 s of processor time for 1,024 rows against 150,000 at 512
dimensions, codes 1.7 s at 0.30 and 1.0 s at 0.36."""


@dataclass(frozen=True, slots=True)
class Links:
    """Pairs of persons, best score first.

    Attributes:
        left: Shape (k,), person keys.
        right: Shape (k,), person keys; in one gallery the larger of the two.
        left_references: Shape (k,), the reference of the left person that scored best.
        right_references: Shape (k,), and of the right person.
        scores: Shape (k,), cosines rounded as searches round them.
    """

    left: NDArray[np.int64]
    right: NDArray[np.int64]
    left_references: NDArray[np.int64]
    right_references: NDArray[np.int64]
    scores: NDArray[np.float64]

    def __len__(self) -> int:
        """Return the number of pairs, k."""
        return len(self.scores)


@dataclass(frozen=True, slots=True)
class _Found:
    """Pairs of references: row numbers on either side and exact scores."""

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    scores: NDArray[np.float64]


def blocks(references: Enrolled) -> int:
    """Return how many row blocks a gallery has: the steps of `link_block`."""
    return -(-len(references) // ROWS)


def link_block(left: Enrolled, right: Enrolled | None, block: int, *, threshold: float) -> Links:
    """Compare one block of references with all others, or with another gallery.

    Every pair of persons occurs in at least one block with its best score of that block; `merge`
    leaves each pair once. Blocks are independent, so they can run in any order and be resumed.

    Args:
        left: Whose rows are cut into blocks.
        right: The other gallery; None compares `left` with itself.
        block: Number of the block, from 0.
        threshold: Pairs scoring below are not returned.

    Raises:
        DimensionError: The galleries hold vectors of different dimensions.
    """
    rows, others = _both(left, right)
    start = block * ROWS
    found = list(_scan(rows, others, start, triangle=right is None, threshold=threshold))
    if not found:
        return merge([])
    joined = _Found(
        np.concatenate([part.rows for part in found]),
        np.concatenate([part.columns for part in found]),
        np.concatenate([part.scores for part in found]),
    )
    return _persons(rows, others, joined, symmetric=right is None)


class Linker:
    """Compares blocks of one gallery with itself or with another, the faster way."""

    def __init__(self, left: Enrolled, right: Enrolled | None, *, threshold: float) -> None:
        """Make codes, where they pay.

        Args:
            left: Whose rows are cut into blocks. Kept, not copied.
            right: The other gallery; None compares `left` with itself. Kept, not copied.
            threshold: Pairs scoring below are not returned.

        Raises:
            DimensionError: The galleries hold vectors of different dimensions.
        """
        self._left = left
        self._right = right
        self._threshold = threshold
        self._rows, compared = _both(left, right)
        others = left if right is None else right
        rows = -(-len(others) // _SEGMENTS)
        compress = threshold >= LEAST_THRESHOLD and pays_to_compress(rows, compared.dimension)
        starts = range(0, len(others), rows) if compress else range(0)
        bounds = [(start, min(start + rows, len(others))) for start in starts]
        self._depths = Depths()
        self._threads = ThreadPoolExecutor(os.cpu_count() or 1, "link", initializer=use_one_thread)
        parts = list(zip(bounds, parts_of(others, bounds), strict=True))
        self._segments = list(
            self._threads.map(lambda part: (part[0][1], Segment.of(part[0][0], part[1])), parts)
        )

    def block(self, block: int) -> Links:
        """Compare one block; see `link_block`, whose answers these are."""
        if not self._segments:
            return link_block(self._left, self._right, block, threshold=self._threshold)
        start, stop = block * ROWS, min((block + 1) * ROWS, len(self._left))
        first = start if self._right is None else 0
        segments = [segment for behind, segment in self._segments if behind > first]
        handfuls = [slice(at, min(at + BATCH, stop)) for at in range(start, stop, BATCH)]
        found = self._threads.map(lambda rows: self._search(rows, segments), handfuls)
        candidates = [listed for handful in found for listed in handful]
        return _as_links(self._rows, slice(start, stop), candidates, symmetric=self._right is None)

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown()

    def _search(self, rows: slice, segments: list[Segment]) -> list[list[Candidate]]:
        """Find everybody else who scores at or above the threshold with some rows, in this thread."""
        persons = self._rows.person_keys[rows].tolist()
        question = Question(
            self._rows.block(rows.start, rows.stop),
            self._threshold,
            limit=len(self._left) + sum(map(len, segments)),
            exclude=[frozenset({person}) for person in persons],
            where=None,
        )
        return search_segments(
            segments,
            question,
            depths=self._depths,
            run=lambda work, shares: [work(share) for share in shares],
            shares=1,
        )


def _both(left: Enrolled, right: Enrolled | None) -> tuple[Rows, Rows]:
    """View `left`, and what it is compared with.

    Raises:
        DimensionError: They hold vectors of different dimensions.
    """
    rows, others = Rows.of(left), Rows.of(left if right is None else right)
    if rows.dimension != others.dimension:
        raise DimensionError("The two galleries hold vectors of different dimensions.")
    return rows, others


def _as_links(left: Rows, rows: slice, found: list[list[Candidate]], *, symmetric: bool) -> Links:
    """Make pairs of what was found for each of some rows."""
    counts = [len(candidates) for candidates in found]
    flat = [candidate for candidates in found for candidate in candidates]
    keys = np.repeat(left.person_keys[rows], counts)
    others = np.array([candidate.person_key for candidate in flat], dtype=np.int64)
    ids = np.repeat(left.reference_ids[rows], counts)
    other_ids = np.array([candidate.reference_id for candidate in flat], dtype=np.int64)
    if symmetric:
        swapped = keys > others
        keys, others = _swap(keys, others, swapped)
        ids, other_ids = _swap(ids, other_ids, swapped)
    scores = np.array([candidate.score for candidate in flat], dtype=np.float64)
    return _best_of_each_pair(Links(keys, others, ids, other_ids, scores))


def merge(parts: Iterator[Links] | list[Links]) -> Links:
    """Put parts together: each pair of persons once, with its best score, best pair first."""
    whole = list(parts)
    if not whole:
        empty = np.empty(0, np.int64)
        return Links(empty, empty, empty, empty, np.empty(0, np.float64))
    joined = Links(
        *(
            np.concatenate([getattr(part, name) for part in whole])
            for name in ("left", "right", "left_references", "right_references", "scores")
        )
    )
    return _best_of_each_pair(joined)


def _scan(left: Rows, right: Rows, start: int, *, triangle: bool, threshold: float) -> Iterator[_Found]:
    rows = left.block(start, start + ROWS)
    for first, columns in right.blocks(COLUMNS, start=start if triangle else 0):
        close = np.flatnonzero((rows @ columns.T).ravel() >= threshold - MARGIN)
        row, column = close // len(columns), close % len(columns)
        different = left.person_keys[start + row] != right.person_keys[first + column]
        row, column = row[different], column[different]
        exact = np.einsum("kd,kd->k", rows[row], columns[column], dtype=np.float64)
        exact = np.clip(np.round(exact, SCORE_DECIMALS), -1.0, 1.0)
        kept = exact >= threshold
        yield _Found(start + row[kept], first + column[kept], exact[kept])


def _persons(left: Rows, right: Rows, found: _Found, *, symmetric: bool) -> Links:
    left_keys, right_keys = left.person_keys[found.rows], right.person_keys[found.columns]
    left_ids, right_ids = left.reference_ids[found.rows], right.reference_ids[found.columns]
    if symmetric:
        swapped = left_keys > right_keys
        left_keys, right_keys = _swap(left_keys, right_keys, swapped)
        left_ids, right_ids = _swap(left_ids, right_ids, swapped)
    return _best_of_each_pair(Links(left_keys, right_keys, left_ids, right_ids, found.scores))


def _swap(
    one: NDArray[np.int64], other: NDArray[np.int64], where: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return np.where(where, other, one), np.where(where, one, other)


def _best_of_each_pair(links: Links) -> Links:
    order = np.lexsort(
        (links.right_references, links.left_references, -links.scores, links.right, links.left)
    )
    left, right = links.left[order], links.right[order]
    first = np.ones(len(order), dtype=np.bool_)
    first[1:] = (left[1:] != left[:-1]) | (right[1:] != right[:-1])
    best = order[first]
    best = best[np.lexsort((links.right[best], links.left[best], -links.scores[best]))]
    return Links(
        links.left[best],
        links.right[best],
        links.left_references[best],
        links.right_references[best],
        links.scores[best],
    )
