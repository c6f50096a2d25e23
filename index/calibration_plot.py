"""Draws a calibration: the false-alarm rate over the score, and the subgroups at the threshold."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from index.calibration import Calibration
from index.subgroups import SubgroupRate

BLUE, RED, GREY = "#1f5fa8", "#b3261e", "#6b6b6b"

_POINTS = 240


def draw_calibration(calibration: Calibration, subgroups: Sequence[SubgroupRate], path: Path) -> None:
    """Draw one picture with both, as a PNG.

    Args:
        calibration: Measured on the gallery, or from the pack's table.
        subgroups: May be empty; then only the curve is drawn.
        path: The file to write.
    """
    height = 5.0 + (0.32 * len(subgroups) + 1.2 if subgroups else 0.0)
    figure = Figure(figsize=(9, height), layout="constrained")
    if subgroups:
        ratios = [5.0, 0.32 * len(subgroups) + 1.2]
        curve, bars = figure.subplots(2, 1, height_ratios=ratios)
        _draw_subgroups(bars, calibration, subgroups)
    else:
        curve = figure.subplots(1, 1)
    _draw_curve(curve, calibration)
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=110)


def _draw_curve(axes: Axes, calibration: Calibration) -> None:
    scores = np.linspace(calibration.threshold - 0.15, min(1.0, calibration.threshold + 0.35), _POINTS)
    rates = [calibration.false_alarm_rate(float(score)) for score in scores]
    known = np.array([not rate.extrapolated for rate in rates])
    values = np.array([rate.value for rate in rates])
    low, high = np.array([rate.low for rate in rates]), np.array([rate.high for rate in rates])
    floor = max(values.min(), 1e-9) / 2
    if calibration.method == "measured":
        axes.fill_between(
            scores, np.maximum(low, floor), high, color=BLUE, alpha=0.2, lw=0, label="95 % interval"
        )
    axes.plot(
        scores[known], values[known], color=BLUE, label="measured here" if calibration.sample else "pack"
    )
    axes.plot(scores[~known], values[~known], color=BLUE, ls="--", label="extrapolated")
    axes.axvline(calibration.threshold, color=RED)
    axes.annotate(
        f"threshold {calibration.threshold:.4f}\nFPIR {calibration.fpir.value:.4g} "
        f"({calibration.fpir.low:.3g} to {calibration.fpir.high:.3g})",
        (calibration.threshold, 0.6),
        xycoords=("data", "axes fraction"),
        xytext=(8, 0),
        textcoords="offset points",
        color=RED,
    )
    axes.set(
        yscale="log",
        ylim=(floor, 1.5),
        xlabel="score",
        ylabel="searches by persons not in the gallery\nwith a candidate scoring this high",
        title=f"False-alarm rate, gallery '{calibration.gallery}': {calibration.persons:,} persons, "
        f"{calibration.sample:,} searches, {calibration.created_at:%Y-%m-%d %H:%M} UTC",
    )
    axes.grid(alpha=0.3, which="both")
    axes.legend(loc="upper right")


def _draw_subgroups(axes: Axes, calibration: Calibration, subgroups: Sequence[SubgroupRate]) -> None:
    places = np.arange(len(subgroups))[::-1]
    values = np.array([group.fpir.value for group in subgroups])
    below = values - np.array([group.fpir.low for group in subgroups])
    above = np.array([group.fpir.high for group in subgroups]) - values
    axes.errorbar(
        values, places, xerr=np.clip([below, above], 0.0, None), fmt="o", color=BLUE, ecolor=GREY, capsize=3
    )
    axes.axvline(calibration.fpir.value, color=RED, ls=":", label="whole gallery")
    axes.set_yticks(places, [f"{g.attribute} {g.group}  (n = {g.fpir.n:,})" for g in subgroups])
    axes.set(xlabel="false-alarm rate at the threshold, with 95 % interval", xlim=(0.0, None))
    axes.set_title("Subgroups of the person searched")
    axes.grid(alpha=0.3, axis="x")
    axes.legend(loc="best")
