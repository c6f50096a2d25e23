"""What every gallery does alike: checking vectors, filtering, exact scores, ranking persons.

Backends find *which* references may matter in their own way; the scores that
leave a gallery and their order come from here, so that they agree to the bit.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from index.errors import DimensionError
from index.types import Candidate, Reference, SearchFilter, Vectors

NORM_TOLERANCE = 1e-3
"""Largest accepted difference of a row's L2 norm from 1 (the `Gallery` protocol)."""

SCORE_DECIMALS = 7
"""Scores are rounded to this many decimals.

A float64 sum of 512 products is good to about 1e-15 but its last bits depend on
the order of summation; after rounding, equal vectors tie exactly in every
backend. One unit in the seventh decimal is a hundredth of the 1e-5 promised.
"""

_EXACT_NORM = 1e-6
"""Rows this close to norm 1 are taken as they are, so that normalising twice changes nothing."""


def checked_vectors(vectors: Vectors, *, dimension: int) -> Vectors:
    """Return the rows as contiguous float32 of norm 1, or refuse all of them.

    Args:
        vectors: Shape (n, d). Not modified.
        dimension: The d required.

    Returns:
        Shape (n, d); rows off norm 1 by less than the tolerance are divided by their norm.

    Raises:
        DimensionError: Not two-dimensional, wrong d, not finite, or norm off 1 by more than 1e-3.
    """
    rows = np.ascontiguousarray(vectors, dtype=np.float32)
    if rows.ndim != 2 or rows.shape[1] != dimension:
        raise DimensionError(f"Vectors of shape {rows.shape} do not fit a gallery of dimension {dimension}.")
    norms = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
    off = np.abs(norms - 1.0)
    if not (off <= NORM_TOLERANCE).all():
        raise DimensionError("A vector is not finite or not of norm 1: normalise what the encoder returns.")
    inexact = off > _EXACT_NORM
    if inexact.any():
        rows = rows.copy()
        rows[inexact] /= norms[inexact, None]
    return rows


def checked_references(references: Sequence[Reference], vectors: Vectors) -> None:
    """Refuse records that do not belong to the rows, or that repeat an id.

    Raises:
        ValueError: Different lengths, a repeated reference_id, or a key below 1.
    """
    if len(references) != len(vectors):
        raise ValueError(f"{len(references)} references came with {len(vectors)} vectors.")
    if len({reference.reference_id for reference in references}) != len(references):
        raise ValueError("A reference_id occurs twice in one enrolment.")
    if any(reference.reference_id < 1 or reference.person_key < 1 for reference in references):
        raise ValueError("reference_id and person_key start at 1.")


def checked_exclusions(
    exclude: Sequence[frozenset[int]] | None, *, probes: int, limit: int
) -> Sequence[frozenset[int]]:
    """Return one set of persons per probe.

    Raises:
        ValueError: `limit` is below 1, or there is not one set per probe.
    """
    if limit < 1:
        raise ValueError(f"limit must be at least 1, not {limit}.")
    if exclude is None:
        return [frozenset()] * probes
    if len(exclude) != probes:
        raise ValueError(f"{len(exclude)} sets to exclude came with {probes} probes.")
    return exclude


def fitting(
    where: SearchFilter | None, *, sexes: NDArray[np.uint8], birth_years: NDArray[np.uint16]
) -> NDArray[np.bool_]:
    """Tell which references an attribute filter keeps; unknown values always fit.

    Args:
        where: The filter, or None for all.
        sexes: Shape (m,).
        birth_years: Shape (m,).

    Returns:
        Shape (m,).
    """
    kept = np.ones(len(sexes), dtype=np.bool_)
    if where is None:
        return kept
    if where.sex is not None:
        kept &= (sexes == where.sex) | (sexes == 0) | (sexes == 9)
    if where.birth_years is not None:
        first, last = where.birth_years
        kept &= ((birth_years >= first) & (birth_years <= last)) | (birth_years == 0)
    return kept


def exact_scores(probes: Vectors, vectors: Vectors) -> NDArray[np.float64]:
    """Return the cosines of every probe with every row, rounded to `SCORE_DECIMALS` and within -1 to 1.

    Args:
        probes: Shape (n, d).
        vectors: Shape (m, d).

    Returns:
        Shape (n, m).
    """
    scores = probes.astype(np.float64) @ vectors.astype(np.float64).T
    np.round(scores, SCORE_DECIMALS, out=scores)
    return np.clip(scores, -1.0, 1.0, out=scores)


def exact_pair_scores(probes: Vectors, vectors: Vectors) -> NDArray[np.float64]:
    """Return the cosine of each probe with the row beside it, rounded like `exact_scores`.

    Args:
        probes: Shape (k, d).
        vectors: Shape (k, d).

    Returns:
        Shape (k,).
    """
    scores = np.einsum("ij,ij->i", probes.astype(np.float64), vectors.astype(np.float64))
    np.round(scores, SCORE_DECIMALS, out=scores)
    return np.asarray(np.clip(scores, -1.0, 1.0), dtype=np.float64)


def ranked_persons(
    scores: NDArray[np.float64],
    *,
    reference_ids: NDArray[np.int64],
    person_keys: NDArray[np.int64],
    limit: int,
) -> list[Candidate]:
    """Order references by score, keep the best of each person, cut at `limit`.

    Args:
        scores: Shape (k,), rounded, so that ties are exact.
        reference_ids: Shape (k,), distinct; the smaller one wins a tie.
        person_keys: Shape (k,).
        limit: Longest list wanted.
    """
    (found,) = ranked_lists(
        np.zeros(len(scores), dtype=np.intp),
        scores,
        reference_ids=reference_ids,
        person_keys=person_keys,
        count=1,
        limit=limit,
    )
    return found


def ranked_lists(
    probes: NDArray[np.intp],
    scores: NDArray[np.float64],
    *,
    reference_ids: NDArray[np.int64],
    person_keys: NDArray[np.int64],
    count: int,
    limit: int,
) -> list[list[Candidate]]:
    """Do for several probes at once what `ranked_persons` does for one.

    Args:
        probes: Shape (k,), which probe each reference was found for, 0 to `count` - 1.
        scores: Shape (k,), rounded, so that ties are exact.
        reference_ids: Shape (k,), distinct for a probe; the smaller one wins a tie.
        person_keys: Shape (k,).
        count: Probes, n.
        limit: Longest list wanted.

    Returns:
        One list per probe.
    """
    found: list[list[Candidate]] = [[] for _ in range(count)]
    persons: list[set[int]] = [set() for _ in range(count)]
    order = np.lexsort((reference_ids, -scores, probes))
    columns = (column[order].tolist() for column in (probes, scores, reference_ids, person_keys))
    for probe, score, reference_id, person in zip(*columns, strict=True):
        if person not in persons[probe] and len(found[probe]) < limit:
            persons[probe].add(person)
            found[probe].append(Candidate(len(found[probe]) + 1, person, reference_id, score))
    return found
