"""Collects what a detector takes for faces where none is: python -m scripts.train.collect_mistakes --help."""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from index.crops import cut_averaged
from index.detector import Detector, configure_opencv
from index.errors import AlignmentError
from index.landmarks import view_transform
from index.types import Face, Image
from scripts.progress import progress
from scripts.train.detector_bank import open_bank
from scripts.train.detector_compose import Square
from scripts.train.label_squares import TRAINING
from scripts.train.landmark_views import MARGIN, VIEW_PX
from scripts.train.measure_detector import load_detector

WARY = 0.15
"""Score from which on the detector's answers are looked at: those that a low threshold would let through."""

FAR = 0.1
"""Most of an answer's box that may lie on a face or on what nobody is sure of."""

MOST_PER_SQUARE = 4


def collect(
    detector: Annotated[Path, typer.Argument(help="The detector's ONNX file.")],
    squares: Annotated[Path, typer.Argument(help="The working folder of scripts.train.label_squares.")],
    target: Annotated[Path, typer.Argument(help="File to write: views, .npy.")],
) -> None:
    """Look for mistakes in all labelled squares, at two sizes, and keep their views."""
    configure_opencv(1)
    looks = [
        load_detector(detector, "scrfd", threshold=WARY, fallback=0, size=s, border=0) for s in (160, 320)
    ]
    bank = open_bank(squares / TRAINING)
    views: list[Image] = []
    with progress("squares", len(bank)) as shown:
        for number in range(len(bank)):
            square = bank.square(number)
            for look in looks:
                views += mistakes(look, square)
            shown.advance(1)
    np.save(target, np.array(views, np.uint8).reshape(-1, VIEW_PX, VIEW_PX, 3))
    print(f"{target}: {len(views):,} views")


def mistakes(detector: Detector, square: Square) -> list[Image]:
    """Return the views of the surest answers in a square that lie on no face."""
    taken = [*square.boxes, *square.ignored]
    found = [face for face in detector.detect(square.picture) if covered_share(face, taken) <= FAR]
    views = []
    for face in sorted(found, key=lambda one: -one.score)[:MOST_PER_SQUARE]:
        try:
            matrix = view_transform(face.landmarks, VIEW_PX, MARGIN)
        except AlignmentError:
            continue
        views.append(cut_averaged(square.picture, matrix, VIEW_PX, quick=True))
    return views


def covered_share(face: Face, boxes: list[NDArray[np.float64]]) -> float:
    """Return the largest share of a face's box, or of a box, that the other covers."""
    x, y, width, height = face.box
    most = 0.0
    for left, top, right, bottom in boxes:
        shared = max(0.0, min(x + width, right) - max(x, left)) * max(
            0.0, min(y + height, bottom) - max(y, top)
        )
        smaller = min(width * height, (right - left) * (bottom - top))
        most = max(most, shared / max(1e-9, smaller))
    return most


if __name__ == "__main__":
    typer.run(collect)
