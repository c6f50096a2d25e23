"""What is counted when a detector is measured: faces found, points off, false faces, time."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from index.detector import Detector
from index.rates import proportion
from index.types import Face, Image, Points, Rate

ENOUGH_OVERLAP = 0.5
"""Intersection over union of boxes of the same face, at least. Source: PASCAL VOC, IJCV 88 (2010) 303."""


@dataclass
class Findings:
    """A tally over pictures that show one face each.

    Attributes:
        found: For each picture: the largest face reported is the one that was expected.
        alone: Likewise, and nothing else was reported.
        errors: Mean distance of the five points of the faces found, as a share of the eyes' distance.
    """

    found: list[bool] = field(default_factory=list)
    alone: list[bool] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)

    def add(self, faces: Sequence[Face], expected: Points) -> None:
        """Count one picture.

        Args:
            faces: What the detector reports, by descending area.
            expected: The five points of the face that is there.
        """
        error = point_error(faces[0].landmarks, expected) if faces else np.inf
        # Boxes differ in style from detector to detector; points off by less than half the eyes'
        # distance are those of the same face.
        found = bool(error < 0.5)
        self.found.append(found)
        self.alone.append(found and len(faces) == 1)
        if found:
            self.errors.append(error)

    def summary(self) -> dict[str, object]:
        """Return the figures, ready for JSON."""
        off = np.array(self.errors or [np.nan])
        return {
            "pictures": len(self.found),
            "found": rate_entry(proportion(sum(self.found), len(self.found))),
            "alone": rate_entry(proportion(sum(self.alone), len(self.alone))),
            "point_error_median": round(float(np.median(off)), 4),
            "point_error_p95": round(float(np.quantile(off, 0.95)), 4),
        }


def rate_entry(rate: Rate) -> dict[str, float]:
    """Return a proportion and its 95 % interval, ready for JSON."""
    return {"value": round(rate.value, 5), "low": round(rate.low, 5), "high": round(rate.high, 5)}


def point_error(points: Points, expected: Points) -> float:
    """Return the mean distance of five points, as a share of the distance of the expected eyes."""
    between_eyes = max(1.0, float(np.linalg.norm(expected[0] - expected[1])))
    return float(np.linalg.norm(points - expected, axis=1).mean()) / between_eyes


def overlap(one: Face, other: Face) -> float:
    """Return the intersection over union of two faces' boxes."""
    a, b = _corners(one), _corners(other)
    shared = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None).prod()
    both = (a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - shared
    return float(shared / both) if both > 0 else 0.0


def times_ms(detectors: dict[str, Detector], picture: Image, *, calls: int) -> dict[str, dict[str, float]]:
    """Time one call of each detector, by turns, so that a busy neighbour disturbs all alike.

    Args:
        detectors: By name.
        picture: What they look at.
        calls: Of each; the first five are not counted.

    Returns:
        For each the median, and the fastest tenth, in milliseconds.
    """
    spent: dict[str, list[float]] = {name: [] for name in detectors}
    for _ in range(calls + 5):
        for name, detector in detectors.items():
            started = time.perf_counter()
            detector.detect(picture)
            spent[name].append((time.perf_counter() - started) * 1000)
    return {name: _quantiles(values[5:]) for name, values in spent.items()}


def seen_in(detector: Detector, pictures: Iterable[Image]) -> list[float]:
    """Return, for each picture, the best score of the faces reported; 0 where there is none."""
    return [max((face.score for face in detector.detect(picture)), default=0.0) for picture in pictures]


def _corners(face: Face) -> NDArray[np.float64]:
    x, y, width, height = face.box
    return np.array([x, y, x + width, y + height])


def _quantiles(values: list[float]) -> dict[str, float]:
    return {
        "median": round(float(np.median(values)), 3),
        "fastest_tenth": round(float(np.quantile(values, 0.1)), 3),
    }
