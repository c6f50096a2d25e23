"""Parts of a gallery: columns of references that never change, and which of them still live.

Nothing here is changed in place, so searches and a writer need no common lock.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from index.codes import ENCODE_ROWS, encode
from index.columns import of_slice
from index.compact import ArrayStore, CompactStore, Enrolled, StoredReferences, VectorStore
from index.compressed_scan import CompressedScan
from index.types import References, Vectors

COMPRESS_FROM = 4096
"""Rows from which codes pay: an exact scan of as many takes 0.3 ms at 512 dimensions."""

_MIN_COMPRESSED_DIMENSION = 32
"""Below, codes are coarse and vectors small, so the exact scan is used throughout."""


def pays_to_compress(rows: int, dimension: int) -> bool:
    """Tell whether codes are worth making for so many vectors of this length."""
    return rows >= COMPRESS_FROM and dimension >= _MIN_COMPRESSED_DIMENSION


@dataclass(frozen=True, slots=True)
class Segment:
    """References and which of them live; changes make a new record around the same arrays.

    Attributes:
        number: The same for all records around the same arrays.
        reference_ids: Shape (m,), distinct; ascending where `by_person` is there.
        person_keys: Shape (m,).
        sexes: Shape (m,).
        birth_years: Shape (m,).
        store: The m vectors.
        alive: Shape (m,), False once removed or replaced.
        dead: How many are False.
        by_person: Shape (m,), rows by ascending person key; None for the few rows of a buffer.
        scan: Codes of the vectors, or None: scan exactly.
    """

    number: int
    reference_ids: NDArray[np.int64]
    person_keys: NDArray[np.int64]
    sexes: NDArray[np.uint8]
    birth_years: NDArray[np.uint16]
    store: VectorStore
    alive: NDArray[np.bool_]
    dead: int = 0
    by_person: NDArray[np.int32] | None = None
    scan: CompressedScan | None = None

    @staticmethod
    def of(number: int, enrolled: Enrolled, *, compress: bool = True) -> "Segment":
        """Make a segment in which everything lives.

        Args:
            number: A number not used before.
            enrolled: Kept, not copied.
            compress: Whether to make codes, where they pay.
        """
        if isinstance(enrolled, StoredReferences):
            made_before = CompressedScan.of_codes(enrolled.codes, dimension=enrolled.dimension)
            return Segment._of(number, enrolled, enrolled.store, made_before)
        pays = compress and pays_to_compress(*enrolled.vectors.shape)
        scan = CompressedScan(enrolled.vectors) if pays else None
        return Segment._of(number, enrolled, ArrayStore(enrolled.vectors), scan)

    @staticmethod
    def _of(number: int, columns: Enrolled, store: VectorStore, scan: CompressedScan | None) -> "Segment":
        """Put columns, vectors and codes together."""
        return Segment(
            number=number,
            reference_ids=columns.reference_ids,
            person_keys=columns.person_keys,
            sexes=columns.sexes,
            birth_years=columns.birth_years,
            store=store,
            alive=np.ones(len(columns), dtype=np.bool_),
            by_person=np.argsort(columns.person_keys, kind="stable").astype(np.int32),
            scan=scan,
        )

    def __len__(self) -> int:
        """Return the number of rows, dead ones included."""
        return len(self.reference_ids)

    def rows_of(self, reference_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the living rows of some ids, ascending; unknown ids have none."""
        if self.by_person is None:
            rows = np.flatnonzero(np.isin(self.reference_ids, reference_ids))
        else:
            places = np.searchsorted(self.reference_ids, reference_ids)
            inside = places < len(self)
            places, wanted = places[inside], reference_ids[inside]
            rows = np.unique(places[self.reference_ids[places] == wanted])
        return rows[self.alive[rows]].astype(np.int64)

    def without(self, rows: NDArray[np.int64]) -> "Segment":
        """Return the same segment with some living rows dead."""
        if len(rows) == 0:
            return self
        alive = self.alive.copy()
        alive[rows] = False
        return replace(self, alive=alive, dead=self.dead + len(rows))

    def has_person(self, person_keys: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Tell for each person whether a reference of theirs lives here, shape (k,)."""
        if self.by_person is None:
            return np.isin(person_keys, self.person_keys[self.alive])
        first = np.searchsorted(self.person_keys, person_keys, side="left", sorter=self.by_person)
        last = np.searchsorted(self.person_keys, person_keys, side="right", sorter=self.by_person)
        present = np.zeros(len(person_keys), dtype=np.bool_)
        for i in np.flatnonzero(last > first):
            present[i] = self.alive[self.by_person[first[i] : last[i]]].any()
        return present

    def rewritten(self, number: int) -> "Segment | None":
        """Return a segment of what lives only, or None where nothing does.

        Vectors on disk stay there: of a segment without them in memory nothing but codes and
        rounded rows is copied, and the codes are made again from one block of originals at a time.

        Args:
            number: A number not used before.

        Raises:
            GenerationError: The vectors lie on disk and are damaged there.
        """
        rows = np.flatnonzero(self.alive)
        store = self.store
        if not len(rows):
            return None
        if not isinstance(store, CompactStore) or not pays_to_compress(len(rows), store.dimension):
            return Segment.of(number, self.living())
        codes = encode(_originals(store, rows), rows=len(rows), dimension=store.dimension)
        columns = StoredReferences(
            reference_ids=self.reference_ids[rows],
            person_keys=self.person_keys[rows],
            sexes=self.sexes[rows],
            birth_years=self.birth_years[rows],
            codes=codes,
            store=store.taken(rows),
        )
        return Segment.of(number, columns)

    def living(self) -> References:
        """Return the references that live, by ascending reference_id; do not change them.

        They are copies unless everything lives, so that a large segment is not copied for nothing.
        """
        if not self.dead and self.by_person is not None:
            return References(
                self.reference_ids, self.person_keys, self.sexes, self.birth_years, self.store.whole()
            )
        rows = np.flatnonzero(self.alive)
        rows = rows[np.argsort(self.reference_ids[rows], kind="stable")]
        return References(
            reference_ids=self.reference_ids[rows],
            person_keys=self.person_keys[rows],
            sexes=self.sexes[rows],
            birth_years=self.birth_years[rows],
            vectors=self.store.originals(rows),
        )


def _originals(store: VectorStore, rows: NDArray[np.int64]) -> Iterator[Vectors]:
    """Yield the original vectors of some rows, block by block."""
    for first in range(0, len(rows), ENCODE_ROWS):
        yield store.originals(rows[first : first + ENCODE_ROWS])


def parts_of(enrolled: Enrolled, bounds: list[tuple[int, int]]) -> list[Enrolled]:
    """Cut references into adjacent parts; nothing is copied.

    Args:
        enrolled: What to cut.
        bounds: First row of each part, and the one behind its last.
    """
    if isinstance(enrolled, StoredReferences):
        return [enrolled.slice(first, last) for first, last in bounds]
    return [of_slice(enrolled, slice(first, last)) for first, last in bounds]


class Buffer:
    """The newest references: rows are appended, never changed, and seen up to a count.

    One writer appends; a segment made by `view` keeps showing the rows that were there.
    """

    def __init__(self, number: int, dimension: int) -> None:
        """Make room for `COMPRESS_FROM` rows.

        Args:
            number: A segment number not used before.
            dimension: Length d of a vector.
        """
        self._columns = References(
            reference_ids=np.zeros(COMPRESS_FROM, dtype=np.int64),
            person_keys=np.zeros(COMPRESS_FROM, dtype=np.int64),
            sexes=np.zeros(COMPRESS_FROM, dtype=np.uint8),
            birth_years=np.zeros(COMPRESS_FROM, dtype=np.uint16),
            vectors=np.zeros((COMPRESS_FROM, dimension), dtype=np.float32),
        )
        self._number = number
        self._count = 0

    @property
    def room(self) -> int:
        """Rows that may still be appended."""
        return COMPRESS_FROM - self._count

    def append(self, references: References) -> None:
        """Write rows behind those that views show; at most `room`."""
        stop = self._count + len(references)
        columns = self._columns
        columns.reference_ids[self._count : stop] = references.reference_ids
        columns.person_keys[self._count : stop] = references.person_keys
        columns.sexes[self._count : stop] = references.sexes
        columns.birth_years[self._count : stop] = references.birth_years
        columns.vectors[self._count : stop] = references.vectors
        self._count = stop

    def view(self, before: Segment | None) -> Segment:
        """Return all rows as a segment; what was dead in the view before stays dead.

        Args:
            before: An earlier view of this buffer, or None for the first.
        """
        count = self._count
        alive = np.ones(count, dtype=np.bool_)
        if before is not None:
            alive[: len(before)] = before.alive
        return Segment(
            number=self._number,
            reference_ids=self._columns.reference_ids[:count],
            person_keys=self._columns.person_keys[:count],
            sexes=self._columns.sexes[:count],
            birth_years=self._columns.birth_years[:count],
            store=ArrayStore(self._columns.vectors[:count]),
            alive=alive,
            dead=0 if before is None else before.dead,
        )
