"""False-alarm rates of subgroups at one threshold: who is falsely suspected more often than others?

A rate per group says how often searches *by* members of the group return a candidate; it is
reported, never used to decide (demographic performance variation, ISO/IEC 19795-10).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from index.non_mated import NonMatedSearches
from index.rates import proportion
from index.types import Rate

MIN_SEARCHES = 30
"""Groups with fewer searches are pooled as `few`: at a target of 0.01 they can show nothing, and a
rate of a handful of persons would point at them."""

FEW = "few"


@dataclass(frozen=True, slots=True)
class SubgroupRate:
    """The false-alarm rate of one subgroup.

    Attributes:
        attribute: What the groups differ in, such as `sex`.
        group: Which group, in the words of the caller; `few` pools the small ones.
        fpir: Share of its members' searches at or above the threshold; n counts its searches.
        same_group: Share of the false candidates who belong to the same group; None without any.
    """

    attribute: str
    group: str
    fpir: Rate
    same_group: float | None


def subgroup_rates(
    searches: NonMatedSearches, groups: Mapping[str, Mapping[int, str]], *, threshold: float
) -> list[SubgroupRate]:
    """Split non-mated searches by what is known of the persons.

    Args:
        searches: One per sampled person.
        groups: For each attribute the group of each person key; persons left out are not counted.
        threshold: Scores at or above it are false alarms.

    Returns:
        By attribute in the order given, then by group; small groups last.
    """
    alarms = searches.scores >= threshold
    rates = []
    for attribute, group_of in groups.items():
        labels = np.array([group_of.get(int(person), "") for person in searches.persons])
        nearest = np.array([group_of.get(int(person), "") for person in searches.nearest])
        names, counts = np.unique(labels[labels != ""], return_counts=True)
        small = set(names[counts < MIN_SEARCHES].tolist())
        shown = np.array([FEW if label in small else label for label in labels])
        ordered = sorted(set(names.tolist()) - small) + ([FEW] if small else [])
        for group in ordered:
            inside = shown == group
            false = inside & alarms
            same = float((labels[false] == nearest[false]).mean()) if false.any() else None
            rate = proportion(int(false.sum()), int(inside.sum()))
            rates.append(SubgroupRate(attribute, group, rate, same))
    return rates
