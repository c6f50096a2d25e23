"""Composes the squares that a detector is trained on: python -m scripts.train.label_squares --help."""

from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer

from scripts.progress import progress
from scripts.train.detector_bank import SIDE, fill
from scripts.train.detector_compose import Composer, Square, worn
from scripts.train.detector_teacher import Teacher, taught
from scripts.train.pool import unpack
from scripts.train.scenes import unpack_scenes

TRAINING, CHECKS = "squares", "checks"
"""Folders in the working folder: squares to train on, and those of the pictures held out."""

CHECKED = 512
"""Squares that the checks during training look at."""


def label(
    scenes: Annotated[Path, typer.Argument(help="Folder of whole pictures: labels.csv and scenes.zip.")],
    *,
    work: Annotated[Path, typer.Option(help="Where arrays and squares are kept.")],
    yunet: Annotated[
        Path | None,
        typer.Option(help="YuNet's ONNX file for 320 x 320, the teacher; without it the given labels stay."),
    ] = None,
    pool: Annotated[Path | None, typer.Option(help="Folder of aligned crops: index.csv and shards.")] = None,
    pool_work: Annotated[
        Path | None, typer.Option(help="Where the crops are decoded, if they are elsewhere already.")
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="Squares to train on; 0.3 MB each.")] = 20_480,
    seed: Annotated[int, typer.Option(min=0, help="Of all choices.")] = 1,
) -> None:
    """Compose and label squares; interrupted, the same command goes on."""
    cv2.setNumThreads(1)
    pictures = unpack_scenes(scenes, work)
    crops = None if pool is None else unpack(pool, pool_work or work)
    teacher = None if yunet is None else Teacher(yunet, SIDE)
    # Seeds of two numbers in training and of three here: no square of the checks is one of training's.
    makers = {
        CHECKS: (CHECKED, Composer(pictures, SIDE, held_out=True), [seed, 0]),
        TRAINING: (count, Composer(pictures, SIDE, crops=crops), [seed]),
    }
    for name, (wanted, composer, seeds) in makers.items():
        with progress(name, wanted) as shown:
            fill(
                work / name,
                wanted,
                lambda number, c=composer, s=seeds: made(c, teacher, [*s, number]),  # type: ignore[misc]
                advance=shown.advance,
            )


def made(composer: Composer, teacher: Teacher | None, seed: list[int]) -> Square:
    """Compose one square and label it.

    Args:
        composer: What it is made from.
        teacher: Who labels it; None: the composed faces keep their own labels.
        seed: The same seed gives the same square.
    """
    chance = np.random.default_rng(seed)
    square = composer.draw(chance)
    clean = square.picture
    square.picture = worn(clean, chance)
    return square if teacher is None else taught(square, clean, teacher)


if __name__ == "__main__":
    typer.run(label)
