"""Makes a model pack of what was trained: python -m scripts.train.assemble_pack --help."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from index.labelled import LabelledPicture
from index.labelled_templates import Outcome
from index.pack import load_pack, read_manifest, verify_pack, write_manifest
from index.pack_calibration import measure_match_rates, with_match_rates
from index.pack_store import PackRecipe, assemble_pack
from scripts.progress import progress
from scripts.train.augment import plain
from scripts.train.batches import held_out
from scripts.train.landmark_views import MARGIN, VIEW_PX
from scripts.train.pool import Pool, unpack

SAME_PERSON = 0.75
"""Teachers' score from which two pictures without names are taken for one person.

Of the 479,000 pairs of held-out faces of `scut-fbp` two lie between 0.6 and 0.65 and two above 0.9.
"""

CHUNK = 32


def assemble(
    target: Annotated[Path, typer.Argument(help="Directory of the pack to make; must not exist.")],
    *,
    detector: Annotated[Path, typer.Option(help="detector.onnx of the training.")],
    encoder: Annotated[Path, typer.Option(help="encoder.onnx of the training.")],
    pool: Annotated[Path, typer.Option(help="Folder of the crops that the encoder was trained on.")],
    work: Annotated[Path, typer.Option(help="Folder of the training.")],
    sources: Annotated[str, typer.Option(help="Sources of the pool that resemble the registry.")] = (
        "scut-fbp,aaf"
    ),
    landmarks: Annotated[
        Path | None, typer.Option(help="landmarks.onnx of the training, which corrects the points.")
    ] = None,
    input_size: Annotated[int, typer.Option(help="Side of the detector's square.")] = 160,
    fallback_size: Annotated[int, typer.Option(help="Side tried when nothing was found.")] = 640,
    border: Annotated[float, typer.Option(help="Margin in it, a share of the longer side.")] = 0.05,
    score_threshold: Annotated[
        float | None, typer.Option(help="Of the detector: by itself 0.4 with --landmarks, 0.75 without.")
    ] = None,
    landmarks_threshold: Annotated[float, typer.Option(help="From which on a view is a face.")] = 0.9,
    flip: Annotated[
        bool, typer.Option(help="Add the mirrored face's vector: better, twice the time.")
    ] = False,
    version: Annotated[str, typer.Option(help="Of the pack.")] = "1",
    licence: Annotated[str, typer.Option(help="Terms of the weights, in words.")] = (
        "OnePerson's own weights, for evaluation and development, not for operation; see MODEL_CARD.md"
    ),
) -> None:
    """Copy the models, write the manifest, verify the pack, and measure its table of false match rates.

    The rates are measured on the faces that the training held out.
    """
    recipe = PackRecipe(
        name=target.name,
        version=version,
        licence=licence,
        source="trained by scripts/train",
        detector=detector,
        detector_layout="scrfd",
        encoder=encoder,
        colour="rgb",
        mean=(127.5, 127.5, 127.5),
        std=(127.5, 127.5, 127.5),
        flip=flip,
        landmarks=landmarks,
        landmarks_size=VIEW_PX,
        landmarks_margin=MARGIN,
        input_size=input_size,
        fallback_size=fallback_size,
    )
    directory = assemble_pack(recipe, target.parent)
    faces = unpack(pool, work)
    rows = held_out_of(faces, sources.split(","))
    persons = persons_by(_teachers(work)[rows], SAME_PERSON)
    templates = _encoded(directory, faces, rows)
    pictures = [
        LabelledPicture(path=str(row), identity=str(who)) for row, who in zip(rows, persons, strict=True)
    ]
    points, pairs = measure_match_rates(pictures, [Outcome(template=vector) for vector in templates])
    manifest = read_manifest(directory)
    weakest = (0.75 if landmarks is None else 0.4) if score_threshold is None else score_threshold
    found = replace(manifest.detector, score_threshold=weakest, border=border)
    second = manifest.landmarks and replace(manifest.landmarks, score_threshold=landmarks_threshold)
    source = f"{' and '.join(sources.split(','))}, faces held out of the training: {pairs:,} pairs"
    manifest = replace(manifest, detector=found, landmarks=second)
    write_manifest(with_match_rates(manifest, points, source=source), directory)
    verify_pack(directory)
    print(f"{directory}: {len(rows)} faces, {source}")
    for threshold, rate in points:
        print(f"  {threshold:.2f}  {rate:.3g}")


def held_out_of(faces: Pool, sources: list[str]) -> NDArray[np.int64]:
    """Return the faces of some sources that were never learned from, shape (n,)."""
    return np.flatnonzero(held_out(faces) & np.isin(faces.sources, sources))


def persons_by(vectors: NDArray[np.float32], threshold: float) -> NDArray[np.int64]:
    """Give faces that score at or above a threshold one number.

    Args:
        vectors: Shape (n, d), of norm 1.
        threshold: On the cosine.

    Returns:
        Shape (n,): the lowest row that a face is linked to, through others if need be.
    """
    persons = np.arange(len(vectors))
    linked = vectors @ vectors.T >= threshold
    while True:
        lowest = np.where(linked, persons, len(vectors)).min(axis=1)
        if np.array_equal(lowest, persons):
            return persons
        persons = lowest


def _teachers(work: Path) -> NDArray[np.float32]:
    parts = [np.load(work / f"{name}.npy", mmap_mode="r") for name in ("reid-0095", "mobilefacenet")]
    return np.asarray(np.concatenate(parts, axis=1) / np.sqrt(2), np.float32)


def _encoded(directory: Path, faces: Pool, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    encoder = load_pack(directory).encoder
    parts = []
    with progress("faces held out", len(rows)) as shown:
        for start in range(0, len(rows), CHUNK):
            crops = [plain(faces.faces[row], 112) for row in rows[start : start + CHUNK]]
            parts.append(encoder.encode(crops))
            shown.advance(len(crops))
    return np.concatenate(parts)


if __name__ == "__main__":
    typer.run(assemble)
