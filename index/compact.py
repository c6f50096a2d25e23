"""What memory keeps of vectors whose originals lie on disk: eight bits a coordinate, with a bound.

A reference x is rotated (`index.rotation`), y = Rx, and every coordinate rounded to a multiple
of the row's own step, ŷ = step·q with q from -127 to 127: D + 4 bytes where x itself takes 4·d.

**How far off is a score?** For a probe p of norm 1, |<p,x> - <Rp,ŷ>| = |<Rp,y-ŷ>| <= |y-ŷ| by
Cauchy and Schwarz, whatever the probe and the encoder. |y-ŷ| is measured for every reference as
it is rounded, and the largest of a store, plus `_SLACK` for arithmetic in float32, is its
`tolerance`: about 0.01 at 512 dimensions. So whoever keeps every reference that scores within
the tolerance of what matters, and compares those with their originals, loses and invents
nothing, and returns exact scores. That is what `index.segment_search` does; on 400,000
references it reads one to three originals for a search.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Protocol, cast

import faiss
import numpy as np
from numpy.typing import NDArray

from index.codebook import codebook_for
from index.codes import BOUNDS_VERSION, Codes
from index.rotation import ROTATION_VERSION
from index.types import References, Vectors

_LEVELS = 127
_SLACK = 2e-5
"""Covers float32: a rotation off by 2e-7, and D products and sums rounded to 2^-24 of at most 1 each way."""


_AT_ONCE = 512
"""Rows compared at a time: 1 MB at 512 dimensions, which stays in the processor's cache."""


def pair_products(
    gather: Callable[[NDArray[np.int64]], Vectors],
    rows: NDArray[np.int64],
    probes: Vectors,
    places: NDArray[np.intp],
) -> NDArray[np.float32]:
    """Multiply rows with the probes that they belong to.

    FAISS does it: NumPy's BLAS would wake its threads, and einsum takes twice as long.

    Args:
        gather: Returns some of the rows, shape (k, D), contiguous.
        rows: Shape (k,).
        probes: Shape (n, D), contiguous.
        places: Shape (k,), ascending: which probe belongs to each row.

    Returns:
        Shape (k,).
    """
    products = np.empty(len(rows), dtype=np.float32)
    for start in range(0, len(rows), _AT_ONCE):
        taken = gather(rows[start : start + _AT_ONCE])
        mine = places[start : start + _AT_ONCE]
        bounds = [0, *(np.flatnonzero(np.diff(mine)) + 1).tolist(), len(mine)]
        for first, last in pairwise(bounds):
            cast("Any", faiss).fvec_inner_products_ny(
                faiss.swig_ptr(products[start + first :]),
                faiss.swig_ptr(probes[mine[first]]),
                faiss.swig_ptr(taken[first:]),
                probes.shape[1],
                last - first,
            )
    return products


class VectorStore(Protocol):
    """The vectors of a segment: what is compared first, and the originals.

    Attributes:
        rotated: Whether `gather` and `blocks` return rotated rows, to be compared with rotated probes.
        tolerance: Most that a score with such a row differs from the exact one, beside float32 sums.
    """

    @property
    def rotated(self) -> bool:
        """Whether rows are rotated."""

    @property
    def tolerance(self) -> float:
        """Bound on a score's error."""

    @property
    def dimension(self) -> int:
        """Length d of an original vector."""

    def __len__(self) -> int:
        """Return the number of vectors, m."""

    def gather(self, rows: NDArray[np.int64]) -> Vectors:
        """Return some rows for comparison, shape (k, d), or (k, D) where they are rotated."""

    def scores(
        self, rows: NDArray[np.int64], probes: Vectors, places: NDArray[np.intp]
    ) -> NDArray[np.float32]:
        """Return the products of some rows, as `gather` returns them, with the probes that they belong to.

        Args:
            rows: Shape (k,).
            probes: Shape (n, d), or (n, D) where rows are rotated.
            places: Shape (k,), ascending: which probe belongs to each row.

        Returns:
            Shape (k,).
        """

    def blocks(self, size: int) -> Iterator[tuple[int, Vectors]]:
        """Yield the first row and the rows of each block of at most `size`, as `gather` returns them."""

    def originals(self, rows: NDArray[np.int64]) -> Vectors:
        """Return the original vectors of some rows, shape (k, d).

        Raises:
            GenerationError: They lie on disk and what is there is damaged.
        """

    def whole(self) -> Vectors:
        """Return all original vectors, shape (m, d), not to be changed.

        Raises:
            GenerationError: As `originals`.
        """

    def taken(self, rows: NDArray[np.int64]) -> "VectorStore":
        """Return a store of some rows only; nothing else stays in memory."""


class Originals(Protocol):
    """Original vectors, in memory or on disk."""

    def __len__(self) -> int:
        """Return the number of vectors, m."""

    @property
    def dimension(self) -> int:
        """Length d of a vector."""

    def originals(self, rows: NDArray[np.int64]) -> Vectors:
        """Return some vectors, shape (k, d).

        Raises:
            GenerationError: They lie on disk and what is there is damaged.
        """


@dataclass(frozen=True, slots=True)
class ArrayStore:
    """Vectors in one array, in memory or mapped from a file.

    Attributes:
        array: Shape (m, d).
    """

    array: Vectors = field(repr=False)

    @property
    def rotated(self) -> bool:
        """The rows are the originals."""
        return False

    @property
    def tolerance(self) -> float:
        """Nothing is rounded."""
        return 0.0

    @property
    def dimension(self) -> int:
        """Length d of a vector."""
        return int(self.array.shape[1])

    def __len__(self) -> int:
        """Return the number of vectors, m."""
        return len(self.array)

    def gather(self, rows: NDArray[np.int64]) -> Vectors:
        """Return the vectors of some rows, shape (k, d)."""
        return np.asarray(self.array.take(rows, axis=0))

    def scores(
        self, rows: NDArray[np.int64], probes: Vectors, places: NDArray[np.intp]
    ) -> NDArray[np.float32]:
        """Return the products of some vectors with the probes that they belong to."""
        return pair_products(self.gather, rows, probes, places)

    def blocks(self, size: int) -> Iterator[tuple[int, Vectors]]:
        """Yield the first row and the vectors of each block of at most `size` rows."""
        for first in range(0, len(self.array), size):
            yield first, np.asarray(self.array[first : first + size])

    def originals(self, rows: NDArray[np.int64]) -> Vectors:
        """Return the vectors of some rows, shape (k, d)."""
        return self.gather(rows)

    def whole(self) -> Vectors:
        """Return all vectors, shape (m, d), not to be changed."""
        return self.array

    def taken(self, rows: NDArray[np.int64]) -> "ArrayStore":
        """Copy some rows."""
        return ArrayStore(self.gather(rows))


@dataclass(frozen=True, slots=True)
class CompactStore:
    """Rounded rows in memory, their originals elsewhere.

    Attributes:
        rows: Shape (m, D), the rounded coordinates q.
        steps: Shape (m,), what they are multiples of.
        tolerance: See `VectorStore`.
        source: Where the originals are.
        first: Place of row 0 in the source.
        places: Shape (m,), ascending, place of each row in the source; None for consecutive ones.
    """

    rows: NDArray[np.int8] = field(repr=False)
    steps: NDArray[np.float32] = field(repr=False)
    tolerance: float
    source: Originals = field(repr=False)
    first: int = 0
    places: NDArray[np.int32] | None = field(repr=False, default=None)

    @property
    def rotated(self) -> bool:
        """The rows are rotated ones."""
        return True

    @property
    def dimension(self) -> int:
        """Length d of an original vector."""
        return self.source.dimension

    def __len__(self) -> int:
        """Return the number of vectors, m."""
        return len(self.rows)

    def gather(self, rows: NDArray[np.int64]) -> Vectors:
        """Return some rounded rows, shape (k, D)."""
        return self._scaled(self.rows.take(rows, axis=0), self.steps.take(rows))

    def scores(
        self, rows: NDArray[np.int64], probes: Vectors, places: NDArray[np.intp]
    ) -> NDArray[np.float32]:
        """Return the products of some rounded rows with the rotated probes that they belong to.

        Sums are scaled, not rows.
        """
        scores = pair_products(self._multiples, rows, probes, places)
        scores *= self.steps.take(rows)
        return scores

    def blocks(self, size: int) -> Iterator[tuple[int, Vectors]]:
        """Yield the first row and the rounded rows of each block of at most `size`."""
        for first in range(0, len(self.rows), size):
            part = slice(first, first + size)
            yield first, self._scaled(self.rows[part], self.steps[part])

    def originals(self, rows: NDArray[np.int64]) -> Vectors:
        """Read some original vectors; see `VectorStore.originals`."""
        return self.source.originals(self._places(rows))

    def whole(self) -> Vectors:
        """Read all original vectors; see `VectorStore.whole`."""
        return self.originals(np.arange(len(self), dtype=np.int64))

    def taken(self, rows: NDArray[np.int64]) -> "CompactStore":
        """Copy some rounded rows; the originals stay where they are."""
        places = self._places(rows).astype(np.int32)
        return CompactStore(self.rows[rows], self.steps[rows], self.tolerance, self.source, places=places)

    def _places(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return where the source has some rows."""
        return self.first + rows if self.places is None else self.places[rows].astype(np.int64)

    def _multiples(self, rows: NDArray[np.int64]) -> Vectors:
        """Return the coordinates q of some rows, shape (k, D)."""
        return self.rows.take(rows, axis=0).astype(np.float32)

    @staticmethod
    def _scaled(rows: NDArray[np.int8], steps: NDArray[np.float32]) -> Vectors:
        scaled = rows.astype(np.float32)
        scaled *= steps[:, None]
        return scaled


@dataclass(frozen=True, slots=True)
class StoredReferences:
    """References as a large generation has them: everything but the original vectors in memory.

    Attributes:
        reference_ids: Shape (m,), int64, ascending.
        person_keys: Shape (m,), int64.
        sexes: Shape (m,), uint8.
        birth_years: Shape (m,), uint16.
        codes: For the scan.
        store: Rounded rows, and where the originals are.
    """

    reference_ids: NDArray[np.int64]
    person_keys: NDArray[np.int64]
    sexes: NDArray[np.uint8]
    birth_years: NDArray[np.uint16]
    codes: Codes = field(repr=False)
    store: CompactStore = field(repr=False)

    def __len__(self) -> int:
        """Return the number of references, m."""
        return len(self.reference_ids)

    @property
    def dimension(self) -> int:
        """Length d of a vector."""
        return self.store.source.dimension

    def slice(self, first: int, last: int) -> "StoredReferences":
        """Return some adjacent references; nothing is copied.

        Args:
            first: First row.
            last: Behind the last row.
        """
        part = slice(first, last)
        store = CompactStore(
            self.store.rows[part],
            self.store.steps[part],
            self.store.tolerance,
            self.store.source,
            first=self.store.first + first,
        )
        return StoredReferences(
            reference_ids=self.reference_ids[part],
            person_keys=self.person_keys[part],
            sexes=self.sexes[part],
            birth_years=self.birth_years[part],
            codes=self.codes.part(part),
            store=store,
        )


Enrolled = References | StoredReferences
"""What a gallery begins with."""


def compression(dimension: int) -> str:
    """Name everything that codes and rounded rows depend on; those made otherwise are made again.

    Args:
        dimension: Length d of the vectors.
    """
    codebook = codebook_for(dimension).name
    return f"rotation {ROTATION_VERSION}, {codebook}, bounds {BOUNDS_VERSION}, rows of 8 bits 1"


def rounded(rotated: Vectors) -> tuple[NDArray[np.int8], NDArray[np.float32], float]:
    """Round rotated rows to eight bits a coordinate.

    Args:
        rotated: Shape (m, D), rows of norm 1, m at least 1.

    Returns:
        Shape (m, D), the multiples; shape (m,), the steps; and the largest distance of a row from
        what it was rounded to.
    """
    steps = np.abs(rotated).max(axis=1) / np.float32(_LEVELS)
    rows = np.rint(rotated / steps[:, None]).astype(np.int8)
    off = rotated - rows * steps[:, None]
    return rows, steps, float(np.sqrt(np.einsum("ij,ij->i", off, off).max()))


def tolerance_of(distance: float) -> float:
    """Return the bound on a score's error.

    Args:
        distance: The largest that `rounded` returned for any of the rows.
    """
    return distance + _SLACK


def originals_of(enrolled: Enrolled) -> Originals:
    """Return the original vectors of references, wherever they are."""
    return enrolled.store.source if isinstance(enrolled, StoredReferences) else ArrayStore(enrolled.vectors)
