"""Measures a pack's false match rates on labelled portraits, for the table in its manifest."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from index.comparisons import compare_all
from index.errors import CalibrationError
from index.labelled import LabelledPicture
from index.labelled_templates import Outcome
from index.pack_manifest import PackManifest

STEP = 0.05
"""Distance of the table's thresholds; between them rates are interpolated."""

LARGEST_RATE = 0.3
"""Highest false match rate of interest: no gallery of two persons or more is searched at a higher one."""

FEWEST_PAIRS = 20
"""Pairs that must score at or above a threshold for its rate to be worth stating: 45 % either way at 95 %."""


def measure_match_rates(
    pictures: Sequence[LabelledPicture], outcomes: Sequence[Outcome]
) -> tuple[tuple[tuple[float, float], ...], int]:
    """Measure how often different identities score at or above thresholds.

    One person under two labels raises the rates at high thresholds, which errs on the safe side.

    Args:
        pictures: Labelled portraits, best one of each person.
        outcomes: Their templates, in the same order.

    Returns:
        Pairs (threshold, rate) as a manifest holds them, and the number of pairs of pictures compared.

    Raises:
        CalibrationError: There are too few pairs for even two thresholds.
    """
    numbers = {
        identity: number for number, identity in enumerate(dict.fromkeys(p.identity for p in pictures))
    }
    labels = np.array([numbers[picture.identity] for picture in pictures], np.int64)
    compared = compare_all([outcome.template for outcome in outcomes], labels, max_far=LARGEST_RATE)
    points = []
    for threshold in (round(STEP * i, 2) for i in range(1, round(1 / STEP))):
        rate = compared.match_rate(threshold)
        if FEWEST_PAIRS / max(1, compared.non_mated_pairs) <= rate < LARGEST_RATE:
            points.append((threshold, float(f"{rate:.3g}")))
    if len(points) < 2:
        raise CalibrationError(
            f"{compared.non_mated_pairs} pairs of different persons are too few for a table; "
            "give pictures of at least 100 persons"
        )
    return tuple(points), compared.non_mated_pairs


def with_match_rates(
    manifest: PackManifest, points: tuple[tuple[float, float], ...], *, source: str
) -> PackManifest:
    """Return the manifest with another table; its contract stays the same."""
    return replace(manifest, calibration=points, calibration_source=source)
