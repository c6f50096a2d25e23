"""Lets a published detector, YuNet, say where the faces of a composed square are."""

import threading
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from index.types import Image
from scripts.train.detector_compose import SMALLEST_FACE_PX, Square

SURE, UNSURE = 0.6, 0.3
"""Scores from which on the teacher's face is asked for (the threshold it is used with), and is at least not
forbidden."""

_SAME_FACE = 0.4
"""Intersection over union from which on the teacher's box and a composed face's are one face's: composed
boxes are those of other pictures, turned and scaled, so they fit less well than those of one picture."""


@dataclass(frozen=True)
class Seen:
    """Faces that the teacher sees in a square.

    Attributes:
        boxes: Shape (n, 4): left, top, right, bottom.
        points: Shape (n, 5, 2).
        scores: Shape (n,), best first.
    """

    boxes: NDArray[np.float64]
    points: NDArray[np.float64]
    scores: NDArray[np.float64]


class Teacher:
    """YuNet at one size, as `cv2.FaceDetectorYN` runs it; safe to call from several threads."""

    def __init__(self, model: Path, side: int) -> None:
        """Keep the file; each thread loads its own network.

        Args:
            model: YuNet's ONNX file.
            side: Of the squares in pixels.
        """
        self._model = np.frombuffer(model.read_bytes(), np.uint8)
        self._side = side
        self._local = threading.local()

    def look(self, picture: Image) -> Seen:
        """Report every face of a score of `UNSURE` or more.

        Args:
            picture: Shape (side, side, 3), RGB.
        """
        network: cv2.FaceDetectorYN | None = getattr(self._local, "network", None)
        if network is None:
            network = self._local.network = cv2.FaceDetectorYN.create(
                "onnx", self._model, np.empty(0, np.uint8), (self._side,) * 2, UNSURE, 0.4, 100
            )
        _, found = network.detect(np.ascontiguousarray(picture[:, :, ::-1]))
        rows = np.empty((0, 15)) if found is None else np.asarray(found, np.float64)
        rows = rows[np.argsort(-rows[:, 14], kind="stable")]
        corners = np.hstack([rows[:, :2], rows[:, :2] + rows[:, 2:4]])
        return Seen(corners, rows[:, 4:14].reshape(-1, 5, 2), rows[:, 14])


def taught(square: Square, clean: Image, teacher: Teacher) -> Square:
    """Replace a square's labels by what the teacher says of the very same pixels.

    The points of a teacher move by a twentieth of the eyes' distance when the picture moves: labels made on
    another picture are noise to the net, those made on this one are something that it can learn. Where the
    teacher misses a face that was put there, its answer on the undamaged picture counts, or else the label
    that the face came with. What it sees beside the composed faces is neither asked for nor forbidden.

    Args:
        square: Its picture as the net will see it. Not modified.
        clean: The same before light, blur and so on.
        teacher: Of the square's size.
    """
    result = Square(square.picture, ignored=list(square.ignored))
    if not square.boxes:
        return result
    seen = teacher.look(square.picture)
    free = np.ones(len(seen.scores), bool)
    missed = []
    for number, box in enumerate(square.boxes):
        match = _match(box, seen, free)
        if match is None:
            missed.append(number)
            continue
        free[match] = False
        _ask(result, seen.boxes[match], seen.points[match])
    if missed:
        before = teacher.look(clean)
        unused = np.ones(len(before.scores), bool)
        for number in missed:
            match = _match(square.boxes[number], before, unused)
            if match is None:
                _ask(result, square.boxes[number], square.points[number])
            else:
                unused[match] = False
                _ask(result, before.boxes[match], before.points[match])
    result.ignored += list(seen.boxes[free])
    return result


def _ask(square: Square, box: NDArray[np.float64], points: NDArray[np.float64]) -> None:
    if np.sqrt(np.prod(box[2:] - box[:2])) >= SMALLEST_FACE_PX:
        square.boxes.append(box)
        square.points.append(points)
    else:
        square.ignored.append(box)


def _match(box: NDArray[np.float64], seen: Seen, free: NDArray[np.bool_]) -> int | None:
    """Return the face, not yet taken, that overlaps a box most."""
    wanted = free & (seen.scores >= SURE)
    if not wanted.any():
        return None
    shared = np.clip(np.minimum(seen.boxes[:, 2:], box[2:]) - np.maximum(seen.boxes[:, :2], box[:2]), 0, None)
    both = (seen.boxes[:, 2:] - seen.boxes[:, :2]).prod(axis=1) + (box[2:] - box[:2]).prod()
    overlaps = np.where(wanted, shared.prod(axis=1) / (both - shared.prod(axis=1)), 0.0)
    best = int(overlaps.argmax())
    return best if overlaps[best] >= _SAME_FACE else None
