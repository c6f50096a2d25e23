"""References whose vectors are read when needed: going through a whole gallery takes little memory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from index.columns import distinct
from index.compact import ArrayStore, Enrolled, Originals, StoredReferences
from index.types import Vectors


@dataclass(frozen=True, slots=True)
class Source:
    """Some references of a gallery, and where their vectors are.

    Attributes:
        reference_ids: Shape (k,).
        person_keys: Shape (k,).
        store: Holds their vectors, and may hold others.
        rows: Shape (k,), their rows there.
    """

    reference_ids: NDArray[np.int64]
    person_keys: NDArray[np.int64]
    store: Originals = field(repr=False)
    rows: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Rows:
    """Everything that was enrolled at one moment, m references by ascending reference_id.

    Attributes:
        reference_ids: Shape (m,).
        person_keys: Shape (m,).
        dimension: Length d of a vector.
        stores: Where the vectors are.
        store_of: Shape (m,), which of the stores has each; None where row i of the only store is row i.
        row_of: Shape (m,), and at which row; None likewise.
    """

    reference_ids: NDArray[np.int64]
    person_keys: NDArray[np.int64]
    dimension: int
    stores: tuple[Originals, ...] = field(repr=False)
    store_of: NDArray[np.int32] | None = field(repr=False, default=None)
    row_of: NDArray[np.int64] | None = field(repr=False, default=None)

    @staticmethod
    def of(enrolled: Enrolled) -> "Rows":
        """View columns that are in order already; nothing is copied."""
        store: Originals = (
            enrolled.store if isinstance(enrolled, StoredReferences) else ArrayStore(enrolled.vectors)
        )
        return Rows(enrolled.reference_ids, enrolled.person_keys, store.dimension, (store,))

    @staticmethod
    def joined(sources: Sequence[Source], *, dimension: int) -> "Rows":
        """Put sources that share no id into one order.

        Args:
            sources: Any number.
            dimension: Length d of a vector.
        """
        none = np.empty(0, dtype=np.int64)
        ids = np.concatenate([none, *(source.reference_ids for source in sources)])
        order = np.argsort(ids, kind="stable")
        which = np.repeat(np.arange(len(sources), dtype=np.int32), [len(source.rows) for source in sources])
        return Rows(
            ids[order],
            np.concatenate([none, *(source.person_keys for source in sources)])[order],
            dimension,
            tuple(source.store for source in sources),
            which[order],
            np.concatenate([none, *(source.rows for source in sources)])[order],
        )

    def __len__(self) -> int:
        """Return the number of references, m."""
        return len(self.reference_ids)

    @property
    def person_count(self) -> int:
        """Number of distinct persons."""
        return distinct(self.person_keys)

    def rows(self) -> "Rows":
        """Return this view, which no change touches: it can stand for the gallery that it was taken of."""
        return self

    def vectors(self, rows: NDArray[np.int64]) -> Vectors:
        """Read some vectors.

        Args:
            rows: Shape (k,).

        Returns:
            Shape (k, d).

        Raises:
            GenerationError: They lie on disk and are damaged there.
        """
        if self.store_of is None or self.row_of is None:
            return self.stores[0].originals(rows)
        vectors = np.empty((len(rows), self.dimension), dtype=np.float32)
        which, there = self.store_of[rows], self.row_of[rows]
        order = np.lexsort((there, which))
        bounds = [0, *(np.flatnonzero(np.diff(which[order])) + 1).tolist(), len(rows)]
        for first, last in pairwise(bounds if len(rows) else []):
            part = order[first:last]
            vectors[part] = self.stores[int(which[part[0]])].originals(there[part])
        return vectors

    def block(self, start: int, stop: int) -> Vectors:
        """Read adjacent vectors, shape (k, d), not to be changed; see `vectors`."""
        store = self.stores[0] if self.store_of is None else None
        if isinstance(store, ArrayStore):
            return store.array[start:stop]
        return self.vectors(np.arange(start, min(stop, len(self)), dtype=np.int64))

    def blocks(self, size: int, *, start: int = 0) -> Iterator[tuple[int, Vectors]]:
        """Yield the first row and the vectors of each block of at most `size` rows; see `block`."""
        for first in range(start, len(self), size):
            yield first, self.block(first, first + size)
