"""Draws the detection error trade-off and the distributions of scores."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from index.comparisons import BINS
from index.evaluation import Evaluation
from index.rates import proportion

BLUE, RED = "#1f5fa8", "#b3261e"

_POINTS = 150
"""Thresholds drawn: more than the eye tells apart, few enough that intervals take no time."""


def draw_det(evaluation: Evaluation, path: Path, *, pack: str) -> None:
    """Draw FNIR against FPIR on logarithmic axes, with the 95 % band of FNIR, as a PNG."""
    figure = Figure(figsize=(8, 6), layout="constrained")
    axes = figure.add_subplot()
    false_scores = _finite(evaluation.non_mated.rival_scores)
    mate_scores = evaluation.mated.scores
    fpir, fnir, low, high = _det_curve(false_scores, mate_scores)
    floor = 0.5 / len(mate_scores)
    axes.fill_between(
        fpir,
        np.maximum(low, floor),
        np.maximum(high, floor),
        step="post",
        color=BLUE,
        alpha=0.2,
        lw=0,
        label="95 % interval of FNIR (Clopper-Pearson)",
    )
    axes.step(fpir, np.maximum(fnir, floor), where="post", color=BLUE, label="FNIR")
    for target, rate in evaluation.fnir.items():
        point = (target, max(rate.value, floor))
        text = f"FNIR {rate.value:.2%} at FPIR {target:g}\nthreshold {evaluation.fpir_thresholds[target]:.3f}"
        axes.plot(*point, "o", color=RED)
        axes.annotate(text, point, xytext=(8, 8), textcoords="offset points", fontsize=9, va="bottom")
    axes.set(
        xscale="log",
        yscale="log",
        xlabel=f"FPIR: searches of persons not in the gallery with a candidate (n = {len(false_scores):,})",
        ylabel=f"FNIR: mates below the threshold (n = {len(mate_scores):,})",
        xlim=(0.8 / len(false_scores), 1.0),
        ylim=(floor, 1.0),
    )
    axes.set_title(f"Detection error trade-off, {pack}\n{_gallery(evaluation)}")
    _percent(axes)
    axes.legend(loc="upper right")
    _save(figure, path)


def draw_scores(evaluation: Evaluation, path: Path, *, pack: str) -> None:
    """Draw the distributions of scores, of searches above and of all pairs below, as a PNG."""
    figure = Figure(figsize=(8, 8), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    bins = np.linspace(-1, 1, BINS + 1)
    mates = _finite(evaluation.mated.scores)
    others = _finite(evaluation.non_mated.rival_scores)
    _shares(upper, bins, np.histogram(mates, bins)[0], BLUE, f"the mate (n = {len(mates):,})")
    _shares(upper, bins, np.histogram(others, bins)[0], RED, f"best other person (n = {len(others):,})")
    _mark(upper, {f"FPIR {target:g}": at for target, at in evaluation.fpir_thresholds.items()})
    upper.set(title=f"Scores of searches, {pack}\n{_gallery(evaluation)}", ylabel="share of searches")
    upper.legend(loc="upper left")
    pairs = evaluation.comparisons
    _shares(lower, bins, pairs.mated_histogram, BLUE, f"same person (n = {pairs.mated_histogram.sum():,})")
    _shares(lower, bins, pairs.non_mated_histogram, RED, f"different persons (n = {pairs.non_mated_pairs:,})")
    _mark(lower, {f"FAR {target:g}": at for target, at in evaluation.far_thresholds.items()})
    lower.set(title="Scores of all pairs of pictures", xlabel="score (cosine)", ylabel="share of pairs")
    lower.legend(loc="upper left")
    low = min([*mates, *others, -0.2]) - 0.05
    lower.set_xlim(low, 1.0)
    _save(figure, path)


def _det_curve(
    false_scores: NDArray[np.float64], mate_scores: NDArray[np.float64]
) -> tuple[NDArray[np.float64], ...]:
    """Return FPIR, FNIR and the ends of FNIR's interval, at thresholds just above a false score."""
    descending = np.sort(false_scores)[::-1]
    n = len(descending)
    allowed = np.unique(np.geomspace(1, max(1, n - 1), _POINTS).round().astype(int))
    mates = np.sort(mate_scores)
    missed = np.searchsorted(mates, descending[np.minimum(allowed, n - 1)], side="right")
    rates = [proportion(int(count), len(mates)) for count in missed]
    columns = (
        allowed / n,
        *(np.array([getattr(rate, end) for rate in rates]) for end in ("value", "low", "high")),
    )
    return tuple(np.asarray(column, np.float64) for column in columns)


def _shares(
    axes: Axes, bins: NDArray[np.float64], counts: NDArray[np.int64], colour: str, label: str
) -> None:
    axes.stairs(counts / max(1, counts.sum()), bins, color=colour, fill=True, alpha=0.35)
    axes.stairs(counts / max(1, counts.sum()), bins, color=colour, label=label)


def _mark(axes: Axes, thresholds: dict[str, float]) -> None:
    """Draw thresholds as lines with their names, one below the other."""
    axes.set_ylim(0, axes.get_ylim()[1] * 1.15)
    for row, (name, at) in enumerate(thresholds.items()):
        axes.axvline(at, color="#444", ls="--", lw=1)
        place = (at, 0.98 - 0.07 * row)
        text = f"{name}: {at:.3f}"
        axes.annotate(
            text,
            place,
            xycoords=("data", "axes fraction"),
            xytext=(4, 0),
            textcoords="offset points",
            fontsize=9,
            va="top",
        )


def _gallery(evaluation: Evaluation) -> str:
    return f"{evaluation.images:,} pictures of {evaluation.identities:,} identities, first picture enrolled"


def _percent(axes: Axes) -> None:
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g} %"))
    axes.grid(visible=True, which="both", alpha=0.3)


def _finite(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    return scores[np.isfinite(scores)]


def _save(figure: Figure, path: Path) -> None:
    FigureCanvasAgg(figure)
    figure.savefig(path, format="png", dpi=130)
