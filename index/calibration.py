"""Thresholds from the installed gallery: how often would somebody not in it raise a candidate?

Each of a sample of enrolled persons searches the gallery without themselves; the share
of these searches with a score at or above T estimates the false-positive identification
rate FPIR(T) of a non-mated search (ISO/IEC 19795-1).

**The interval.** Best scores are not independent: when i's best is j, j's best is at
least as high, so both exceed T together. Expanding "i and j score at or above T" by
Hoeffding's decomposition, for n searches sampled from N persons and rare exceedances
the estimate differs from the gallery's own rate with 1 + n/N times the variance of n
independent searches: 2 when everybody is sampled, 1 when few are. One face that
resembles many (a hub) adds to that; the clusters of exceeding persons linked to their
nearest show it, by Kish's sum(m²)/sum(m) over cluster sizes m. The larger of both is
the design effect, and searches count that many times less in a Clopper-Pearson
interval. `tests/index/test_calibration.py` checks the coverage where the truth is known.

**What it assumes.** Probes come like the references do; and nobody in the gallery is there twice.
Every undetected duplicate adds a mated score to the tail and lifts the threshold:
`outlying` counts the scores that the rest of the tail does not explain, and
`exclude_pairs` takes confirmed ones out.
"""

import math
from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from index.errors import CalibrationError
from index.false_alarm_curves import Curve, FalseAlarmRate, MeasuredCurve, PackCurve
from index.non_mated import NonMatedSearches, search_among_others
from index.rates import at_least_once
from index.rows import Rows
from index.types import Rate

MIN_PERSONS = 200
"""Persons below which a gallery says too little of itself: at a target of 0.01, two searches decide."""

DEFAULT_SAMPLE = 4000
"""Persons sampled: 40 exceedances at a target of 0.01, so an interval of about ±30 %."""

_OUTLYING_EXPECTED = 0.05
"""A score counts as outlying where the tail expects this few in the whole sample."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """A dated statement of one gallery's false-alarm rate with one pack.

    Attributes:
        gallery: Name of the gallery.
        contract_id: The pack.
        created_at: When it was measured, with time zone.
        method: "measured" on the gallery itself, or "pack" from the pack's table.
        persons: Size of the gallery that the rates speak of; see `scale_to`.
        references: References in the gallery when calibrated.
        sample: Searches measured; 0 by the pack's table.
        target_fpir: What the operator asked for.
        threshold: Lowest score returned as a candidate.
        fpir: FPIR at the threshold.
        outlying: Searches scoring beyond what the tail explains: undetected duplicates, twins.
        curve: The rate at every score.
    """

    gallery: str
    contract_id: str
    created_at: datetime
    method: Literal["measured", "pack"]
    persons: int
    references: int
    sample: int
    target_fpir: float
    threshold: float
    fpir: Rate
    outlying: int
    curve: Curve

    def false_alarm_rate(self, score: float) -> FalseAlarmRate:
        """Return how often a non-mated search returns a candidate scoring this high.

        Args:
            score: Cosine, -1 to 1.

        Returns:
            The rate in a gallery of `persons`; it falls with the score and is never 0.
        """
        rate = self.curve.rate(score)
        growth = max(1, self.persons) / max(1, self.curve.persons)
        return FalseAlarmRate(
            value=at_least_once(rate.value, growth),
            low=at_least_once(rate.low, growth),
            high=at_least_once(rate.high, growth),
            extrapolated=rate.extrapolated,
        )

    def threshold_for(self, target_fpir: float) -> float:
        """Return the threshold for a target at the present size.

        Raises:
            CalibrationError: The target is not between 0 and 1.
        """
        _check_target(target_fpir)
        shrink = max(1, self.curve.persons) / max(1, self.persons)
        return self.curve.threshold(at_least_once(target_fpir, shrink))

    def scale_to(self, persons: int) -> "Calibration":
        """Restate all rates for another size; the threshold stays.

        A search meets N' instead of N strangers, so a rate p becomes 1 - (1 - p)^(N'/N).
        Calibrate again when a gallery has grown by a tenth.

        Args:
            persons: Persons enrolled now.
        """
        scaled = replace(self, persons=persons)
        return replace(scaled, fpir=_fpir_at(scaled, self.threshold, self.sample))

    def as_document(self) -> dict[str, Any]:
        """Return plain JSON values, read back by `from_document`."""
        return {
            "gallery": self.gallery,
            "contract_id": self.contract_id,
            "created_at": self.created_at.isoformat(),
            "method": self.method,
            "persons": self.persons,
            "references": self.references,
            "sample": self.sample,
            "target_fpir": self.target_fpir,
            "threshold": self.threshold,
            "fpir": {
                "value": self.fpir.value,
                "low": self.fpir.low,
                "high": self.fpir.high,
                "n": self.fpir.n,
            },
            "outlying": self.outlying,
            "curve": self.curve.as_document(),
        }

    @staticmethod
    def from_document(document: dict[str, Any]) -> "Calibration":
        """Read what `as_document` wrote.

        Raises:
            CalibrationError: It is not such a document.
        """
        try:
            values = dict(document)
            curve = dict(values.pop("curve"))
            return Calibration(
                created_at=datetime.fromisoformat(values.pop("created_at")),
                fpir=Rate(**values.pop("fpir")),
                curve=_curve_of(values["method"], curve),
                **values,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise CalibrationError(f"The calibration record cannot be read: {error!r}.") from error


def calibrate(
    references: Rows,
    *,
    target_fpir: float,
    gallery: str,
    contract_id: str,
    created_at: datetime,
    sample: int = DEFAULT_SAMPLE,
    seed: int = 0,
    exclude_pairs: Set[tuple[int, int]] = frozenset(),
) -> Calibration:
    """Measure a gallery's false-alarm rate on itself and set the threshold by it.

    Args:
        references: Everything enrolled.
        target_fpir: Share of non-mated searches that may return a candidate.
        gallery: Name of the gallery.
        contract_id: Pack that made the vectors.
        created_at: Time to state, with time zone.
        sample: Most persons to search with.
        seed: Of the draw of persons and of their references.
        exclude_pairs: Person keys, in either order, known to be the same person.

    Returns:
        The calibration. Where the target is below what the sample can show, the threshold
        comes from the fitted tail and the interval of `fpir` says how little is known.

    Raises:
        CalibrationError: Fewer than `MIN_PERSONS` persons: use `from_pack_table`.
    """
    _check_target(target_fpir)
    persons = references.person_count
    if persons < MIN_PERSONS:
        raise CalibrationError(f"{persons} persons are too few to calibrate on: {MIN_PERSONS} are needed.")
    searches = search_among_others(references, sample=sample, seed=seed, exclude_pairs=exclude_pairs)
    plain = MeasuredCurve.of(searches.scores, persons=persons, design_effect=1.0)
    threshold = plain.threshold(target_fpir)
    curve = replace(plain, design_effect=_design_effect(searches, threshold, persons))
    measured = Calibration(
        gallery=gallery,
        contract_id=contract_id,
        created_at=created_at,
        method="measured",
        persons=persons,
        references=len(references),
        sample=len(searches),
        target_fpir=target_fpir,
        threshold=threshold,
        fpir=Rate(0.0, 0.0, 1.0, 0),
        outlying=_outlying(np.array(curve.top), searches=len(searches)),
        curve=curve,
    )
    return replace(measured, fpir=_fpir_at(measured, threshold, len(searches)))


def from_pack_table(
    points: Sequence[tuple[float, float]],
    *,
    persons: int,
    target_fpir: float,
    gallery: str,
    contract_id: str,
    created_at: datetime,
    references: int = 0,
) -> Calibration:
    """Take the rates from the pack's manifest, for a gallery too small to measure.

    Args:
        points: (threshold, false match rate per pair) in any order.
        persons: Persons enrolled.
        target_fpir: Share of non-mated searches that may return a candidate.
        gallery: Name of the gallery.
        contract_id: The pack.
        created_at: Time to state, with time zone.
        references: References enrolled.

    Raises:
        CalibrationError: The table has fewer than two points, or its rates do not fall.
    """
    _check_target(target_fpir)
    curve = PackCurve(persons, tuple(sorted((float(score), float(rate)) for score, rate in points)))
    threshold = curve.threshold(target_fpir)
    stated = Calibration(
        gallery=gallery,
        contract_id=contract_id,
        created_at=created_at,
        method="pack",
        persons=persons,
        references=references,
        sample=0,
        target_fpir=target_fpir,
        threshold=threshold,
        fpir=Rate(0.0, 0.0, 1.0, 0),
        outlying=0,
        curve=curve,
    )
    return replace(stated, fpir=_fpir_at(stated, threshold, 0))


def _check_target(target_fpir: float) -> None:
    """Refuse a target that is no proportion.

    Raises:
        CalibrationError: So it is.
    """
    if not 0.0 < target_fpir < 1.0:
        raise CalibrationError(f"A target FPIR lies between 0 and 1, not at {target_fpir}.")


def _fpir_at(calibration: Calibration, threshold: float, trials: int) -> Rate:
    """Return the rate at the threshold as a `Rate`."""
    rate = calibration.false_alarm_rate(threshold)
    return Rate(rate.value, rate.low, rate.high, trials)


def _curve_of(method: str, values: dict[str, Any]) -> Curve:
    """Read a curve's document."""
    if method == "pack":
        return PackCurve(values["persons"], tuple((point[0], point[1]) for point in values["points"]))
    values["top"], values["quantiles"] = tuple(values["top"]), tuple(values["quantiles"])
    return MeasuredCurve(**values)


def _design_effect(searches: NonMatedSearches, threshold: float, persons: int) -> float:
    """Return the variance of the share above a threshold relative to independent searches."""
    mutual = 1.0 + len(searches) / persons
    above = np.flatnonzero(searches.scores >= threshold)
    if len(above) == 0:
        return mutual
    sizes = _cluster_sizes(searches.persons[above], searches.nearest[above])
    return max(mutual, float((sizes**2).sum() / sizes.sum()))


def _cluster_sizes(persons: NDArray[np.int64], nearest: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the sizes of the groups that persons form with their nearest among them."""
    root = {int(person): int(person) for person in persons}

    def top(person: int) -> int:
        while root[person] != person:
            root[person] = root[root[person]]
            person = root[person]
        return person

    for person, other in zip(persons.tolist(), nearest.tolist(), strict=True):
        if other in root:
            root[top(person)] = top(other)
    _, sizes = np.unique([top(person) for person in root], return_counts=True)
    return sizes.astype(np.float64)


def _outlying(top: NDArray[np.float64], *, searches: int) -> int:
    """Count scores where an exponential tail expects next to none.

    The scale comes from the median of the top tenth, which a few duplicates do not move;
    tails of non-mated cosines are lighter than exponential, so this rarely counts too many.

    Args:
        top: The largest scores, descending.
        searches: Size of the whole sample.
    """
    size = min(max(searches // 10, 50), len(top))
    level = top[size - 1]
    scale = max(float(np.median(top[:size]) - level), 1e-6) / math.log(2.0)
    return int((top > level + scale * math.log(size / _OUTLYING_EXPECTED)).sum())
