"""Writes a trained encoder as ONNX, checked against torch: python -m scripts.train.export_encoder --help."""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnx
import onnxruntime
import torch
import typer
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from index.encoder import TEMPLATE_SIZE
from scripts.train.encoder_net import SHAPES, EncoderNet

TOLERANCE = 1e-4
"""Largest difference of any number of a normalised vector between torch and ONNX."""

LEAST_WEIGHTS = 1024
"""Smaller tensors stay as they are: they save nothing and biases need their precision."""

OPSET = 17
"""Old enough for the onnxruntime that provinces have, new enough for what is used here."""


class Reduced(nn.Module):
    """A net for smaller faces, that takes faces of 112 pixels."""

    def __init__(self, net: EncoderNet) -> None:
        """Wrap a net."""
        super().__init__()
        self.net = net

    def forward(self, faces: torch.Tensor) -> torch.Tensor:
        """Encode (n, 3, 112, 112) faces as (n, d) vectors."""
        size = (self.net.side, self.net.side)
        small = nn.functional.interpolate(faces, size=size, mode="bilinear", align_corners=False)
        vectors: torch.Tensor = self.net(small)
        return vectors


def load_checkpoint(path: Path) -> nn.Module:
    """Return the net with the running mean of a checkpoint's weights; it takes faces of 112 pixels."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    net = EncoderNet(SHAPES[state["plan"]["shape"]], state["plan"]["dimension"], state["side"])
    net.load_state_dict(state["mean"])
    return (net if net.side == TEMPLATE_SIZE else Reduced(net)).eval()


class Normalised(nn.Module):
    """A net that scales its vectors to norm 1."""

    def __init__(self, net: nn.Module) -> None:
        """Wrap a net."""
        super().__init__()
        self.net = net

    def forward(self, faces: torch.Tensor) -> torch.Tensor:
        """Encode (n, 3, 112, 112) faces as (n, d) vectors."""
        return nn.functional.normalize(self.net(faces))


def write_onnx(net: nn.Module, path: Path) -> None:
    """Write a net with a free batch size."""
    torch.onnx.export(
        net,
        (torch.zeros(2, 3, 112, 112),),
        str(path),
        input_names=["faces"],
        output_names=["vectors"],
        dynamic_axes={"faces": {0: "n"}, "vectors": {0: "n"}},
        opset_version=OPSET,
        dynamo=False,
    )


def shrink(source: Path, target: Path) -> None:
    """Keep weights in 8 bits, one scale per output channel; they are widened again when a session loads.

    So the file is a quarter as large and runs as fast as before: a cast and a product of constants are worked
    out once, while `DequantizeLinear` is left in the graph and costs more than the net. Scales are the
    largest weight of a channel / 127.
    """
    model = onnx.load(str(source))
    graph = model.graph
    users = {name: node for node in graph.node for name in node.input}
    kept, made = [], []
    for tensor in graph.initializer:
        weights = numpy_helper.to_array(tensor)
        if tensor.data_type != TensorProto.FLOAT or weights.size < LEAST_WEIGHTS or weights.ndim < 2:
            kept.append(tensor)
            continue
        axis = _output_axis(users[tensor.name], weights)
        scale = np.abs(weights).max(axis=tuple(i for i in range(weights.ndim) if i != axis)) / 127
        scale = np.maximum(scale, 1e-12).astype(np.float32)
        shape = [-1 if i == axis else 1 for i in range(weights.ndim)]
        small = np.clip(np.round(weights / scale.reshape(shape)), -127, 127).astype(np.int8)
        stored, wide, factor = (f"{tensor.name}_{part}" for part in ("stored", "wide", "scale"))
        kept.append(numpy_helper.from_array(small, stored))
        kept.append(numpy_helper.from_array(scale.reshape(shape), factor))
        made.append(helper.make_node("Cast", [stored], [wide], to=TensorProto.FLOAT))
        made.append(helper.make_node("Mul", [wide, factor], [tensor.name]))
    del graph.initializer[:]
    graph.initializer.extend(kept)
    for at, node in enumerate(made):
        graph.node.insert(at, node)
    onnx.checker.check_model(model)
    onnx.save(model, str(target))


def largest_difference(net: nn.Module, path: Path, faces: NDArray[np.float32]) -> tuple[float, float]:
    """Compare ONNX with torch.

    Args:
        net: The net.
        path: What was written of it.
        faces: Shape (n, 3, 112, 112), as the net takes them.

    Returns:
        The largest difference of a number of a normalised vector, and the lowest cosine.
    """
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    theirs: NDArray[np.float32] = session.run(None, {session.get_inputs()[0].name: faces})[0]
    theirs = theirs / np.linalg.norm(theirs, axis=1, keepdims=True)
    with torch.no_grad():
        ours = Normalised(net)(torch.from_numpy(faces)).numpy()
    return float(np.abs(ours - theirs).max()), float((ours * theirs).sum(1).min())


def export(
    checkpoint: Annotated[Path, typer.Argument(help="encoder.pt of the training.")],
    target: Annotated[Path, typer.Argument(help="ONNX file to write; weights in 8 bits.")],
    faces: Annotated[Path, typer.Option(help="faces.npy of the training, to compare on.")],
) -> None:
    """Write the encoder of a checkpoint, and say how far it is from the net that was trained."""
    net = load_checkpoint(checkpoint)
    full = target.with_suffix(".full.onnx")
    write_onnx(net, full)
    shrink(full, target)
    sample = _sample(faces)
    for path, limit in ((full, TOLERANCE), (target, None)):
        difference, cosine = largest_difference(net, path, sample)
        print(
            f"{path.name}: {path.stat().st_size:,} bytes, {difference:.2e} off, cosine at least {cosine:.5f}"
        )
        if limit is not None and difference > limit:
            raise typer.BadParameter(f"{path} differs from torch by {difference:.2e}, more than {limit}")


def _sample(faces: Path) -> NDArray[np.float32]:
    crops = np.load(faces, mmap_mode="r")
    chosen = np.asarray(crops[:: max(1, len(crops) // 64)][:64, 12:124, 12:124], np.float32)
    return np.ascontiguousarray((chosen.transpose(0, 3, 1, 2) - 127.5) / 127.5)


def _output_axis(node: Any, weights: NDArray[np.float32]) -> int:
    """Return the axis of the output channels: the first of a convolution, the last of a plain product."""
    if node.op_type == "Gemm":
        transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
        return 0 if transposed else 1
    return weights.ndim - 1 if node.op_type == "MatMul" else 0


if __name__ == "__main__":
    typer.run(export)
