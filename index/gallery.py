"""The `Gallery` protocol, and `ExactGallery`, the plain NumPy oracle of the other backends."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from index.columns import empty_references, of_rows, sorted_join, without
from index.ranking import (
    checked_exclusions,
    checked_references,
    checked_vectors,
    exact_scores,
    fitting,
    ranked_persons,
)
from index.rows import Rows
from index.types import Candidate, Reference, References, SearchFilter, Vectors

_PROBE_BLOCK = 64
"""Probes scored together: 64 of them against 400,000 references take 0.2 GB of float64 scores."""

_REFERENCE_BLOCK = 8192
"""References converted to float64 at a time: 32 MB at 512 dimensions, about a cache's worth."""


class Gallery(Protocol):
    """A searchable set of references, alive while it changes.

    Searches may run in any number of threads beside one writer. A search
    started after `enrol` or `remove` returned sees that change.
    """

    @property
    def dimension(self) -> int:
        """Length d of every vector."""

    @property
    def person_count(self) -> int:
        """Number of distinct persons enrolled."""

    def __len__(self) -> int:
        """Return the number of references enrolled, m."""

    def enrol(self, references: Sequence[Reference], vectors: Vectors) -> None:
        """Add references; one whose id is already there replaces it.

        Args:
            references: m records with distinct reference_id.
            vectors: Shape (m, d), rows of L2 norm 1, in the same order. Not modified.

        Raises:
            DimensionError: Wrong dimension, not finite, or norm off 1 by more than 1e-3;
                nothing has been enrolled then.
            ValueError: A reference_id occurs twice, or records and vectors differ in number;
                nothing has been enrolled then.
        """

    def remove(self, reference_ids: Sequence[int]) -> None:
        """Remove references; an unknown id is no error, so that replaying is harmless."""

    def search(
        self,
        probes: Vectors,
        *,
        limit: int,
        threshold: float = -1.0,
        exclude: Sequence[frozenset[int]] | None = None,
        where: SearchFilter | None = None,
    ) -> list[list[Candidate]]:
        """Find the persons closest to each probe.

        Args:
            probes: Shape (n, d), each row of L2 norm 1. Not modified.
            limit: Longest candidate list wanted per probe, at least 1.
            threshold: Persons scoring below are not returned; every person at or
                above it is, as far as `limit` allows.
            exclude: One set of person keys per probe never to return (the subject).
            where: Attribute filter for all probes.

        Returns:
            One list per probe, in probe order, best score first; a person occurs
            once, with the best of their references; ties go to the smaller
            reference_id, whatever the backend. Scores are exact cosines (to 1e-5).

        Raises:
            DimensionError: d is not this gallery's dimension, or a row is not finite
                or off norm 1 by more than 1e-3.
            ValueError: `limit` is below 1, or `exclude` has not one set per probe.
        """

    def references(self) -> References:
        """Return a consistent copy of everything enrolled, by ascending reference_id."""

    def rows(self) -> Rows:
        """View everything enrolled now, which later changes do not touch; vectors are read when needed."""


class ExactGallery:
    """Every probe against every reference in float64: slow, short, and right by inspection.

    The state is one immutable `References` that a writer replaces, so a search
    works on one consistent set throughout and takes no lock. A write copies the
    whole gallery.
    """

    def __init__(self, dimension: int, references: References | None = None) -> None:
        """Start empty or with references already enrolled.

        Args:
            dimension: Length d of every vector.
            references: What is enrolled at the start.

        Raises:
            DimensionError: The references' vectors do not fit `dimension`.
        """
        self._dimension = dimension
        self._writer = threading.Lock()
        self._enrolled = empty_references(dimension)
        if references is not None:
            vectors = checked_vectors(references.vectors, dimension=dimension)
            self._enrolled = sorted_join([self._enrolled, replace(references, vectors=vectors)])

    @property
    def dimension(self) -> int:
        """Length d of every vector."""
        return self._dimension

    @property
    def person_count(self) -> int:
        """Number of distinct persons enrolled."""
        return len(np.unique(self._enrolled.person_keys))

    def __len__(self) -> int:
        """Return the number of references enrolled, m."""
        return len(self._enrolled)

    def enrol(self, references: Sequence[Reference], vectors: Vectors) -> None:
        """Add or replace references; see `Gallery.enrol`."""
        rows = checked_vectors(vectors, dimension=self._dimension)
        checked_references(references, rows)
        added = References.of(references, rows)
        with self._writer:
            kept = without(self._enrolled, added.reference_ids)
            self._enrolled = sorted_join([kept, added])

    def remove(self, reference_ids: Sequence[int]) -> None:
        """Remove references; see `Gallery.remove`."""
        with self._writer:
            self._enrolled = without(self._enrolled, np.array(list(reference_ids), dtype=np.int64))

    def search(
        self,
        probes: Vectors,
        *,
        limit: int,
        threshold: float = -1.0,
        exclude: Sequence[frozenset[int]] | None = None,
        where: SearchFilter | None = None,
    ) -> list[list[Candidate]]:
        """Find the persons closest to each probe; see `Gallery.search`."""
        rows = checked_vectors(probes, dimension=self._dimension)
        excluded = checked_exclusions(exclude, probes=len(rows), limit=limit)
        enrolled = self._enrolled
        fits = fitting(where, sexes=enrolled.sexes, birth_years=enrolled.birth_years)
        found = []
        for scores, persons in zip(_all_scores(rows, enrolled.vectors), excluded, strict=True):
            kept = fits & (scores >= threshold) & ~np.isin(enrolled.person_keys, list(persons))
            found.append(
                ranked_persons(
                    scores[kept],
                    reference_ids=enrolled.reference_ids[kept],
                    person_keys=enrolled.person_keys[kept],
                    limit=limit,
                )
            )
        return found

    def references(self) -> References:
        """Return a copy of everything enrolled; see `Gallery.references`."""
        return of_rows(self._enrolled, np.arange(len(self._enrolled)))

    def rows(self) -> Rows:
        """View everything enrolled; see `Gallery.rows`."""
        return Rows.of(self._enrolled)


def _all_scores(probes: Vectors, vectors: Vectors) -> Iterator[NDArray[np.float64]]:
    """Yield for each probe its scores against all rows, working in blocks that bound the memory."""
    for start in range(0, len(probes), _PROBE_BLOCK):
        block = probes[start : start + _PROBE_BLOCK]
        scores = np.empty((len(block), len(vectors)), dtype=np.float64)
        for first in range(0, len(vectors), _REFERENCE_BLOCK):
            last = first + _REFERENCE_BLOCK
            scores[:, first:last] = exact_scores(block, vectors[first:last])
        yield from scores
