"""What a teacher sees on the way to its vector: two maps of each face, which tell more than the vector."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from scripts.progress import progress
from scripts.train.pool import Pool
from scripts.train.teachers import mobilefacenet_input

MAP_CHANNELS = 128
"""Of both maps of the MobileFaceNet teacher."""

MAP_NODES = {14: "/features/features.11/Add_output_0", 7: "/features/features.14/Add_output_0"}
"""By side: what the last block at an eighth and a sixteenth of the input gives. Source: the graph."""

LEVELS = 24.0
"""Steps of an 8-bit value per standard deviation: five deviations fit, and the step's error is 1 % of one."""

CHUNK = 32


@dataclass(frozen=True)
class TeacherMaps:
    """The maps of every face of a pool, each channel of mean 0 and deviation 1, in 8 bits.

    Attributes:
        middle: Shape (n, 14, 14, 128), int8, mapped from disk; a deviation is `LEVELS`.
        last: Shape (n, 7, 7, 128), likewise.
    """

    middle: NDArray[np.int8]
    last: NDArray[np.int8]

    def of(
        self, rows: NDArray[np.int64], mirrored: NDArray[np.bool_], device: torch.device
    ) -> tuple[Tensor, Tensor]:
        """Return both maps of some faces, shapes (b, 128, 14, 14) and (b, 128, 7, 7), float32.

        The maps of a mirrored face are the mirrored maps: the teacher was trained on both.
        """
        return _of(self.middle, rows, mirrored, device), _of(self.last, rows, mirrored, device)


def map_loss(ours: Tensor, theirs: Tensor) -> Tensor:
    """Return the share of the teacher's variance that the student does not give.

    Args:
        ours: Shape (b, c, h, w).
        theirs: Shape (b, c, H, W); averaged to h x w if it is larger.

    Returns:
        A number; 0 is perfect, 1 is as good as the mean.
    """
    if theirs.shape[2:] != ours.shape[2:]:
        theirs = functional.adaptive_avg_pool2d(theirs, ours.shape[2:])
    return (ours - theirs).square().mean() / theirs.square().mean()


def teacher_maps(pool: Pool, model: Path, work: Path, threads: int) -> TeacherMaps:
    """Compute the maps of every face once; what an interrupted run did is kept.

    Args:
        pool: The faces.
        model: The MobileFaceNet teacher.
        work: Where the maps are kept: 31 kB a face.
        threads: Of the processor.
    """
    done_file, scales_file = work / "maps.done", work / "maps-scales.npz"
    done = int(done_file.read_text()) if done_file.is_file() else 0
    files = {side: work / f"maps-{side}.npy" for side in MAP_NODES}
    if not done:
        for side, file in files.items():
            shape = (len(pool), side, side, MAP_CHANNELS)
            np.lib.format.open_memmap(file, mode="w+", dtype=np.int8, shape=shape)
    written = [np.load(file, mmap_mode="r+") for file in files.values()]
    if done < len(pool):
        session = _session(model, threads)
        with progress("teacher's maps", len(pool)) as shown:
            shown.advance(done, worked=False)
            for start in range(done, len(pool), CHUNK):
                chunk = slice(start, min(start + CHUNK, len(pool)))
                seen = _seen(session, pool, chunk)
                if not scales_file.is_file():
                    _write_scales(scales_file, seen)
                with np.load(scales_file) as scales:
                    for array, side, values in zip(written, MAP_NODES, seen, strict=True):
                        array[chunk] = _in_8_bits(values, scales[f"{side}mean"], scales[f"{side}std"])
                done_file.write_text(str(chunk.stop))
                shown.advance(chunk.stop - chunk.start)
    return TeacherMaps(*(np.load(file, mmap_mode="r") for file in files.values()))


def _session(model: Path, threads: int) -> onnxruntime.InferenceSession:
    graph = onnx.load(str(model))
    for node in MAP_NODES.values():
        graph.graph.output.append(onnx.helper.make_tensor_value_info(node, onnx.TensorProto.FLOAT, None))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(
        graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def _seen(session: onnxruntime.InferenceSession, pool: Pool, chunk: slice) -> list[NDArray[np.float32]]:
    """Return both maps, channels last."""
    given = mobilefacenet_input(pool.faces[chunk], pool.points[chunk])
    maps = session.run(list(MAP_NODES.values()), {session.get_inputs()[0].name: given})
    return [np.asarray(values).transpose(0, 2, 3, 1) for values in maps]


def _write_scales(file: Path, seen: list[NDArray[np.float32]]) -> None:
    scales = {}
    for side, values in zip(MAP_NODES, seen, strict=True):
        scales[f"{side}mean"], scales[f"{side}std"] = values.mean((0, 1, 2)), values.std((0, 1, 2))
    np.savez(file, **scales)


def _in_8_bits(
    values: NDArray[np.float32], mean: NDArray[np.float32], deviation: NDArray[np.float32]
) -> NDArray[np.int8]:
    return np.clip(np.rint((values - mean) / deviation * LEVELS), -127, 127).astype(np.int8)


def _of(
    maps: NDArray[np.int8], rows: NDArray[np.int64], mirrored: NDArray[np.bool_], device: torch.device
) -> Tensor:
    chosen = np.where(mirrored[:, None, None, None], maps[rows][:, :, ::-1], maps[rows])
    return torch.from_numpy(chosen).to(device).permute(0, 3, 1, 2).float() / LEVELS
