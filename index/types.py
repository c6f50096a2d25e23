"""Array aliases and frozen records that the whole library shares.

Letters in shapes: n probes, m references, d dimension, k candidates, h x w pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

MAX_DIMENSION = 4096
"""Longest vector of any pack or generation: face encoders give 128 to 1,024 numbers."""

Image = NDArray[np.uint8]
"""Shape (h, w, 3), RGB, 0 to 255."""

Vectors = NDArray[np.float32]
"""Shape (n, d), each row of L2 norm 1."""

Points = NDArray[np.float32]
"""Shape (5, 2), x and y in pixels: right eye (image left), left eye, nose, right and left mouth corner."""


@dataclass(frozen=True, slots=True)
class Face:
    """One face that a detector reported.

    Attributes:
        box: x, y, width, height in pixels of the image searched; may reach past its edges.
        score: Detector score, 0 to 1, larger is surer.
        landmarks: Five points, see `Points`.
    """

    box: tuple[float, float, float, float]
    score: float
    landmarks: Points


@dataclass(frozen=True, slots=True)
class Reference:
    """What a gallery knows of one enrolled portrait besides its vector.

    Attributes:
        reference_id: Identifies the portrait; unique in a gallery, at least 1.
        person_key: Identifies the person it belongs to, at least 1.
        sex: GB/T 2261.1 digit (0 unknown, 1 male, 2 female, 9 unspecified).
        birth_year: Four digits, 0 when unknown.
    """

    reference_id: int
    person_key: int
    sex: int = 0
    birth_year: int = 0


@dataclass(frozen=True, slots=True)
class SearchFilter:
    """Limits a search to references whose person fits; unknown values always fit.

    Attributes:
        sex: Keep references of this sex and those of sex 0 or 9.
        birth_years: First and last year kept, both included; year 0 is kept too.
    """

    sex: int | None = None
    birth_years: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A person returned for examination.

    Attributes:
        rank: 1 for the best.
        person_key: The person.
        reference_id: The person's best reference for this probe.
        score: Cosine of probe and that reference, -1 to 1, larger is closer.
    """

    rank: int
    person_key: int
    reference_id: int
    score: float


@dataclass(frozen=True, slots=True)
class Rate:
    """A proportion with its 95 % confidence interval.

    Attributes:
        value: Observed proportion, 0 to 1.
        low: Lower end of the interval.
        high: Upper end of the interval.
        n: Number of trials that it was observed on.
    """

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class References:
    """A column-wise set of references, as galleries export it and snapshots store it.

    Attributes:
        reference_ids: Shape (m,), int64, ascending.
        person_keys: Shape (m,), int64.
        sexes: Shape (m,), uint8.
        birth_years: Shape (m,), uint16.
        vectors: Shape (m, d), float32, rows of L2 norm 1.
    """

    reference_ids: NDArray[np.int64]
    person_keys: NDArray[np.int64]
    sexes: NDArray[np.uint8]
    birth_years: NDArray[np.uint16]
    vectors: Vectors = field(repr=False)

    def __len__(self) -> int:
        """Return the number of references, m."""
        return len(self.reference_ids)

    @staticmethod
    def of(references: Sequence[Reference], vectors: Vectors) -> "References":
        """Gather records and their vectors, sorted by reference_id.

        Args:
            references: m records with distinct reference_id.
            vectors: Shape (m, d), in the same order.
        """
        order = np.argsort([r.reference_id for r in references], kind="stable")
        ordered = [references[i] for i in order]
        return References(
            reference_ids=np.array([r.reference_id for r in ordered], dtype=np.int64),
            person_keys=np.array([r.person_key for r in ordered], dtype=np.int64),
            sexes=np.array([r.sex for r in ordered], dtype=np.uint8),
            birth_years=np.array([r.birth_year for r in ordered], dtype=np.uint16),
            vectors=np.ascontiguousarray(vectors[order], dtype=np.float32),
        )
