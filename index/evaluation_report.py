"""Writes what an evaluation found: figures, two pictures, the failures, and a page of the worst errors."""

import base64
import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pillow

from index.errors import PortraitError
from index.evaluation import FPIR_TARGETS, NOBODY, Evaluation, Searches
from index.labelled import LabelledPicture
from index.labelled_templates import Outcome
from index.portrait import decode_portrait
from index.types import Rate

WORST = 30
"""Errors shown of each kind: more than anybody looks at, and a page that still opens at once."""

THUMBNAIL_PX = 160

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;color:#1d2430}
h1{font-size:1.6rem}h2{margin-top:2.5rem;font-size:1.25rem}
.note{background:#fff4d6;border-left:4px solid #b07900;padding:.6rem 1rem}
table{border-collapse:collapse;margin:1rem 0}
th,td{border:1px solid #c8ced8;padding:.35rem .7rem;text-align:left}
td.n{text-align:right;font-variant-numeric:tabular-nums}
.case{display:flex;gap:1rem;border-top:1px solid #c8ced8;padding:1rem 0;align-items:flex-start}
.case p{margin:0;flex:0 0 17rem}
figure{margin:0;width:170px}figcaption{font-size:.8rem;overflow-wrap:anywhere}
img{display:block;height:160px;max-width:170px;object-fit:contain;background:#eef0f4}
"""


def as_report(evaluation: Evaluation, *, pack: str) -> dict[str, Any]:
    """Return the figures as JSON values; every rate is `{value, low, high, n}` with its 95 % interval.

    Args:
        evaluation: What was measured.
        pack: Name and version of the pack.
    """
    return {
        "pack": pack,
        "images": evaluation.images,
        "identities": evaluation.identities,
        "failure_to_enrol": asdict(evaluation.failure_to_enrol),
        "rank1": asdict(evaluation.rank1),
        "fnir": {f"{target:g}": asdict(rate) for target, rate in evaluation.fnir.items()},
        "tar": {f"{target:g}": asdict(rate) for target, rate in evaluation.tar.items()},
        "thresholds": {
            "fpir": {f"{target:g}": at for target, at in evaluation.fpir_thresholds.items()},
            "far": {f"{target:g}": at for target, at in evaluation.far_thresholds.items()},
        },
    }


def write_report(
    directory: Path,
    evaluation: Evaluation,
    pictures: Sequence[LabelledPicture],
    outcomes: Sequence[Outcome],
    *,
    source: Path,
    pack: str,
    groups: Mapping[str, Evaluation | str] | None = None,
) -> None:
    """Write `report.json`, `failures.csv`, `det.png`, `scores.png` and `errors.html`.

    Args:
        directory: Where to; made if need be. `errors.html` holds portraits.
        evaluation: What was measured.
        pictures: Manifest rows.
        outcomes: What became of them.
        source: The folder that the pictures' paths are relative to.
        pack: Name and version of the pack.
        groups: The same of each group, or why it could not be measured; goes into `report.json`.
    """
    # Matplotlib takes half a second to import, and only this command draws.
    from index.evaluation_plots import draw_det, draw_scores  # noqa: PLC0415

    directory.mkdir(parents=True, exist_ok=True)
    report = as_report(evaluation, pack=pack)
    if groups:
        report["groups"] = {
            group: {"reason": one} if isinstance(one, str) else as_report(one, pack=pack)
            for group, one in groups.items()
        }
    (directory / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    _write_failures(directory / "failures.csv", pictures, outcomes)
    draw_det(evaluation, directory / "det.png", pack=pack)
    draw_scores(evaluation, directory / "scores.png", pack=pack)
    page = _Page(evaluation, pictures, outcomes, source=source, pack=pack)
    (directory / "errors.html").write_text(page.render(), encoding="utf-8")


def _write_failures(path: Path, pictures: Sequence[LabelledPicture], outcomes: Sequence[Outcome]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "identity", "reasons"])
        for picture, outcome in zip(pictures, outcomes, strict=True):
            if outcome.template is None:
                writer.writerow([picture.path, picture.identity, ";".join(outcome.reasons)])


class _Page:
    """The page of the worst errors, one self-contained file."""

    def __init__(
        self,
        evaluation: Evaluation,
        pictures: Sequence[LabelledPicture],
        outcomes: Sequence[Outcome],
        *,
        source: Path,
        pack: str,
    ) -> None:
        self._evaluation = evaluation
        self._pictures = pictures
        self._outcomes = outcomes
        self._source = source
        self._pack = pack

    def render(self) -> str:
        return "\n".join(
            [
                '<!doctype html><html lang="en"><meta charset="utf-8">',
                '<meta name="viewport" content="width=device-width">',
                f"<title>Worst errors of {escape(self._pack)}</title><style>{_STYLE}</style>",
                f"<h1>Worst errors of {escape(self._pack)}</h1>",
                '<p class="note">This page holds portraits and labels of persons. '
                "Keep it where the portraits are kept, and pass it to nobody else.</p>",
                self._figures(),
                "<h2>Missed: mates that scored too low</h2>",
                "<p>The same person, by the labels. Causes to look for: a wrong label, a picture of poor "
                "quality, many years between the two, or an encoder that does not know such faces.</p>",
                *self._missed(),
                "<h2>False candidates: different persons that scored too high</h2>",
                "<p>Different persons, by the labels. Causes to look for: one person under two labels, "
                "siblings and twins, or an encoder that takes such faces for one another.</p>",
                *self._false_candidates(),
                "<h2>Pictures without a template</h2>",
                *self._failures(),
                "</html>",
            ]
        )

    def _figures(self) -> str:
        evaluation = self._evaluation
        rows = [
            _row("Pictures without a template (failure to enrol)", evaluation.failure_to_enrol, None),
            _row("Mates that score highest (rank 1)", evaluation.rank1, None),
        ]
        for target, rate in evaluation.fnir.items():
            at = evaluation.fpir_thresholds[target]
            rows.append(_row(f"Mates missed (FNIR) at FPIR {target:g}", rate, at))
        for target, rate in evaluation.tar.items():
            at = evaluation.far_thresholds[target]
            rows.append(_row(f"Mated pairs accepted (TAR) at FAR {target:g}", rate, at))
        searches = int(np.isfinite(evaluation.non_mated.rival_scores).sum())
        return (
            f"<p>{evaluation.images:,} pictures of {evaluation.identities:,} identities. "
            "The first picture of an identity is the reference, the second is searched; "
            "a search with a failed picture is a miss. "
            f"False positives: {searches:,} searches, one per identity with itself left out of the gallery. "
            f"1:1: all pairs, {evaluation.comparisons.non_mated_pairs:,} of different identities. Intervals: "
            "95 %, Clopper-Pearson at the stated threshold; for pairs with Kish's design effect.</p>"
            "<table><tr><th>Measure</th><th>Value</th><th>95 % interval</th><th>Trials</th>"
            f"<th>Threshold</th></tr>{''.join(rows)}</table>"
        )

    def _missed(self) -> Iterator[str]:
        mated = self._evaluation.mated
        wrong = np.flatnonzero(np.isfinite(mated.scores) & (mated.ranks > 1))
        low = np.flatnonzero(np.isfinite(mated.scores) & (mated.ranks == 1))
        order = [*wrong[np.argsort(mated.scores[wrong])], *low[np.argsort(mated.scores[low])]]
        for i in order[:WORST]:
            text = f"Mate's score {mated.scores[i]:.3f}, rank {mated.ranks[i]}."
            figures = [
                self._figure("searched", int(mated.probes[i])),
                self._figure("mate", int(mated.mates[i])),
            ]
            if mated.rivals[i] != NOBODY:
                text += f" Best other person {mated.rival_scores[i]:.3f}."
                figures.append(self._figure("best other person", int(mated.rivals[i])))
            yield _case(text, figures)

    def _false_candidates(self) -> Iterator[str]:
        searches = self._evaluation.non_mated
        usable = np.flatnonzero(np.isfinite(searches.rival_scores))
        for i in usable[np.argsort(-searches.rival_scores[usable])][:WORST]:
            figures = [
                self._figure("searched", int(searches.probes[i])),
                self._figure("best other person", int(searches.rivals[i])),
            ]
            yield _case(f"Score {searches.rival_scores[i]:.3f}. {self._reaches(searches, int(i))}", figures)

    def _reaches(self, searches: Searches, i: int) -> str:
        """Say which targets' thresholds the score reaches."""
        thresholds = self._evaluation.fpir_thresholds
        reached = [f"{t:g}" for t in FPIR_TARGETS if searches.rival_scores[i] >= thresholds[t]]
        return f"A candidate at FPIR {', '.join(reached)}." if reached else "No candidate at any target."

    def _failures(self) -> Iterator[str]:
        failed = [i for i, outcome in enumerate(self._outcomes) if outcome.template is None]
        if not failed:
            yield "<p>None.</p>"
            return
        if len(failed) > WORST:
            yield f"<p>The first {WORST} of {len(failed):,}; all are in failures.csv.</p>"
        for i in failed[:WORST]:
            yield _case("Reasons: " + ", ".join(self._outcomes[i].reasons), [self._figure("picture", i)])

    def _figure(self, role: str, place: int) -> str:
        picture = self._pictures[place]
        name = f"{role}: {picture.identity}, {picture.path}"
        data = thumbnail(self._source / picture.path)
        if data is None:
            return f"<figure><figcaption>{escape(name)} (cannot be shown)</figcaption></figure>"
        text = base64.b64encode(data).decode()
        return (
            f'<figure><img src="data:image/jpeg;base64,{text}" alt="{escape(name)}">'
            f"<figcaption>{escape(name)}</figcaption></figure>"
        )


def thumbnail(path: Path) -> bytes | None:
    """Return a small JPEG of a picture, None when it cannot be decoded."""
    try:
        pixels = decode_portrait(path.read_bytes()).pixels
    except (PortraitError, OSError):
        return None
    image = Pillow.fromarray(pixels)
    image.thumbnail((THUMBNAIL_PX * 2, THUMBNAIL_PX))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def _case(text: str, figures: Sequence[str]) -> str:
    return f'<div class="case"><p>{escape(text)}</p>{"".join(figures)}</div>'


def _row(name: str, rate: Rate, threshold: float | None) -> str:
    at = "" if threshold is None else f"{threshold:.3f}"
    return (
        f'<tr><td>{escape(name)}</td><td class="n">{rate.value:.4f}</td>'
        f'<td class="n">{rate.low:.4f} to {rate.high:.4f}</td><td class="n">{rate.n:,}</td>'
        f'<td class="n">{at}</td></tr>'
    )
