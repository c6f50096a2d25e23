"""What two published encoders say of each face: the targets that the student learns to give."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from index.encoder import TEMPLATE_SIZE, template_transform
from index.types import Image
from scripts.progress import progress
from scripts.train.pool import Pool

REID_SIZE = 128
REID_TEMPLATE = (
    np.array(
        [
            [30.2946 / 96, 51.6963 / 112],
            [65.5318 / 96, 51.5014 / 112],
            [48.0252 / 96, 71.7366 / 112],
            [33.5493 / 96, 92.3655 / 112],
            [62.7299 / 96, 92.2041 / 112],
        ]
    )
    * REID_SIZE
)
"""Where face-reidentification-retail-0095 wants the five points. Source: its model card (Open Model Zoo)."""

IMAGENET_MEAN = np.array([0.485, 0.456, 0.406], np.float32) * 255
IMAGENET_STD = np.array([0.229, 0.224, 0.225], np.float32) * 255

REID_0095 = Path("teacher-reid-0095", "face-reidentification-retail-0095.xml")
MOBILEFACENET = Path("teacher-mobilefacenet", "MobileFaceNet.onnx")

CHUNK = 256
"""Faces between two saved states."""

PASS = 32
"""Faces in one pass of a net: what they leave in between fits the processor's cache."""

Teacher = Callable[[NDArray[np.uint8], NDArray[np.float32]], NDArray[np.float32]]
"""Takes crops (n, 136, 136, 3) RGB and points (n, 5, 2); gives vectors (n, d), not normalised."""


def mobilefacenet(model: Path, threads: int) -> Teacher:
    """Load the teacher of 128 dimensions (ONNX, the ArcFace template of 112, RGB)."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def encode(crops: NDArray[np.uint8], points: NDArray[np.float32]) -> NDArray[np.float32]:
        given = mobilefacenet_input(crops, points)
        parts = [session.run(None, {name: given[at : at + PASS]})[0] for at in range(0, len(given), PASS)]
        return np.asarray(np.concatenate(parts), np.float32)

    return encode


def aligned(crops: NDArray[np.uint8], points: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Put crops (n, 136, 136, 3) by their points (n, 5, 2) on the ArcFace template: (n, 112, 112, 3)."""
    pairs = _pairs(crops, points)
    return np.stack([_warp(crop, template_transform(of), TEMPLATE_SIZE) for crop, of in pairs])


def mobilefacenet_input(crops: NDArray[np.uint8], points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Align crops (n, 136, 136, 3) RGB by points (n, 5, 2) as the teacher wants them: (n, 3, 112, 112)."""
    batch = aligned(crops, points)
    scaled = ((batch.astype(np.float32) - IMAGENET_MEAN) / IMAGENET_STD).transpose(0, 3, 1, 2)
    return np.ascontiguousarray(scaled)


def reid_0095(model: Path, threads: int) -> Teacher:
    """Load the teacher of 256 dimensions (OpenVINO IR, 128 x 128, BGR 0-255)."""
    import openvino  # noqa: PLC0415 - only training needs it

    core = openvino.Core()
    network = core.read_model(model)
    network.reshape([-1, 3, REID_SIZE, REID_SIZE])
    compiled: Any = core.compile_model(
        network, "CPU", {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    )

    def encode(crops: NDArray[np.uint8], points: NDArray[np.float32]) -> NDArray[np.float32]:
        batch = np.stack([_warp(crop, _reid_transform(of), REID_SIZE) for crop, of in _pairs(crops, points)])
        scaled = np.ascontiguousarray(batch[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32))
        return np.asarray(compiled([scaled])[0], np.float32).reshape(len(batch), -1)

    return encode


def teach(pool: Pool, teachers: dict[str, Teacher], work: Path) -> NDArray[np.float32]:
    """Encode every face with every teacher; what an interrupted run did is kept.

    Args:
        pool: The faces.
        teachers: By name.
        work: Where the vectors are kept, one file per teacher.

    Returns:
        Shape (n, sum of d): each teacher's vectors normalised, side by side, the whole of norm 1. A teacher's
        vector is the mean of what it says of the face and of its mirror image, which is nearer to the truth.
    """
    parts = []
    for name, teacher in teachers.items():
        both = _taught(pool, name, teacher, work) + _taught(
            pool, f"{name}-mirrored", _mirrored(teacher), work
        )
        parts.append(both / np.linalg.norm(both, axis=1, keepdims=True))
    return np.asarray(np.concatenate(parts, axis=1) / np.sqrt(len(parts)), np.float32)


def load_teachers(models: Path, threads: int) -> dict[str, Teacher]:
    """Load both teachers from their folder."""
    return {
        "reid-0095": reid_0095(models / REID_0095, threads),
        "mobilefacenet": mobilefacenet(models / MOBILEFACENET, threads),
    }


def project(vectors: NDArray[np.float32], dimension: int) -> NDArray[np.float32]:
    """Find the directions that keep most of the teachers' vectors.

    Args:
        vectors: Shape (n, d).
        dimension: How many directions, at most d.

    Returns:
        Shape (d, dimension), with orthonormal columns: the largest eigenvectors of the second moments.
    """
    _, basis = np.linalg.eigh(vectors.T.astype(np.float64) @ vectors)
    return np.ascontiguousarray(basis[:, ::-1][:, :dimension], dtype=np.float32)


def joint_targets(
    pool: Pool, teachers: dict[str, Teacher], work: Path, dimension: int
) -> NDArray[np.float32]:
    """Return what a student is to say of each face: shape (n, dimension), of norm 1; see `teach`."""
    vectors = teach(pool, teachers, work)
    targets = vectors @ project(vectors, dimension)
    kept = float(np.square(targets).sum(1).mean())
    print(f"{dimension} of {vectors.shape[1]} directions keep {kept:.4f} of the teachers' vectors")
    return np.asarray(targets / np.linalg.norm(targets, axis=1, keepdims=True), np.float32)


def _mirrored(teacher: Teacher) -> Teacher:
    def encode(crops: NDArray[np.uint8], points: NDArray[np.float32]) -> NDArray[np.float32]:
        turned = points.copy()
        turned[..., 0] = crops.shape[2] - 1 - turned[..., 0]
        return teacher(np.ascontiguousarray(crops[:, :, ::-1]), turned[:, [1, 0, 2, 4, 3]])

    return encode


def _taught(pool: Pool, name: str, teacher: Teacher, work: Path) -> NDArray[np.float32]:
    done_file, vectors_file = work / f"{name}.done", work / f"{name}.npy"
    done = int(done_file.read_text()) if done_file.is_file() else 0
    vectors: NDArray[np.float32] | None = np.load(vectors_file, mmap_mode="r+") if done else None
    with progress(f"teacher {name}", len(pool)) as shown:
        shown.advance(done, worked=False)
        for start in range(done, len(pool), CHUNK):
            chunk = slice(start, min(start + CHUNK, len(pool)))
            given = teacher(pool.faces[chunk], pool.points[chunk])
            if vectors is None:
                shape = (len(pool), given.shape[1])
                vectors = np.lib.format.open_memmap(vectors_file, mode="w+", dtype=np.float32, shape=shape)
            vectors[chunk] = given / np.linalg.norm(given, axis=1, keepdims=True)
            done_file.write_text(str(chunk.stop))
            shown.advance(chunk.stop - chunk.start)
    return np.asarray(np.load(vectors_file))


def _pairs(
    crops: NDArray[np.uint8], points: NDArray[np.float32]
) -> Iterator[tuple[Image, NDArray[np.float32]]]:
    return zip(crops, points, strict=True)


def _reid_transform(points: NDArray[np.float32]) -> NDArray[np.float64]:
    """Find the similarity closest to the template of reid-0095; see `template_transform`."""
    source, target = np.asarray(points, np.float64) @ [1, 1j], REID_TEMPLATE @ [1, 1j]
    centred = source - source.mean()
    factor = np.vdot(centred, target - target.mean()) / np.vdot(centred, centred).real
    shift = target.mean() - factor * source.mean()
    return np.array([[factor.real, -factor.imag, shift.real], [factor.imag, factor.real, shift.imag]])


def _warp(crop: Image, matrix: NDArray[np.float64], size: int) -> Image:
    return np.asarray(
        cv2.warpAffine(crop, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE),
        np.uint8,
    )
