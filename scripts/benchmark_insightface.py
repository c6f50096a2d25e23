"""What insightface's `FaceAnalysis.get` does with a portrait, over the ONNX files of a pack.

`FaceAnalysis` itself is never made: it looks for packs in the home directory and downloads what it does not
find. The classes that it makes are used as it makes and calls them (insightface 2.1, `app/face_analysis.py`
and `model_zoo/model_zoo.py`): sessions with onnxruntime's own options, detection at 128 x 128 and at
640 x 640 with the faces of both merged, and every face found aligned and encoded by itself.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
from insightface.app.common import Face
from insightface.model_zoo.arcface_onnx import ArcFaceONNX
from insightface.model_zoo.scrfd import SCRFD
from numpy.typing import NDArray

from index.pack_manifest import PackManifest
from index.types import Image

DETECTION_SIZES = [(128, 128), (640, 640)]
"""What `FaceAnalysis.prepare` sets where no size is asked for (`DEFAULT_DET_SIZES`)."""

DETECTION_THRESHOLD = 0.5
"""Likewise its `det_thresh`."""

Times = Mapping[str, float]
"""Milliseconds by part."""


class InsightfaceFlow:
    """Detects, aligns and encodes as insightface does; nothing of it is tuned."""

    def __init__(self, directory: Path, manifest: PackManifest, *, threads: int | None) -> None:
        """Load the models.

        Args:
            directory: The pack's.
            manifest: The pack's.
            threads: Threads inside one inference; None leaves onnxruntime its choice, as insightface does.
        """
        self._detector: Any = None
        if manifest.detector.layout == "scrfd":
            path = str(directory / manifest.detector.file)
            self._detector = SCRFD(path, session=_session(path, threads))
            self._detector.prepare(0, input_size=DETECTION_SIZES, det_thresh=DETECTION_THRESHOLD)
        path = str(directory / manifest.encoder.file)
        self._encoder: Any = ArcFaceONNX(path, session=_session(path, threads))

    @property
    def detects(self) -> bool:
        """Whether insightface has a class for the pack's detector."""
        return self._detector is not None

    def get(self, data: bytes) -> tuple[int, Times]:
        """Decode a portrait and return the number of faces that were found and encoded, and the times."""
        began = time.perf_counter()
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        decoded = time.perf_counter()
        boxes, points = self._detector.detect(picture, max_num=0, metric="default")
        detected = time.perf_counter()
        for box, landmarks in zip(boxes, points, strict=True):
            face = Face(bbox=box[:4], kps=landmarks, det_score=box[4])
            self._encoder.get(picture, face)
        encoded = time.perf_counter()
        return len(boxes), {
            "decode": 1e3 * (decoded - began),
            "detect": 1e3 * (detected - decoded),
            "encode": 1e3 * (encoded - detected),
        }

    def encode(self, crop: Image) -> NDArray[np.float32]:
        """Encode one aligned face, BGR."""
        return np.asarray(self._encoder.get_feat(crop), np.float32)


def _session(path: str, threads: int | None) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if threads is not None:
        options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
