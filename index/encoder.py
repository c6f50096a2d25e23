"""Aligns faces on the ArcFace template and turns them into vectors."""

from collections.abc import Iterator, Sequence
from typing import cast

import cv2
import numpy as np
import onnxruntime
from insightface.model_zoo.arcface_onnx import ArcFaceONNX
from numpy.typing import NDArray

from index.detector import has_spread
from index.errors import AlignmentError, PackError
from index.pack_manifest import EncoderManifest
from index.types import Image, Points, Vectors

ARCFACE_TEMPLATE = np.array(
    [
        [38.2946, 51.6963],
        [73.5318, 51.5014],
        [56.0252, 71.7366],
        [41.5493, 92.3655],
        [70.7299, 92.2041],
    ],
    np.float64,
)
"""Where the five points lie in a crop of 112 x 112.

Source: Deng et al., ArcFace (2019), the mean shape on which its published models are trained;
`insightface.utils.face_align.arcface_dst` holds the same numbers.
"""

TEMPLATE_SIZE = 112

_TARGET_MIDDLE = complex(*ARCFACE_TEMPLATE.mean(axis=0).tolist())
_TARGET = [complex(x, y) - _TARGET_MIDDLE for x, y in ARCFACE_TEMPLATE.tolist()]
"""The template about its middle, as complex numbers."""

MAX_BATCH = 16
"""Crops run at once: larger batches cost memory and are no faster on one thread."""


def align(image: Image, landmarks: Points, size: int = TEMPLATE_SIZE) -> Image:
    """Cut a face out so that its points lie on the ArcFace template.

    The same picture as `insightface.utils.face_align.norm_crop` makes, up to rounding.

    Args:
        image: The picture. Not modified.
        landmarks: The face's five points in pixels of the picture.
        size: Side of the crop in pixels.

    Returns:
        Shape (size, size, 3), RGB; black where it reaches past the picture.

    Raises:
        AlignmentError: The points are not finite, or lie in one place.
    """
    matrix = template_transform(landmarks, size)
    crop = cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderValue=0.0)
    return cast(Image, crop)


def template_transform(landmarks: Points, size: int = TEMPLATE_SIZE) -> NDArray[np.float64]:
    """Find the similarity that moves five points closest to the template, in the least-squares sense.

    With points as complex numbers z and w about their means, the factor is sum(conj(z) w) / sum(|z|^2):
    the two-dimensional case of Umeyama (1991) without reflection.

    Args:
        landmarks: Five points in pixels.
        size: Side of the crop in pixels.

    Returns:
        Shape (2, 3), from picture to crop.

    Raises:
        AlignmentError: The points are not finite, or lie in one place.
    """
    if not has_spread(landmarks):
        raise AlignmentError("The five points of the face lie in one place or are no numbers; detect again.")
    # Plain numbers: for five points NumPy takes several times as long.
    source = [complex(x, y) for x, y in np.asarray(landmarks, np.float64).tolist()]
    middle = sum(source) / 5
    centred = [point - middle for point in source]
    product = sum(one.conjugate() * other for one, other in zip(centred, _TARGET, strict=True))
    factor = product / sum(abs(one) ** 2 for one in centred) * (size / TEMPLATE_SIZE)
    if abs(factor) < 1e-6:
        raise AlignmentError("The five points of the face are not in the order of a face; detect again.")
    shift = _TARGET_MIDDLE * (size / TEMPLATE_SIZE) - factor * middle
    return np.array([[factor.real, -factor.imag, shift.real], [factor.imag, factor.real, shift.imag]])


class Encoder:
    """insightface's ArcFaceONNX over a session of ours; safe to call from several threads at once."""

    def __init__(
        self, model_file: str, session: onnxruntime.InferenceSession, manifest: EncoderManifest
    ) -> None:
        """Set up the class that runs the model.

        Args:
            model_file: The ONNX file that the session was made of.
            session: Explicit threads, processor only.
            manifest: Preprocessing and dimension.

        Raises:
            PackError: The model is not of the layout `arcface`.
        """
        self._manifest = manifest
        self._batch = _check_layout(session, manifest)
        self._arcface = ArcFaceONNX(model_file, session=session)
        # The class guesses these from the graph; the manifest knows.
        self._arcface.input_mean = np.array(manifest.mean, np.float32).reshape(3, 1, 1)
        self._arcface.input_std = np.array(manifest.std, np.float32).reshape(3, 1, 1)

    @property
    def dimension(self) -> int:
        """Length of the vectors."""
        return self._manifest.dimension

    def encode(self, crops: Sequence[Image]) -> Vectors:
        """Encode aligned faces.

        Args:
            crops: Any number of 112 x 112 crops. Not modified.

        Returns:
            Shape (n, d), in the order of the crops.

        Raises:
            PackError: The model gave no numbers, zeros, or another shape.
            ValueError: A crop is not 112 x 112 x 3 of 8 bits.
        """
        size = self._manifest.input_size
        if any(crop.shape != (size, size, 3) or crop.dtype != np.uint8 for crop in crops):
            raise ValueError(f"crops must be {size} x {size} x 3, 8 bits; make them with align")
        if not crops:
            return np.empty((0, self.dimension), np.float32)
        return self._normalised(np.concatenate([self._features(chunk) for chunk in self._chunks(crops)]))

    def _chunks(self, crops: Sequence[Image]) -> Iterator[NDArray[np.float32]]:
        """Yield batches in the model's channel order, shape (at most MAX_BATCH, 3, 112, 112)."""
        for start in range(0, len(crops), self._batch):
            batch = np.stack(crops[start : start + self._batch]).transpose(0, 3, 1, 2)
            if self._manifest.colour == "bgr":
                batch = batch[:, ::-1]
            # Laid out as the model reads it while the numbers are small: ten times as fast as later.
            yield batch.astype(np.float32, order="C")

    def _features(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        features = self._run(batch)
        if self._manifest.flip:
            features = features + self._run(np.ascontiguousarray(batch[..., ::-1]))
        return features

    def _run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        features: NDArray[np.float32] = np.asarray(self._arcface.forward(batch), np.float32)
        if features.shape != (len(batch), self.dimension):
            raise PackError(
                f"{self._manifest.file}: gives {features.shape} for {len(batch)} crops, but the manifest "
                f"says [encoder] dimension {self.dimension}"
            )
        return features

    def _normalised(self, features: NDArray[np.float32]) -> Vectors:
        norms = np.linalg.norm(features.astype(np.float64), axis=1, keepdims=True)
        if not np.isfinite(norms).all() or float(norms.min()) < 1e-9:
            raise PackError(
                f"{self._manifest.file}: gives no usable numbers; check mean and std in the manifest"
            )
        return np.asarray(features / norms, np.float32)


def _check_layout(session: onnxruntime.InferenceSession, manifest: EncoderManifest) -> int:
    """Check the model's interface and return how many crops it takes at once."""
    where = f"{manifest.file}: layout 'arcface'"
    if len(session.get_inputs()) != 1 or len(session.get_outputs()) != 1:
        raise PackError(f"{where} has one input and one output; this model has others")
    shape = session.get_inputs()[0].shape
    size = manifest.input_size
    if len(shape) != 4 or any(
        isinstance(s, int) and s != w for s, w in zip(shape[1:], (3, size, size), strict=True)
    ):
        raise PackError(f"{where} takes n x 3 x {size} x {size}; this model takes {shape}")
    dimension = session.get_outputs()[0].shape[-1:]
    if dimension and isinstance(dimension[0], int) and dimension[0] != manifest.dimension:
        raise PackError(
            f"{manifest.file}: its vectors have {dimension[0]} numbers, but the manifest says "
            f"[encoder] dimension {manifest.dimension}; correct the manifest"
        )
    return shape[0] if isinstance(shape[0], int) and shape[0] > 0 else MAX_BATCH
