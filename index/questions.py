"""What is asked of the segments of a gallery, and how deep scans for such questions had to go."""

from collections.abc import Sequence
from dataclasses import dataclass

from index.segments import Segment
from index.types import SearchFilter, Vectors

_MIN_DEPTH = 64

_EXACT_SHARE = 16
"""Where a sixteenth of the rows would have to be compared one by one, all are scanned instead."""

_FEW_SHARE = 64
"""Where at most one row in 64 is near the threshold, all that are near are taken, in no order."""


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
        self._few: dict[tuple[int, int, int], bool] = {}

    def first(self, segment: Segment, question: Question) -> int:
        """Return the depth to begin with, 0 for an exact scan."""
        fallback = max(4 * _MIN_DEPTH, len(segment) // 500)
        return feasible(int(self._depths.get(_kind(segment, question), fallback)), segment)

    def all_near(self, segment: Segment, question: Question) -> bool:
        """Tell whether few rows reach thresholds of this kind, so that all of them may be taken."""
        return self._few.get(_kind(segment, question), False)

    def learn(self, segment: Segment, question: Question, needed: int, *, near: int) -> None:
        """Take note of a depth that would have been just enough, and of how many rows were near.

        Args:
            segment: What was searched.
            question: What was asked.
            needed: The depth.
            near: Rows not too low for the threshold; as many as were taken, or more than that.
        """
        kind = _kind(segment, question)
        self._few[kind] = near * _FEW_SHARE <= len(segment)
        self._depths[kind] = max(_MIN_DEPTH, 1.5 * needed, 0.99 * self._depths.get(kind, 0.0))

    def forget_all_but(self, segments: Sequence[Segment]) -> None:
        """Drop segments that are gone."""
        numbers = {segment.number for segment in segments}
        self._depths = {kind: depth for kind, depth in list(self._depths.items()) if kind[0] in numbers}
        self._few = {kind: few for kind, few in list(self._few.items()) if kind[0] in numbers}


def _kind(segment: Segment, question: Question) -> tuple[int, int, int]:
    """Group questions that need about the same depth: by threshold, or by limit where there is none."""
    limit = question.limit if question.threshold <= 0.0 else 0
    return segment.number, round(max(question.threshold, 0.0) * 50), limit


def feasible(depth: int, segment: Segment) -> int:
    """Return a depth, or 0 where an exact scan is the better way."""
    return depth if segment.scan is not None and depth * _EXACT_SHARE <= len(segment) else 0
