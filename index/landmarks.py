"""Corrects a face's five points, and tells faces from what is none, on a close view of it.

The detector looks at the whole picture, small, so its points are coarse and a pattern may pass for a face.
A second, small net looks at each face turned upright and brought to one size, at the picture's own
resolution, and says where the points are and how sure it is that this is a face at all.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from index.crops import cut_averaged
from index.detector import has_spread
from index.encoder import ARCFACE_TEMPLATE, TEMPLATE_SIZE, template_transform
from index.errors import AlignmentError, PackError
from index.pack_manifest import LandmarksManifest
from index.types import Face, Image, Points

MAX_VIEWS = 16
"""Views looked at in one run of the net, which bounds its memory: portraits have one."""

ANSWER = 11
"""Numbers of the net per view: five points as x and y, and the score before the sigmoid."""

SAME_FACE = 0.3
"""Faces whose points are nearer to one another, in distances of the eyes, are one that was found twice: five
times what the net errs by, and far less than what lies between two people."""


class LandmarkRefiner:
    """Runs the second net; safe to call from several threads at once."""

    def __init__(self, session: onnxruntime.InferenceSession, manifest: LandmarksManifest) -> None:
        """Keep the net.

        Args:
            session: Explicit threads, processor only.
            manifest: Size and margin of its views, and from which score on something is a face.

        Raises:
            PackError: The model is not of this layout.
        """
        self._session, self._manifest = session, manifest
        self._input = _input_name(session, manifest)

    @property
    def file(self) -> str:
        """Name of the model's file, for messages."""
        return self._manifest.file

    @property
    def view_size(self) -> int:
        """Side of a view in pixels."""
        return self._manifest.input_size

    def refine(self, image: Image, faces: Sequence[Face]) -> list[Face]:
        """Correct the points of faces and drop what is none.

        Args:
            image: The picture that they were found in. Not modified.
            faces: What the detector found.

        Returns:
            Those that are faces, in the same order, with points of this net; boxes and scores are the
            detector's. Of several that turn out to be one face the surest is left.

        Raises:
            PackError: The net gave no numbers, or another shape.
        """
        kept, matrices = [], []
        for face in faces:
            try:
                matrices.append(
                    view_transform(face.landmarks, self._manifest.input_size, self._manifest.margin)
                )
            except AlignmentError:  # Points that no face has.
                continue
            kept.append(face)
        refined = []
        for start in range(0, len(kept), MAX_VIEWS):
            part = slice(start, start + MAX_VIEWS)
            refined += self._refined(image, kept[part], matrices[part])
        return _distinct(refined)

    def _refined(self, image: Image, faces: list[Face], matrices: list[NDArray[np.float64]]) -> list[Face]:
        size = self._manifest.input_size
        answers = self.answers([cut_averaged(image, matrix, size, quick=True) for matrix in matrices])
        least = _logit(self._manifest.score_threshold)
        refined = []
        for face, matrix, answer in zip(faces, matrices, answers, strict=True):
            points = _in_picture(answer[:10].reshape(5, 2) * size, matrix)
            if answer[10] >= least and has_spread(points):
                refined.append(replace(face, landmarks=points.astype(np.float32)))
        return refined

    def answers(self, views: Sequence[Image]) -> NDArray[np.float64]:
        """Run the net.

        Args:
            views: At least one, each as `view_transform` cuts it out. Not modified.

        Returns:
            Shape (n, 11), in the order of the views: five points as x and y in sides of the view, and the
            score before the sigmoid.

        Raises:
            PackError: The net gave no numbers, or another shape.
        """
        manifest = self._manifest
        batch = np.stack(views).transpose(0, 3, 1, 2).astype(np.float32, order="C")
        batch -= np.float32(manifest.mean)
        batch /= np.float32(manifest.std)
        answers = np.asarray(self._session.run(None, {self._input: batch})[0])
        if answers.shape != (len(views), ANSWER):
            raise PackError(
                f"{manifest.file}: gives shape {answers.shape} for {len(views)} views, expected "
                f"{len(views)} x {ANSWER}; export it for any number of views"
            )
        if not np.isfinite(answers).all():
            raise PackError(
                f"{manifest.file}: gives no usable numbers; check mean and std of [landmarks] in the manifest"
            )
        return np.asarray(answers, np.float64)


def view_transform(landmarks: Points, size: int, margin: float) -> NDArray[np.float64]:
    """Find the similarity from a picture to the view of a face.

    Args:
        landmarks: Five points in pixels, as the detector sees them.
        size: Side of the view in pixels.
        margin: What it shows beyond the ArcFace template on each side, as a share of `size`.

    Returns:
        Shape (2, 3).

    Raises:
        AlignmentError: The points are not finite, or lie in one place.
    """
    matrix = template_transform(landmarks) * ((1 - 2 * margin) * size / TEMPLATE_SIZE)
    matrix[:, 2] += margin * size
    return matrix


def template_in_view(margin: float) -> NDArray[np.float64]:
    """Return where the ArcFace template's points lie in a view, in sides of it; shape (5, 2)."""
    return np.asarray(ARCFACE_TEMPLATE / TEMPLATE_SIZE * (1 - 2 * margin) + margin)


def _distinct(faces: list[Face]) -> list[Face]:
    """Leave the surest of the faces that are one, and the order as it is."""
    chosen: list[Face] = []
    for face in sorted(faces, key=lambda one: -one.score):
        if not any(_same(face, other) for other in chosen):
            chosen.append(face)
    return [face for face in faces if any(face is one for one in chosen)]


def _same(one: Face, other: Face) -> bool:
    eyes = float(np.linalg.norm(other.landmarks[1] - other.landmarks[0]))
    return float(np.linalg.norm(one.landmarks - other.landmarks, axis=1).mean()) < SAME_FACE * eyes


def _in_picture(points: NDArray[np.float64], matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Move points from a view back to the picture."""
    inverse = cv2.invertAffineTransform(matrix)
    return np.asarray(points @ inverse[:, :2].T + inverse[:, 2])


def _logit(score: float) -> float:
    return math.log(score / (1 - score))


def _input_name(session: onnxruntime.InferenceSession, manifest: LandmarksManifest) -> str:
    """Check the model's interface and return its input's name."""
    where = f"{manifest.file}: a model for points"
    inputs, outputs, size = session.get_inputs(), session.get_outputs(), manifest.input_size
    if len(inputs) != 1 or len(outputs) != 1:
        raise PackError(
            f"{where} has one input and one output, this one has others; correct [landmarks] file"
        )
    for end, wanted in ((inputs[0], (3, size, size)), (outputs[0], (ANSWER,))):
        if not _fits(end.shape, wanted) or end.type != "tensor(float)":
            raise PackError(
                f"{where} takes n x 3 x {size} x {size} and gives n x {ANSWER}, for any n and in 32-bit "
                f"numbers, this one has {end.shape} of {end.type}; correct [landmarks] input_size, or "
                "export the model again"
            )
    return str(inputs[0].name)


def _fits(shape: Sequence[int | str | None], wanted: Sequence[int]) -> bool:
    """Tell whether a shape is any number of what is wanted; sides that the model leaves open fit."""
    if len(shape) != len(wanted) + 1 or isinstance(shape[0], int):
        return False
    return all(
        side == right or not isinstance(side, int) for side, right in zip(shape[1:], wanted, strict=True)
    )
