"""Cutting and joining column-wise sets of references."""

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


def sorted_union(left: References, right: References) -> References:
    """Join two sets that share no id, by ascending reference_id."""
    joined = References(
        reference_ids=np.concatenate([left.reference_ids, right.reference_ids]),
        person_keys=np.concatenate([left.person_keys, right.person_keys]),
        sexes=np.concatenate([left.sexes, right.sexes]),
        birth_years=np.concatenate([left.birth_years, right.birth_years]),
        vectors=np.concatenate([left.vectors, right.vectors]),
    )
    return of_rows(joined, np.argsort(joined.reference_ids, kind="stable"))
