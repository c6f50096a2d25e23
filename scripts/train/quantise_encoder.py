"""Writes an encoder that calculates in 8 bits: python -m scripts.train.quantise_encoder --help."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

import numpy as np
import onnxruntime
import typer
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.calibrate import CalibrationMethod
from onnxruntime.quantization.shape_inference import quant_pre_process

from scripts.train.augment import augmented, plain
from scripts.train.batches import held_out
from scripts.train.export_encoder import shrink
from scripts.train.pool import Pool, unpack

CALIBRATED_ON = 384
"""Faces whose largest values give the scales of the activations."""

PASS = 16


class Reader(CalibrationDataReader):  # type: ignore[misc]  # the package has no types
    """Gives the calibration faces in batches."""

    def __init__(self, name: str, faces: NDArray[np.float32]) -> None:
        """Prepare.

        Args:
            name: Of the net's input.
            faces: Shape (n, 3, 112, 112), as the net takes them.
        """
        self._parts: Iterator[Mapping[str, NDArray[np.float32]]] = iter(
            [{name: faces[at : at + PASS]} for at in range(0, len(faces), PASS)]
        )

    def get_next(self) -> Mapping[str, NDArray[np.float32]] | None:
        """Return the next batch, or None."""
        return next(self._parts, None)


def quantise(source: Path, target: Path, faces: NDArray[np.float32]) -> None:
    """Write a net whose convolutions work with 8-bit weights and activations.

    Weights use 7 bits, with a scale per output channel: processors without VNNI add two products in 16 bits,
    which 8 bits would overflow. The last, fully connected layer works in 32 bits, for its error would go
    straight into the vector; only its weights are kept in 8.

    Args:
        source: The ONNX file in 32 bits.
        target: To write.
        faces: Shape (n, 3, 112, 112); the range of every activation is found on them.
    """
    prepared = target.with_suffix(".prepared.onnx")
    quant_pre_process(str(source), str(prepared))
    name = onnxruntime.InferenceSession(str(source), providers=["CPUExecutionProvider"]).get_inputs()[0].name
    quantize_static(
        str(prepared),
        str(target),
        Reader(name, faces),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=["Conv", "Add", "Relu"],
        per_channel=True,
        reduce_range=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod.Percentile,
        extra_options={"CalibPercentile": 99.999},
    )
    prepared.unlink()
    shrink(target, target)


def agreement(one: Path, other: Path, faces: NDArray[np.float32]) -> tuple[float, float]:
    """Return the mean and the lowest cosine between what two nets say of faces (n, 3, 112, 112)."""
    vectors = []
    for path in (one, other):
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        parts = [session.run(None, {name: faces[at : at + PASS]})[0] for at in range(0, len(faces), PASS)]
        vectors.append(np.concatenate(parts))
    ours, theirs = (vector / np.linalg.norm(vector, axis=1, keepdims=True) for vector in vectors)
    cosines = (ours * theirs).sum(1)
    return float(cosines.mean()), float(cosines.min())


def main(
    source: Annotated[Path, typer.Argument(help="encoder.full.onnx of the export.")],
    target: Annotated[Path, typer.Argument(help="ONNX file to write.")],
    *,
    pool: Annotated[Path, typer.Option(help="Folder of the crops.")],
    work: Annotated[Path, typer.Option(help="Folder of the training.")],
) -> None:
    """Write the encoder in 8 bits, and say how far its vectors are from the original's."""
    faces = unpack(pool, work)
    quantise(source, target, calibration_faces(faces))
    rows = np.flatnonzero(held_out(faces))[::8]
    unseen = scaled([plain(faces.faces[row], 112) for row in rows])
    mean, lowest = agreement(source, target, unseen)
    print(f"{target.name}: {target.stat().st_size:,} bytes; cosine to the original on {len(rows)} unseen")
    print(f"faces: mean {mean:.5f}, lowest {lowest:.5f}")


def calibration_faces(faces: Pool) -> NDArray[np.float32]:
    """Return faces of all sources as a registry might hold them, shape (CALIBRATED_ON, 3, 112, 112)."""
    chance = np.random.default_rng(0)
    rows = chance.permutation(np.flatnonzero(~held_out(faces)))[:CALIBRATED_ON]
    return scaled([augmented(faces.faces[row], 112, chance, mirrored=False) for row in np.sort(rows)])


def scaled(faces: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """Return faces (112, 112, 3) of 8 bits as the net takes them, (n, 3, 112, 112)."""
    stacked = np.stack(faces).astype(np.float32)
    return np.ascontiguousarray((stacked.transpose(0, 3, 1, 2) - 127.5) / 127.5)


if __name__ == "__main__":
    typer.run(main)
