"""The `Gallery` protocol. The NumPy oracle `ExactGallery` follows below."""

from collections.abc import Sequence
from typing import Protocol

from index.types import Candidate, Reference, References, SearchFilter, Vectors


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
            DimensionError: d is not this gallery's dimension, or a row is not finite.
        """

    def references(self) -> References:
        """Return a consistent copy of everything enrolled, by ascending reference_id."""
