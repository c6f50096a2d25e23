"""Cutting and joining column-wise sets of references."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from index.types import References


def of_rows(references: References, rows: NDArray[np.intp]) -> References:
    """Copy the given rows of every column.

    Args:
        references: m references.
        rows: Shape (k,), ascending.
    """
    return References(
        reference_ids=references.reference_ids[rows],
        person_keys=references.person_keys[rows],
        sexes=references.sexes[rows],
        birth_years=references.birth_years[rows],
        vectors=references.vectors[rows],
    )


def without(references: References, reference_ids: NDArray[np.int64]) -> References:
    """Copy all rows but those of the given ids; ids that are not there do not matter."""
    return of_rows(references, np.flatnonzero(~np.isin(references.reference_ids, reference_ids)))


def sorted_join(parts: Sequence[References]) -> References:
    """Copy one or more sets that share no id into one, by ascending reference_id."""
    joined = References(
        reference_ids=np.concatenate([part.reference_ids for part in parts]),
        person_keys=np.concatenate([part.person_keys for part in parts]),
        sexes=np.concatenate([part.sexes for part in parts]),
        birth_years=np.concatenate([part.birth_years for part in parts]),
        vectors=np.concatenate([part.vectors for part in parts]),
    )
    ids = joined.reference_ids
    return joined if (ids[1:] > ids[:-1]).all() else of_rows(joined, np.argsort(ids, kind="stable"))


def of_slice(references: References, rows: slice) -> References:
    """Return some adjacent rows of every column, not copied."""
    return References(
        reference_ids=references.reference_ids[rows],
        person_keys=references.person_keys[rows],
        sexes=references.sexes[rows],
        birth_years=references.birth_years[rows],
        vectors=references.vectors[rows],
    )


def distinct(keys: NDArray[np.int64]) -> int:
    """Count distinct values; by sorting, which takes a tenth of what NumPy's hash table does."""
    ordered = np.sort(keys)
    return int(len(ordered) > 0) + int((ordered[1:] != ordered[:-1]).sum())


def empty_references(dimension: int) -> References:
    """Return a set without references for vectors of some length."""
    return References.of([], np.empty((0, dimension), dtype=np.float32))
