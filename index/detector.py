"""Finds faces and their five points, with insightface's SCRFD or OpenCV's YuNet.

A picture is fitted, with an empty border, into a square of fixed size: models
then see one shape only, which keeps them fast and their answers equal
whatever the picture's size, and faces cut by the frame are found.
"""

import math
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import cv2
import numpy as np
import onnxruntime
from insightface.model_zoo.scrfd import SCRFD
from numpy.typing import NDArray

from index.errors import PackError
from index.pack_manifest import DetectorManifest
from index.types import Face, Image, Points

Rows = NDArray[np.float32]
"""Shape (n, 15): x, y, width, height, five points as x and y, score; pixels of the square."""

MIN_FACE_PX = 8.0
"""Faces narrower or lower than this, in pixels of the picture, are dropped: no encoder can use them."""

_LINEAR_FROM = 0.5
"""Scale from which on neighbouring pixels are weighted by their distance instead of averaged by their share:
no pixel is left out, and fitting a portrait takes half the time."""

_FARTHEST = 1e9
"""Pixels from the origin at which a point cannot be one of a picture; squares of it are still numbers."""

MAX_FACES = 100
"""Most faces reported for one picture: portraits have one, and the work for others is bounded."""


class Detector(Protocol):
    """Anything that finds faces; safe to call from several threads at once."""

    def detect(self, image: Image) -> list[Face]:
        """Find the faces of a picture.

        Args:
            image: Any size. Not modified.

        Returns:
            Faces by descending area; the same picture always gives the same list.
        """


class SquareModel(Protocol):
    """A detection model that looks at one square picture."""

    def find(self, square: Image) -> Rows:
        """Report what is found.

        Args:
            square: Shape (s, s, 3), BGR.
        """


class Refiner(Protocol):
    """Anything that looks a second time at faces; safe to call from several threads at once."""

    def refine(self, image: Image, faces: Sequence[Face]) -> list[Face]:
        """Correct the points of faces and drop what is none.

        Args:
            image: The picture that they were found in. Not modified.
            faces: What was found.

        Returns:
            Those that are faces, each once, in the same order.
        """


@dataclass(frozen=True, slots=True)
class _Fit:
    """Where a picture lies in the square: square = picture * scale + offset."""

    scale: float
    left: int
    top: int


class SquareDetector:
    """Runs a detection model on pictures of any size; tries a larger square when no face was found."""

    def __init__(
        self, model: SquareModel, manifest: DetectorManifest, refiner: Refiner | None = None
    ) -> None:
        """Keep the model and how to feed it.

        Args:
            model: Must be safe to call from several threads.
            manifest: Sizes and border.
            refiner: Has the last word on what is a face and where its points are; None: the model has.
        """
        self._model, self._refiner = model, refiner
        self._border = manifest.border
        sizes = [manifest.input_size]
        if manifest.fallback_size > manifest.input_size:
            sizes.append(manifest.fallback_size)
        self._sizes = tuple(sizes)

    def detect(self, image: Image) -> list[Face]:
        """Find the faces of a picture, see `Detector.detect`."""
        for size in self._sizes:
            square, fit = fit_into_square(image, size, border=self._border)
            faces = _faces(self._model.find(square), fit, image)
            if self._refiner is not None:
                faces = self._refiner.refine(image, faces)
            if faces:
                return faces
        return []


def fit_into_square(image: Image, size: int, *, border: float) -> tuple[Image, _Fit]:
    """Scale a picture into the middle of a black square.

    Args:
        image: Shape (h, w, 3), RGB. Not modified.
        size: Side of the square in pixels.
        border: Margin on each side, as a share of the picture's longer side.

    Returns:
        The square, BGR, and where the picture lies in it.
    """
    scale = size / ((1 + 2 * border) * max(image.shape[:2]))
    halved, left_to_scale = _halved(image, scale)
    height, width = halved.shape[:2]
    new_width, new_height = max(1, round(width * left_to_scale)), max(1, round(height * left_to_scale))
    interpolation = cv2.INTER_AREA if left_to_scale < _LINEAR_FROM else cv2.INTER_LINEAR
    scaled = cv2.resize(halved, (new_width, new_height), interpolation=interpolation)
    left, top = (size - new_width) // 2, (size - new_height) // 2
    square: Image = np.zeros((size, size, 3), np.uint8)
    # Written by OpenCV, in place: NumPy turns the channels round twenty times as slowly.
    cv2.cvtColor(scaled, cv2.COLOR_RGB2BGR, dst=square[top : top + new_height, left : left + new_width])
    return square, _Fit(scale, left, top)


def _halved(image: Image, scale: float) -> tuple[Image, float]:
    """Average blocks of 2 x 2 pixels where a scale allows, and return what is left of the scale.

    OpenCV averages by other factors, too, but takes twice as long. An odd last row or column is lost.
    """
    height, width = image.shape[:2]
    if scale > 0.5 or min(height, width) < 2:
        return image, scale
    even = image[: height // 2 * 2, : width // 2 * 2]
    halved = cv2.resize(even, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    return np.asarray(halved, np.uint8), 2 * scale


class ScrfdModel:
    """insightface's SCRFD over a session of ours."""

    def __init__(
        self, model_file: str, session: onnxruntime.InferenceSession, manifest: DetectorManifest
    ) -> None:
        """Set up the class that decodes SCRFD's outputs.

        Args:
            model_file: The ONNX file that the session was made of. Where it leaves the size open, the
                class makes a session per size from it, with the options of this one: published
                detectors state their outputs' sizes for 640 x 640 only.
            session: Explicit threads, processor only.
            manifest: Preprocessing, sizes and thresholds.

        Raises:
            PackError: The model is not of this layout, or takes another size.
        """
        where = f"{manifest.file}: layout 'scrfd'"
        if len(session.get_outputs()) not in (9, 15):
            raise PackError(f"{where} with five points has 9 or 15 outputs; see [detector] layout")
        self._scrfd = SCRFD(model_file, session=session)
        fixed = self._scrfd.static_input_size
        if fixed is not None and (fixed != (manifest.input_size,) * 2 or manifest.fallback_size):
            raise PackError(
                f"{where}: takes {fixed[0]} x {fixed[1]} only; set input_size to that and fallback_size to 0"
            )
        self._scrfd.input_mean = manifest.mean
        self._scrfd.input_std = manifest.std
        self._scrfd.det_thresh = manifest.score_threshold
        self._scrfd.nms_thresh = manifest.nms_threshold

    def find(self, square: Image) -> Rows:
        """Report what is found, see `SquareModel.find`."""
        boxes, points = self._scrfd.detect(square, input_size=square.shape[:2])
        corners, scores = boxes[:, :4], boxes[:, 4:5]
        sides = corners[:, 2:] - corners[:, :2]
        rows = np.hstack([corners[:, :2], sides, points.reshape(-1, 10), scores])
        return rows.astype(np.float32)


class YunetModel:
    """OpenCV's YuNet; its object is not safe to share, so each thread has its own."""

    def __init__(self, model: bytes, manifest: DetectorManifest) -> None:
        """Keep what is needed to load the model on each thread, and load it once.

        Args:
            model: Content of the ONNX file.
            manifest: Size and thresholds.

        Raises:
            PackError: OpenCV cannot load it.
        """
        self._model = np.frombuffer(model, np.uint8)
        self._manifest = manifest
        self._local = threading.local()
        try:
            self._network(manifest.input_size)
        except cv2.error as error:
            reason = error.err or "no reason given"
            raise PackError(f"{manifest.file}: OpenCV cannot load it as 'yunet' ({reason})") from error

    def find(self, square: Image) -> Rows:
        """Report what is found, see `SquareModel.find`."""
        _, rows = self._network(square.shape[0]).detect(square)
        return np.empty((0, 15), np.float32) if rows is None else cast(Rows, rows)

    def _network(self, size: int) -> cv2.FaceDetectorYN:
        """Return this thread's network for squares of this size."""
        networks: dict[int, cv2.FaceDetectorYN] | None = getattr(self._local, "networks", None)
        if networks is None:
            networks = self._local.networks = {}
        if size not in networks:
            thresholds = self._manifest.score_threshold, self._manifest.nms_threshold
            networks[size] = cv2.FaceDetectorYN.create(
                "onnx", self._model, np.empty(0, np.uint8), (size, size), *thresholds, MAX_FACES
            )
        return networks[size]


def configure_opencv(threads: int) -> None:
    """Set OpenCV's own threads, for the whole process, and keep its notices off standard error.

    OpenCV 5 prints a notice about targets for every network that it loads; errors still show.

    Args:
        threads: Threads inside one OpenCV call.
    """
    cv2.setNumThreads(threads)
    logging = cv2.utils.logging
    if logging.getLogLevel() > logging.LOG_LEVEL_ERROR:
        logging.setLogLevel(logging.LOG_LEVEL_ERROR)


def _faces(rows: Rows, fit: _Fit, image: Image) -> list[Face]:
    faces = [face for face in (_face(row, fit) for row in rows) if face and _usable(face, image)]
    faces.sort(key=lambda face: (-face.box[2] * face.box[3], -face.score, face.box))
    return faces[:MAX_FACES]


def _face(row: NDArray[np.float32], fit: _Fit) -> Face | None:
    """Move one detection into the picture's pixels."""
    if not np.isfinite(row).all():
        return None
    offset = np.array([fit.left, fit.top], np.float32)
    x, y = (row[:2] - offset) / fit.scale
    width, height = row[2:4] / fit.scale
    points: Points = ((row[4:14].reshape(5, 2) - offset) / fit.scale).astype(np.float32)
    score = min(1.0, max(0.0, float(row[14])))
    return Face((float(x), float(y), float(width), float(height)), score, points)


def _usable(face: Face, image: Image) -> bool:
    """Drop what is too small, lies outside the picture or has its points in one place."""
    x, y, width, height = face.box
    inside_x = min(x + width, image.shape[1]) - max(x, 0)
    inside_y = min(y + height, image.shape[0]) - max(y, 0)
    return (
        min(width, height) >= MIN_FACE_PX
        and inside_x > width / 4
        and inside_y > height / 4
        and has_spread(face.landmarks)
    )


def has_spread(landmarks: Iterable[Iterable[float]] | Points) -> bool:
    """Tell whether five points span enough to be aligned: finite, and 1 px or more about their middle."""
    array = np.asarray(landmarks, np.float64)
    if array.shape != (5, 2):
        return False
    # Plain numbers: for five points NumPy takes several times as long, and every face comes by several times.
    points = [complex(x, y) for x, y in array.tolist()]
    middle = sum(points) / 5
    spread = math.sqrt(sum(abs(point - middle) ** 2 for point in points) / 5) if _finite(points) else 0.0
    return 1.0 <= spread <= 1e6


def _finite(points: Iterable[complex]) -> bool:
    return all(abs(point.real) < _FARTHEST and abs(point.imag) < _FARTHEST for point in points)
