"""What a teacher sees on the way to its vector: three maps of each face, which tell much more."""

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

MAP_NODES = {
    28: "/features/features.4/Add_output_0",
    14: "/features/features.11/Add_output_0",
    7: "/features/features.14/Add_output_0",
}
"""By side: what the MobileFaceNet teacher's last block at a quarter, an eighth and a sixteenth of the
input gives. Source: the graph."""

MAP_CHANNELS = {28: 64, 14: 128, 7: 128}
"""By side. Source: the graph."""

LEVELS = 24.0
"""Steps of an 8-bit value per standard deviation: five deviations fit, and the step's error is 1 % of one."""

CHUNK = 32


@dataclass(frozen=True)
class TeacherMaps:
    """The maps of every face of a pool, each channel of mean 0 and deviation 1, in 8 bits.

    Attributes:
        maps: By side (28, 14, 7): shape (n, side, side, channels), int8, mapped from disk; a deviation is
            `LEVELS`. They are of the faces as they are: the maps of a mirrored face are others, and not these
            mirrored.
    """

    maps: dict[int, NDArray[np.int8]]

    def of(self, side: int, rows: NDArray[np.int64], device: torch.device) -> Tensor:
        """Return the maps of some faces: shape (b, channels, side, side), float32, channels last."""
        values = torch.from_numpy(self.maps[side][rows]).to(device).permute(0, 3, 1, 2)
        return (values.float() / LEVELS).contiguous(memory_format=torch.channels_last)


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
        work: Where the maps are kept: 82 kB a face.
        threads: Of the processor.
    """
    done_file, scales_file = work / "maps.done", work / "maps-scales.npz"
    done = int(done_file.read_text()) if done_file.is_file() else 0
    files = {side: work / f"maps-{side}.npy" for side in MAP_NODES}
    if not done:
        for side, file in files.items():
            shape = (len(pool), side, side, MAP_CHANNELS[side])
            np.lib.format.open_memmap(file, mode="w+", dtype=np.int8, shape=shape)
    written = {side: np.load(file, mmap_mode="r+") for side, file in files.items()}
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
                    for side, values in seen.items():
                        mean, deviation = scales[f"{side}mean"], scales[f"{side}std"]
                        written[side][chunk] = _in_8_bits(values, mean, deviation)
                done_file.write_text(str(chunk.stop))
                shown.advance(chunk.stop - chunk.start)
    return TeacherMaps({side: np.load(file, mmap_mode="r") for side, file in files.items()})


def _session(model: Path, threads: int) -> onnxruntime.InferenceSession:
    graph = onnx.load(str(model))
    for node in MAP_NODES.values():
        graph.graph.output.append(onnx.helper.make_tensor_value_info(node, onnx.TensorProto.FLOAT, None))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(
        graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def _seen(session: onnxruntime.InferenceSession, pool: Pool, chunk: slice) -> dict[int, NDArray[np.float32]]:
    """Return the maps by side, channels last."""
    given = mobilefacenet_input(pool.faces[chunk], pool.points[chunk])
    maps = session.run(list(MAP_NODES.values()), {session.get_inputs()[0].name: given})
    return {
        side: np.asarray(values).transpose(0, 2, 3, 1) for side, values in zip(MAP_NODES, maps, strict=True)
    }


def _write_scales(file: Path, seen: dict[int, NDArray[np.float32]]) -> None:
    scales = {}
    for side, values in seen.items():
        scales[f"{side}mean"], scales[f"{side}std"] = values.mean((0, 1, 2)), values.std((0, 1, 2))
    np.savez(file, **scales)


def _in_8_bits(
    values: NDArray[np.float32], mean: NDArray[np.float32], deviation: NDArray[np.float32]
) -> NDArray[np.int8]:
    return np.clip(np.rint((values - mean) / deviation * LEVELS), -127, 127).astype(np.int8)
