"""Trains the encoder of a pack by distillation: python -m scripts.train.train_encoder --help."""

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from scripts.progress import progress
from scripts.train.batches import Batch, Batches
from scripts.train.encoder_net import SHAPES, EncoderNet
from scripts.train.pool import Pool, unpack
from scripts.train.teachers import mobilefacenet, reid_0095, teach

LOG_EVERY = 50
SAVE_EVERY = 200
WARM_UP = 200
"""Steps over which the rate of learning rises, so that the first batches do not throw the weights about."""

EMA_DECAY = 0.998
"""Of the running mean of the weights, which is what is exported: it averages some 500 steps."""

RELATION_WEIGHT = 10.0
"""Of the squared error of the scores between a batch's faces (0.01 early on) beside the cosine loss."""


@dataclass(frozen=True)
class Plan:
    """How long is trained, and at which sizes.

    Attributes:
        shape: Name of the net's size.
        dimension: Of the vectors.
        steps: Batches in all.
        batch: Faces in a batch.
        small_side: Side in pixels of the faces that are learned from first.
        small_share: Share of the steps spent on those: at 64 pixels a step costs a third.
        peak: Highest rate of learning (AdamW).
        decay: Weight decay.
        seed: Of everything random.
    """

    shape: str
    dimension: int
    steps: int
    batch: int
    small_side: int
    small_share: float
    peak: float
    decay: float
    seed: int

    @property
    def small_steps(self) -> int:
        """Steps at the small side."""
        return int(self.steps * self.small_share)

    def rate(self, step: int) -> float:
        """Return the rate of learning at a step: a warm-up, then half a cosine."""
        if step < WARM_UP:
            return self.peak * (step + 1) / WARM_UP
        return self.peak * 0.5 * (1 + float(np.cos(np.pi * step / self.steps))) + 1e-6


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


class Training:
    """A net on its way; can be saved and taken up again at any step."""

    def __init__(self, plan: Plan, device: torch.device) -> None:
        """Begin with random weights, or with those of a file through `load`."""
        torch.manual_seed(plan.seed)
        self.plan, self.device, self.step = plan, device, 0
        self._use(EncoderNet(SHAPES[plan.shape], plan.dimension, self._side()))
        self.mean = self._copy()

    def _side(self) -> int:
        return self.plan.small_side if self.step < self.plan.small_steps else 112

    def _use(self, net: EncoderNet) -> None:
        self.net = net.to(self.device, memory_format=torch.channels_last)
        decayed = [weight for weight in self.net.parameters() if weight.ndim > 1]
        others = [weight for weight in self.net.parameters() if weight.ndim <= 1]
        groups = [
            {"params": decayed, "weight_decay": self.plan.decay},
            {"params": others, "weight_decay": 0.0},
        ]
        self.optimiser = torch.optim.AdamW(groups, lr=self.plan.peak, betas=(0.9, 0.98))

    def _copy(self) -> dict[str, Tensor]:
        return {name: value.detach().clone() for name, value in self.net.state_dict().items()}

    def learn(self, batch: Batch) -> tuple[float, float]:
        """Take one step and return the two parts of the loss."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.plan.rate(self.step)
        faces = torch.from_numpy(batch.faces).to(self.device).permute(0, 3, 1, 2)
        targets = torch.from_numpy(batch.targets).to(self.device)
        scaled = ((faces.float() - 127.5) / 127.5).contiguous(memory_format=torch.channels_last)
        self.net.train()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            raw = self.net(scaled)
        vectors = functional.normalize(raw.float())
        cosine = 1 - (vectors * targets).sum(1).mean()
        relation = (vectors @ vectors.T - targets @ targets.T).square().mean()
        self.optimiser.zero_grad()
        (cosine + RELATION_WEIGHT * relation).backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 5.0)
        self.optimiser.step()
        self._average()
        self.step += 1
        if self.step == self.plan.small_steps:
            self._grow()
        return float(cosine.detach()), float(relation.detach())

    def _average(self) -> None:
        decay = min(EMA_DECAY, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, value in self.net.state_dict().items():
                if value.dtype.is_floating_point:
                    self.mean[name].lerp_(value, 1 - decay)
                else:
                    self.mean[name].copy_(value)

    def _grow(self) -> None:
        """Go on with faces of the full side."""
        grown = self.averaged().at_side(112)
        self._use(self.net.at_side(112))
        self.mean = {name: value.to(self.device) for name, value in grown.state_dict().items()}

    def averaged(self) -> EncoderNet:
        """Return the net with the mean of the weights."""
        net = EncoderNet(SHAPES[self.plan.shape], self.plan.dimension, self.net.side)
        net.load_state_dict({name: value.cpu() for name, value in self.mean.items()})
        return net.eval()

    def save(self, path: Path) -> None:
        """Write everything that going on needs, in one rename."""
        state = {
            "plan": asdict(self.plan),
            "step": self.step,
            "side": self.net.side,
            "net": self.net.state_dict(),
            "mean": self.mean,
            "optimiser": self.optimiser.state_dict(),
        }
        torch.save(state, path.with_suffix(".part"))
        path.with_suffix(".part").replace(path)

    def load(self, state: dict[str, Any]) -> None:
        """Go on where a file left off."""
        self.step = state["step"]
        self._use(EncoderNet(SHAPES[self.plan.shape], self.plan.dimension, state["side"]))
        self.net.load_state_dict(state["net"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.mean = {name: value.to(self.device) for name, value in state["mean"].items()}


def train(
    pool: Annotated[Path, typer.Argument(help="Folder of aligned crops: index.csv and zip files.")],
    *,
    models: Annotated[Path, typer.Option(help="Folder of the teachers.")],
    work: Annotated[Path, typer.Option(help="Where arrays, checkpoints and the log are kept.")],
    shape: Annotated[str, typer.Option(help="Size of the net: small or base.")] = "small",
    dimension: Annotated[int, typer.Option(help="Length of the vectors.")] = 256,
    steps: Annotated[int, typer.Option(help="Batches in all.")] = 16000,
    batch: Annotated[int, typer.Option(help="Faces in a batch.")] = 64,
    small_share: Annotated[float, typer.Option(help="Share of the steps at 64 pixels.")] = 0.6,
    peak: Annotated[float, typer.Option(help="Highest rate of learning.")] = 2e-3,
    decay: Annotated[float, typer.Option(help="Weight decay.")] = 0.05,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 1,
    threads: Annotated[int, typer.Option(help="Processor threads.")] = 2,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Distil the two teachers into one net; interrupted, it goes on from its last checkpoint."""
    torch.set_num_threads(threads)
    plan = Plan(shape, dimension, steps, batch, 64, small_share, peak, decay, seed)
    faces = unpack(pool, work)
    vectors = _vectors(faces, models, work, threads)
    basis = project(vectors, dimension)
    targets = vectors @ basis
    kept = float(np.square(targets).sum(1).mean())
    print(f"{dimension} of {vectors.shape[1]} directions keep {kept:.4f} of the teachers' vectors")
    targets /= np.linalg.norm(targets, axis=1, keepdims=True)
    run(faces, targets, plan, work, torch.device(_device(device)))


def run(faces: Pool, targets: NDArray[np.float32], plan: Plan, work: Path, device: torch.device) -> Training:
    """Train by a plan, from the last checkpoint of the same plan if there is one."""
    training = Training(plan, device)
    checkpoint = work / "encoder.pt"
    if checkpoint.is_file():
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        if state["plan"] != asdict(plan):
            raise typer.BadParameter(f"{checkpoint} belongs to another plan: {state['plan']}; move it away")
        training.load(state)
    batches = Batches(faces, targets, size=plan.batch, seed=plan.seed)
    log = work / "encoder.jsonl"
    started, losses = time.monotonic(), []
    with progress("encoder", plan.steps) as shown:
        shown.advance(training.step, worked=False)
        while training.step < plan.steps:
            side = training.net.side
            for drawn in batches.since(training.step, side):
                losses.append(training.learn(drawn))
                shown.advance(1)
                if training.step % LOG_EVERY == 0:
                    _log(log, training, losses, time.monotonic() - started)
                    losses.clear()
                if training.step % SAVE_EVERY == 0 or training.step == plan.steps:
                    training.save(checkpoint)
                if training.net.side != side or training.step == plan.steps:
                    break
    return training


def _log(log: Path, training: Training, losses: list[tuple[float, float]], spent_s: float) -> None:
    cosine, relation = np.mean(losses, axis=0)
    entry = {
        "step": training.step,
        "side": training.net.side,
        "rate": round(training.plan.rate(training.step), 6),
        "cosine": round(float(cosine), 4),
        "relation": round(float(relation), 5),
        "spent_s": round(spent_s, 1),
    }
    with log.open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")


def _vectors(faces: Pool, models: Path, work: Path, threads: int) -> NDArray[np.float32]:
    reid = models / "teacher-reid-0095" / "face-reidentification-retail-0095.xml"
    mobile = models / "teacher-mobilefacenet" / "MobileFaceNet.onnx"
    teachers = {"reid-0095": reid_0095(reid, threads), "mobilefacenet": mobilefacenet(mobile, threads)}
    return teach(faces, teachers, work)


def _device(wanted: str) -> str:
    if wanted != "auto":
        return wanted
    return "cuda" if torch.cuda.is_available() else "cpu"


if __name__ == "__main__":
    typer.run(train)
