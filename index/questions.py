"""What is asked of the segments of a gallery, and how deep scans for such questions had to go."""

from collections.abc import Sequence
from dataclasses import dataclass

from index.segments import Segment
from index.types import SearchFilter, Vectors

_MIN_DEPTH = 64

_EXACT_SHARE = 16
"""Where a sixteenth of the rows would have to be compared one by one, all are scanned instead."""

_FEW_SHARE = 24
"""Up to one row in 24 near the threshold, all that are near are taken: an exact scan costs more until then
(a block of linking 150,000 at 0.30, one in 50 near: 1.7 s, by exact scans 4.4; one in 11: 19 against 6)."""

_NEWS = 0.1
"""Weight of the newest search in the average of what was near."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of every segment.

    Attributes:
        vectors: Shape (n, d), a handful of probes.
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

    def tolerance(self, segment: Segment) -> float:
        """Most that a first score in a segment may be off: what was rounded there, and float32 sums.

        These are d products and sums, each off by 2^-24 of at most 1.
        """
        return float(self.vectors.shape[1]) * 2.0**-23 + segment.store.tolerance


class Depths:
    """Remembers how many rows compressed scans had to take, by segment and kind of question.

    A depth too small costs a second scan and one too large some comparisons, but neither
    changes an answer, so races between searches do not matter.
    """

    def __init__(self) -> None:
        """Start without any experience."""
        self._depths: dict[tuple[int, int, int], float] = {}
        self._near: dict[tuple[int, int, int], float] = {}

    def first(self, segment: Segment, question: Question) -> int:
        """Return the depth to begin with, 0 for an exact scan."""
        fallback = max(4 * _MIN_DEPTH, len(segment) // 500)
        return feasible(int(self._depths.get(_kind(segment, question), fallback)), segment)

    def all_near(self, segment: Segment, question: Question) -> bool:
        """Tell whether all that is near may be taken: few rows were, as far as is known."""
        near = self._near.get(_kind(segment, question), 0.0)
        return segment.scan is not None and question.threshold > 0.0 and near * _FEW_SHARE <= len(segment)

    def learn(self, segment: Segment, question: Question, needed: int, *, near: float | None) -> None:
        """Take note of a depth that would have been just enough, and of how many rows were near.

        Args:
            segment: What was searched.
            question: What was asked.
            needed: The depth.
            near: Rows not too low for the threshold, on average over the probes; None where more
                were so than were taken.
        """
        kind = _kind(segment, question)
        self._depths[kind] = max(_MIN_DEPTH, 1.5 * needed, 0.99 * self._depths.get(kind, 0.0))
        if near is not None:
            before = self._near.get(kind, near)
            self._near[kind] = before + _NEWS * (near - before)

    def forget_all_but(self, segments: Sequence[Segment]) -> None:
        """Drop segments that are gone."""
        numbers = {segment.number for segment in segments}
        self._depths = {kind: depth for kind, depth in list(self._depths.items()) if kind[0] in numbers}
        self._near = {kind: near for kind, near in list(self._near.items()) if kind[0] in numbers}


def _kind(segment: Segment, question: Question) -> tuple[int, int, int]:
    """Group questions that need about the same depth: by threshold, or by limit where there is none."""
    limit = question.limit if question.threshold <= 0.0 else 0
    return segment.number, round(max(question.threshold, 0.0) * 50), limit


def feasible(depth: int, segment: Segment) -> int:
    """Return a depth, or 0 where an exact scan is the better way."""
    return depth if segment.scan is not None and depth * _EXACT_SHARE <= len(segment) else 0
