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
from torch import Tensor, nn
from torch.nn import functional

from scripts.progress import progress
from scripts.train.batches import Batch, Batches
from scripts.train.encoder_net import SHAPES, EncoderNet
from scripts.train.maps import MAP_CHANNELS, TeacherMaps, map_loss, teacher_maps
from scripts.train.muon import Muon
from scripts.train.pool import unpack
from scripts.train.teachers import MOBILEFACENET, joint_targets, load_teachers

LOG_EVERY = 50
SAVE_EVERY = 200
CHECK_EVERY = 500
CHECKED = 512
"""Faces never learned from whose mean cosine to the teachers' vectors goes into the log."""

WARM_UP = 100
"""Steps over which the rate of learning rises, so that the first batches do not throw the weights about."""

EMA_DECAY = 0.998
"""Of the running mean of the weights, which is what is exported: it averages some 500 steps."""

RELATION_WEIGHT = 10.0
"""Of the squared error of the scores between a batch's faces (0.01 early on) beside the cosine loss."""

ADAM_RATE = 2e-3
ADAM_DECAY = 0.05
"""Of the weights that Muon does not train: norms, the last layer, what reads the maps."""

MAPS_WEIGHT = 0.5
"""Of each of the two losses over the teacher's maps, beside the cosine loss; all begin at about 1."""

MAP_SIDES = (14, 7)
"""Of the teacher's maps that the student learns to see."""


@dataclass(frozen=True)
class Plan:
    """How long is trained, and at which sizes.

    Attributes:
        shape: Name of the net's size.
        dimension: Of the vectors.
        steps: Batches in all.
        batch: Faces in a batch.
        sides: Sides in pixels of the faces, one after the other: at 64 a step costs a third of one at 112. A
            net that ended below 112 gets a first layer that makes faces smaller when it is exported.
        shares: Of the steps spent on each side but the last.
        peak: Highest length of Muon's steps.
        seed: Of everything random.
    """

    shape: str
    dimension: int
    steps: int
    batch: int
    sides: tuple[int, ...]
    shares: tuple[float, ...]
    peak: float
    seed: int

    def side(self, step: int) -> int:
        """Return the side of the faces at a step."""
        until = np.cumsum(self.shares) * self.steps
        return self.sides[int(np.searchsorted(until, step, side="right"))]

    def rate(self, step: int) -> float:
        """Return the share of the highest rate of learning at a step: a warm-up, then half a cosine."""
        if step < WARM_UP:
            return (step + 1) / WARM_UP
        return 0.5 * (1 + float(np.cos(np.pi * min(1.0, step / self.steps)))) + 1e-3

    def goes_on(self, other: dict[str, Any]) -> bool:
        """Tell whether a training with another plan can be taken up with this one: its length may differ."""
        fixed = ("shape", "dimension", "batch", "seed")
        return all(asdict(self)[name] == other[name] for name in fixed)


class Training:
    """A net on its way; can be saved and taken up again at any step."""

    def __init__(self, plan: Plan, device: torch.device) -> None:
        """Begin with random weights, or with those of a file through `load`."""
        torch.manual_seed(plan.seed)
        self.plan, self.device, self.step = plan, device, 0
        widths = SHAPES[plan.shape].widths[1:]
        self.adaptors = nn.ModuleList(
            nn.Conv2d(width, MAP_CHANNELS[side], 1) for width, side in zip(widths, MAP_SIDES, strict=True)
        ).to(device)
        self._use(EncoderNet(SHAPES[plan.shape], plan.dimension, plan.side(0)))
        self.mean = self._copy()

    def _use(self, net: EncoderNet) -> None:
        self.net = net.to(self.device, memory_format=torch.channels_last)
        body = [weight for weight in self.net.parameters() if weight.ndim == 4]
        others = [weight for weight in self.net.parameters() if weight.ndim != 4]
        adaptors = list(self.adaptors.parameters())
        self.optimisers = [
            Muon(body, lr=self.plan.peak),
            torch.optim.AdamW([*others, *adaptors], lr=ADAM_RATE, betas=(0.9, 0.98), weight_decay=ADAM_DECAY),
        ]

    def _copy(self) -> dict[str, Tensor]:
        return {name: value.detach().clone() for name, value in self.net.state_dict().items()}

    def learn(self, batch: Batch, maps: TeacherMaps | None = None) -> tuple[float, float, float]:
        """Take one step and return the parts of the loss: cosine, relation, maps (0 without any)."""
        for optimiser, highest in zip(self.optimisers, (self.plan.peak, ADAM_RATE), strict=True):
            for group in optimiser.param_groups:
                group["lr"] = highest * self.plan.rate(self.step)
        faces = torch.from_numpy(batch.faces).to(self.device).permute(0, 3, 1, 2)
        targets = torch.from_numpy(batch.targets).to(self.device)
        scaled = ((faces.float() - 127.5) / 127.5).contiguous(memory_format=torch.channels_last)
        self.net.train()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            raw, *seen = self.net.looked(scaled)
        vectors = functional.normalize(raw.float())
        cosine = 1 - (vectors * targets).sum(1).mean()
        relation = (vectors @ vectors.T - targets @ targets.T).square().mean()
        imitation = torch.zeros((), device=self.device)
        plain = ~batch.mirrored
        if maps is not None and plain.any():
            for side, adaptor, ours in zip(MAP_SIDES, self.adaptors, seen, strict=True):
                theirs = maps.of(side, batch.rows[plain], self.device)
                imitation = imitation + map_loss(adaptor(ours[torch.from_numpy(plain)].float()), theirs)
        for optimiser in self.optimisers:
            optimiser.zero_grad()
        (cosine + RELATION_WEIGHT * relation + MAPS_WEIGHT * imitation).backward()
        for optimiser in self.optimisers:
            optimiser.step()
        self._average()
        self.step += 1
        if self.plan.side(self.step) != self.net.side and self.step < self.plan.steps:
            self._grow(self.plan.side(self.step))
        return float(cosine.detach()), float(relation.detach()), float(imitation.detach())

    def _average(self) -> None:
        decay = min(EMA_DECAY, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, value in self.net.state_dict().items():
                if value.dtype.is_floating_point:
                    self.mean[name].lerp_(value, 1 - decay)
                else:
                    self.mean[name].copy_(value)

    def _grow(self, side: int) -> None:
        """Go on with larger faces; the momentum begins anew, for the head has another shape."""
        grown = self.averaged().at_side(side)
        self._use(self.net.at_side(side))
        self.mean = {name: value.to(self.device) for name, value in grown.state_dict().items()}

    def averaged(self) -> EncoderNet:
        """Return the net with the mean of the weights."""
        net = EncoderNet(SHAPES[self.plan.shape], self.plan.dimension, self.net.side)
        net.load_state_dict({name: value.cpu() for name, value in self.mean.items()})
        return net.eval()

    def agreement(self, faces: NDArray[np.uint8], targets: NDArray[np.float32]) -> float:
        """Return the mean cosine between the vectors of the averaged net and the teachers'.

        Args:
            faces: Shape (n, side, side, 3), of the net's side.
            targets: Shape (n, d), of norm 1.
        """
        net = self.averaged().to(memory_format=torch.channels_last)
        scaled = (torch.from_numpy(faces).permute(0, 3, 1, 2).float() - 127.5) / 127.5
        with torch.no_grad():
            vectors = torch.cat([functional.normalize(net(part)) for part in scaled.split(64)])
        return float((vectors.numpy() * targets).sum(1).mean())

    def save(self, path: Path) -> None:
        """Write everything that going on needs, in one rename."""
        state = {
            "plan": asdict(self.plan),
            "step": self.step,
            "side": self.net.side,
            "net": self.net.state_dict(),
            "adaptors": self.adaptors.state_dict(),
            "mean": self.mean,
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
        }
        torch.save(state, path.with_suffix(".part"))
        path.with_suffix(".part").replace(path)

    def begin_with(self, state: dict[str, Any]) -> None:
        """Take the weights that `train_stages` gave a net of the same shape and dimension."""
        net = EncoderNet(SHAPES[self.plan.shape], self.plan.dimension, state["side"])
        net.load_state_dict(state["net"])
        self.adaptors.load_state_dict(state["adaptors"])
        self._use(net.at_side(self.plan.side(self.step)))
        self.mean = self._copy()

    def load(self, state: dict[str, Any]) -> None:
        """Go on where a file left off."""
        self.step = state["step"]
        self.adaptors.load_state_dict(state["adaptors"])
        self._use(EncoderNet(SHAPES[self.plan.shape], self.plan.dimension, state["side"]))
        self.net.load_state_dict(state["net"])
        for optimiser, kept in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(kept)
        self.mean = {name: value.to(self.device) for name, value in state["mean"].items()}


def train(
    pool: Annotated[Path, typer.Argument(help="Folder of aligned crops: index.csv and zip files.")],
    *,
    models: Annotated[Path, typer.Option(help="Folder of the teachers.")],
    work: Annotated[Path, typer.Option(help="Where arrays, checkpoints and the log are kept.")],
    shape: Annotated[str, typer.Option(help=f"Size of the net: {', '.join(SHAPES)}.")] = "middle",
    dimension: Annotated[int, typer.Option(help="Length of the vectors.")] = 256,
    steps: Annotated[int, typer.Option(help="Batches in all; may be changed when it goes on.")] = 1900,
    batch: Annotated[int, typer.Option(help="Faces in a batch.")] = 64,
    sides: Annotated[str, typer.Option(help="side:share of the steps, …, before the last side.")] = "",
    last_side: Annotated[int, typer.Option(help="For the other steps, in pixels: 112 or less.")] = 112,
    peak: Annotated[float, typer.Option(help="Highest length of a step (Muon).")] = 0.01,
    begin: Annotated[Path | None, typer.Option(help="Of train_stages: WORK/begin.pt.")] = None,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 1,
    threads: Annotated[int, typer.Option(help="Processor threads.")] = 2,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Distil the two teachers into one net; interrupted, it goes on from its last checkpoint."""
    torch.set_num_threads(threads)
    first = [part.split(":") for part in sides.split(",") if part]
    plan = Plan(
        shape=shape,
        dimension=dimension,
        steps=steps,
        batch=batch,
        sides=(*(int(side) for side, _ in first), last_side),
        shares=tuple(float(share) for _, share in first),
        peak=peak,
        seed=seed,
    )
    faces = unpack(pool, work)
    targets = joint_targets(faces, load_teachers(models, threads), work, dimension)
    maps = teacher_maps(faces, models / MOBILEFACENET, work, threads)
    batches = Batches(faces, targets, size=batch, seed=seed)
    training = Training(plan, torch.device(_device(device)))
    if begin is not None:
        training.begin_with(torch.load(begin, map_location="cpu", weights_only=True))
    run(batches, maps, training, work)


def run(batches: Batches, maps: TeacherMaps | None, training: Training, work: Path) -> None:
    """Train by a plan, from the last checkpoint if there is one."""
    plan, checkpoint = training.plan, work / "encoder.pt"
    if checkpoint.is_file():
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        if not plan.goes_on(state["plan"]):
            raise typer.BadParameter(f"{checkpoint} belongs to another plan: {state['plan']}; move it away")
        training.load(state)
    log = work / "encoder.jsonl"
    started, losses = time.monotonic(), []
    with progress("encoder", plan.steps) as shown:
        shown.advance(training.step, worked=False)
        while training.step < plan.steps:
            side = training.net.side
            for drawn in batches.since(training.step, side):
                losses.append(training.learn(drawn, maps))
                shown.advance(1)
                if training.step % LOG_EVERY == 0:
                    checked = training.step % CHECK_EVERY == 0
                    agreement = (
                        training.agreement(*batches.unseen(CHECKED, training.net.side)) if checked else None
                    )
                    _log(log, training, losses, time.monotonic() - started, agreement)
                    losses.clear()
                if training.step % SAVE_EVERY == 0 or training.step == plan.steps:
                    training.save(checkpoint)
                if training.net.side != side or training.step == plan.steps:
                    break


def _log(
    log: Path,
    training: Training,
    losses: list[tuple[float, float, float]],
    spent_s: float,
    agreement: float | None,
) -> None:
    cosine, relation, imitation = np.mean(losses, axis=0)
    entry = {
        "step": training.step,
        "side": training.net.side,
        "rate": round(training.plan.rate(training.step), 4),
        "cosine": round(float(cosine), 4),
        "relation": round(float(relation), 5),
        "maps": round(float(imitation), 4),
        "spent_s": round(spent_s, 1),
    }
    if agreement is not None:
        entry["unseen"] = round(agreement, 4)
    with log.open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")


def _device(wanted: str) -> str:
    if wanted != "auto":
        return wanted
    return "cuda" if torch.cuda.is_available() else "cpu"


if __name__ == "__main__":
    typer.run(train)
