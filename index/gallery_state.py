"""What a segmented gallery contains at one moment, and what of it is worth rewriting."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from index.columns import empty_references, sorted_join
from index.rows import Rows, Source
from index.segments import COMPRESS_FROM, Segment, pays_to_compress
from index.types import References

MAX_SEGMENT = 2**18
"""Most rows of a segment, so that rewriting one takes about a second, and 0.5 GB at 512 dimensions."""

SMALL_SEGMENTS = 8
"""Small segments are joined when there are this many; each costs a search some 50 µs."""

_DEAD_SHARE = 8
"""A segment is rewritten when an eighth of it is dead."""


@dataclass(frozen=True, slots=True)
class GalleryState:
    """Segments and counts that belong together; a change makes a new state.

    Attributes:
        dimension: Length d of every vector.
        segments: Sealed segments.
        newest: View of the buffer.
        references: How many live.
        persons: How many distinct persons have living references.
    """

    dimension: int
    segments: tuple[Segment, ...]
    newest: Segment
    references: int
    persons: int

    @property
    def all(self) -> tuple[Segment, ...]:
        """All segments that have rows, the buffer's view last."""
        return (*self.segments, self.newest) if len(self.newest) else self.segments

    def persons_among(self, person_keys: NDArray[np.int64]) -> int:
        """Return how many of some distinct persons have a living reference."""
        present = np.zeros(len(person_keys), dtype=np.bool_)
        for segment in self.all:
            present |= segment.has_person(person_keys)
        return int(present.sum())

    def without(self, reference_ids: NDArray[np.int64]) -> tuple["GalleryState", NDArray[np.int64]]:
        """Return the segments with some references dead, counts unchanged, and the person of each."""
        rows = [segment.rows_of(reference_ids) for segment in (*self.segments, self.newest)]
        *segments, newest = [
            segment.without(dying) for segment, dying in zip((*self.segments, self.newest), rows, strict=True)
        ]
        lost = [
            segment.person_keys[dying]
            for segment, dying in zip((*self.segments, self.newest), rows, strict=True)
        ]
        return replace(self, segments=tuple(segments), newest=newest), np.concatenate(lost)

    def counted(
        self, before: "GalleryState", *, lost: NDArray[np.int64], gained: NDArray[np.int64]
    ) -> "GalleryState":
        """Return the state with its counts set right.

        Args:
            before: The state before the change, with right counts.
            lost: Person of every reference that died.
            gained: Person of every reference that was added.
        """
        changed = np.unique(np.concatenate([lost, gained]))
        return replace(
            self,
            references=before.references - len(lost) + len(gained),
            persons=before.persons - before.persons_among(changed) + self.persons_among(changed),
        )

    def replaced(self, rewritten: list[Segment], by: Segment | None) -> "GalleryState":
        """Put one segment in the place of others, with what died in them meanwhile dead in it, too.

        Args:
            rewritten: The segments as they were when `by` was made of their living rows.
            by: The new one, or None where nothing lived.
        """
        then = {segment.number: segment for segment in rewritten}
        others = tuple(segment for segment in self.segments if segment.number not in then)
        if by is None:
            return replace(self, segments=others)
        died = [
            now.reference_ids[then[now.number].alive & ~now.alive]
            for now in self.segments
            if now.number in then
        ]
        fresh = by.without(by.rows_of(np.concatenate(died)))
        return replace(self, segments=(*others, fresh))

    def rows(self) -> Rows:
        """View everything that lives; vectors stay where they are."""
        living = [(segment, np.flatnonzero(segment.alive)) for segment in self.all]
        return Rows.joined(
            [
                Source(segment.reference_ids[rows], segment.person_keys[rows], segment.store, rows)
                for segment, rows in living
            ],
            dimension=self.dimension,
        )

    def living(self) -> References:
        """Copy everything that lives, by ascending reference_id."""
        return sorted_join([empty_references(self.dimension), *(segment.living() for segment in self.all)])


def worth_rewriting(state: GalleryState, *, threads: int) -> list[Segment]:
    """Return segments that one rewrite should turn into one, or nothing.

    In this order: a segment with many dead rows; many small segments, small meaning a
    quarter of a thread's share; a segment that is large enough for codes and has none.
    """
    for segment in state.segments:
        if segment.dead * _DEAD_SHARE > len(segment):
            return [segment]
    share = min(max(state.references // (4 * threads), COMPRESS_FROM + 1), MAX_SEGMENT // 2)
    small = [segment for segment in state.segments if len(segment) < share]
    if len(small) >= SMALL_SEGMENTS:
        fitting = np.cumsum([len(segment) for segment in small]) <= MAX_SEGMENT
        return [segment for segment, fits in zip(small, fitting.tolist(), strict=True) if fits]
    for segment in state.segments:
        if segment.scan is None and pays_to_compress(len(segment) - segment.dead, state.dimension):
            return [segment]
    return []
