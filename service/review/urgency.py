"""How urgent a case is: fixed when it opens, so that nobody's place in the queue moves afterwards.

Cases whose transaction waits come before those that a sweep found; within each, those whose best candidate is
rarest among strangers come first; within that, the oldest. A case whose portrait could not be searched
counts as weak: somebody waits for it, but nothing suggests a duplicate.
"""

from enum import IntEnum

STRONG, FAIR = 1e-4, 1e-3
"""Bounds of the bands of similarity: one and two decades below the delivered target FPIR of 0.01."""

NOBODY_WAITS = 4
"""Added where no transaction waits; larger than any band."""


class Band(IntEnum):
    """How strong a similarity is, by how often strangers reach it."""

    STRONG = 0
    FAIR = 1
    WEAK = 2


def band_of(false_alarm_rate: float) -> Band:
    """Return the band of a candidate's false-alarm rate."""
    if false_alarm_rate <= STRONG:
        return Band.STRONG
    return Band.FAIR if false_alarm_rate <= FAIR else Band.WEAK


def urgency_of(*, waits: bool, lowest_false_alarm_rate: float | None) -> int:
    """Return a case's urgency; smaller is more urgent.

    Args:
        waits: Whether a transaction waits for the outcome.
        lowest_false_alarm_rate: Of the candidates; None without candidates.
    """
    band = Band.WEAK if lowest_false_alarm_rate is None else band_of(lowest_false_alarm_rate)
    return band + (0 if waits else NOBODY_WAITS)
