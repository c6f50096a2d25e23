"""Writes a trained detector as ONNX, in the layout that insightface's SCRFD class reads."""

import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch

from scripts.train.detector_net import DetectorNet
from scripts.train.detector_outputs import ScrfdOutputs

OUTPUTS = tuple(f"{part}_{stride}" for part in ("score", "box", "points") for stride in (8, 16, 32))

LARGEST_GAP = 1e-4
"""Largest difference between torch and onnxruntime that is taken for rounding."""

OPSET = 17


def export_detector(net: DetectorNet, path: Path, *, sides: tuple[int, ...] = (320, 640)) -> float:
    """Write a net for squares (and other pictures) of any size that is a multiple of 32.

    Args:
        net: Trained.
        path: Of the ONNX file.
        sides: Sizes at which the file is compared with the net.

    Returns:
        The largest difference found, scores as they are and distances in strides.

    Raises:
        ValueError: It is larger than `LARGEST_GAP`.
    """
    model = ScrfdOutputs(net).eval()
    example = torch.zeros(1, 3, 320, 320)
    with warnings.catch_warnings():
        # The exporter that needs no further package is to go one day; it says so on every call.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            (example,),
            str(path),
            input_names=["picture"],
            output_names=list(OUTPUTS),
            dynamic_axes={"picture": {2: "height", 3: "width"}} | {name: {0: name} for name in OUTPUTS},
            opset_version=OPSET,
            dynamo=False,
        )
    onnx.checker.check_model(onnx.load(path), full_check=True)
    gap = max(_gap(model, path, side) for side in sides)
    if gap > LARGEST_GAP:
        raise ValueError(f"{path}: differs from torch by {gap:.1e}, more than {LARGEST_GAP:.0e}")
    return gap


def _gap(model: ScrfdOutputs, path: Path, side: int) -> float:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    random = np.random.default_rng(side)
    picture = random.uniform(-1, 1, (1, 3, side, side)).astype(np.float32)
    with torch.no_grad():
        expected = [output.numpy() for output in model(torch.from_numpy(picture))]
    found = session.run(None, {"picture": picture})
    return max(float(np.abs(a - b).max()) for a, b in zip(expected, found, strict=True))
