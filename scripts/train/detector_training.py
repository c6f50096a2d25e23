"""A detector on its way: steps, the running mean of its weights, checkpoints and checks."""

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scripts.train.detector_batches import Batch
from scripts.train.detector_loss import Losses, Wanted, losses, overlap_and_distance
from scripts.train.detector_net import SHAPES, Answers, DetectorNet, decoded, widened
from scripts.train.detector_targets import IGNORED
from scripts.train.muon import Muon

WARM_UP = 150
"""Most steps over which the rate of learning rises: the first batches must not throw the weights about."""

EMA_DECAY = 0.998
"""Of the running mean of the weights, which is what is exported: it averages some 500 steps."""

MUON_STEP = 5.0
"""Length of Muon's steps against AdamW's rate: weights of 600 inputs then move as far as AdamW moves them.
Source: 0.2 times the root of the inputs, arXiv:2502.16982, 2.2."""

SURE = 0.6
"""Score from which on the checks count an answer as a face; the threshold of `pack.toml`'s default."""


@dataclass(frozen=True)
class Plan:
    """What is trained, and for how long.

    Attributes:
        shape: Name of the net's size, see `SHAPES`.
        steps: Batches in all.
        batch: Squares in a batch.
        peak: Highest rate of learning (AdamW's; Muon's is `MUON_STEP` times as high).
        decay: Weight decay.
        seed: Of everything random.
    """

    shape: str
    steps: int
    batch: int
    peak: float
    decay: float
    seed: int

    def rate(self, step: int) -> float:
        """Return the rate of learning at a step: a warm-up, then half a cosine."""
        warm_up = min(WARM_UP, self.steps // 10)
        if step < warm_up:
            return self.peak * (step + 1) / warm_up
        return self.peak * (0.5 * (1 + math.cos(math.pi * step / self.steps)) + 0.005)


@dataclass(frozen=True)
class Check:
    """How the mean of the weights does on squares that are not trained on.

    Attributes:
        found: Share of the faces that an answer of `SURE` or more overlaps by half.
        point_error: Median distance of the points from the labels, as a share of the eyes' distance.
        false: Share of the squares without a face in which something is seen all the same.
    """

    found: float
    point_error: float
    false: float


class Training:
    """A net on its way; can be saved and taken up again at any step."""

    def __init__(self, plan: Plan, device: torch.device) -> None:
        """Begin with random weights; `load` goes on with those of a file."""
        torch.manual_seed(plan.seed)
        self.plan, self.device, self.step = plan, device, 0
        self.net = DetectorNet(SHAPES[plan.shape]).to(device, memory_format=torch.channels_last)
        self.optimisers = _optimisers(self.net, plan)
        self.mean = {name: value.detach().clone() for name, value in self.net.state_dict().items()}

    def learn(self, batch: Batch) -> Losses:
        """Take one step.

        Returns:
            The losses before it, detached.
        """
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                length = MUON_STEP if isinstance(optimiser, Muon) else 1.0
                group["lr"] = self.plan.rate(self.step) * length
        self.net.train()
        labels = (batch.assigned, batch.boxes, batch.points)
        wanted = Wanted(*(torch.from_numpy(label).to(self.device) for label in labels))
        found = losses(self._answers(self.net, batch), wanted)
        self.net.zero_grad()
        found.total().backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 10.0)
        for optimiser in self.optimisers:
            optimiser.step()
        self.step += 1
        self._average()
        return Losses(found.score.detach(), found.box.detach(), found.points.detach())

    def check(self, batches: list[Batch]) -> Check:
        """Measure the mean of the weights on batches that are not trained on."""
        net = self.averaged().to(self.device, memory_format=torch.channels_last)
        found, errors, false = [], [], []
        for batch in batches:
            with torch.no_grad():
                answers = self._answers(net, batch)
            seen = answers.logits.sigmoid().cpu() >= SURE
            shown = np.isin(np.arange(len(batch.pictures)), batch.owners)
            empty = ~shown & (batch.assigned != IGNORED).all(axis=1)
            false += seen.any(dim=1).numpy()[empty].tolist()
            for face, owner in enumerate(batch.owners):
                overlaps, error = _against(answers, int(owner), batch, face)
                found.append(bool((overlaps[seen[owner]] >= 0.5).any()))
                errors.append(error)
        return Check(float(np.mean(found)), float(np.median(errors)), float(np.mean(false)))

    def averaged(self) -> DetectorNet:
        """Return a net with the mean of the weights, on the processor, ready for use."""
        net = DetectorNet(SHAPES[self.plan.shape])
        net.load_state_dict({name: value.cpu() for name, value in self.mean.items()})
        return net.eval()

    def save(self, path: Path) -> None:
        """Write everything that going on needs, in one rename; batches follow from seed and step."""
        state = {
            "plan": asdict(self.plan),
            "step": self.step,
            "net": self.net.state_dict(),
            "mean": self.mean,
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "random": torch.get_rng_state(),
        }
        torch.save(state, path.with_suffix(".part"))
        path.with_suffix(".part").replace(path)

    def load(self, state: dict[str, Any]) -> None:
        """Go on where a file left off."""
        self.step = state["step"]
        self.net.load_state_dict(state["net"])
        for optimiser, known in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(known)
        self.mean = {name: value.to(self.device) for name, value in state["mean"].items()}
        torch.set_rng_state(state["random"])

    def begin_with(self, weights: dict[str, Tensor]) -> None:
        """Begin with weights learned before, say on another province's portraits, or by a smaller net."""
        self.net.load_state_dict(widened(weights, self.net))
        self.mean = {name: value.detach().clone() for name, value in self.net.state_dict().items()}

    def _answers(self, net: DetectorNet, batch: Batch) -> Answers:
        pictures = torch.from_numpy(batch.pictures).to(self.device).permute(0, 3, 1, 2)
        scaled = ((pictures.float() - 127.5) / 128).contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            maps = net(scaled)
        return decoded([part.float() for part in maps], pictures.shape[-1])

    def _average(self) -> None:
        decay = min(EMA_DECAY, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, value in self.net.state_dict().items():
                if value.dtype.is_floating_point:
                    self.mean[name].lerp_(value, 1 - decay)
                else:
                    self.mean[name].copy_(value)


def _optimisers(net: DetectorNet, plan: Plan) -> list[torch.optim.Optimizer]:
    """Let Muon move the 3 x 3 convolutions and AdamW all other weights."""
    answers = {id(w) for w in net.answers.parameters()}
    inner = [w for w in net.parameters() if w.ndim == 4 and w.shape[1] > 3 and id(w) not in answers]
    known = {id(w) for w in inner}
    others = [w for w in net.parameters() if id(w) not in known]
    groups = [
        {"params": [w for w in others if w.ndim > 1], "weight_decay": plan.decay},
        {"params": [w for w in others if w.ndim <= 1], "weight_decay": 0.0},
    ]
    muon = Muon(inner, lr=plan.peak * MUON_STEP, weight_decay=plan.decay / MUON_STEP)
    return [muon, torch.optim.AdamW(groups, lr=plan.peak)]


def _against(answers: Answers, owner: int, batch: Batch, face: int) -> tuple[Tensor, float]:
    """Return every answer's overlap with a face, and how far the best answer's points are off."""
    target = torch.from_numpy(batch.boxes[face])
    boxes = answers.boxes[owner].cpu()
    overlaps, _ = overlap_and_distance(boxes, target.expand_as(boxes))
    points = answers.points[owner, int(overlaps.argmax())].cpu().numpy()
    truth = batch.points[face]
    between_eyes = max(1.0, float(np.linalg.norm(truth[0] - truth[1])))
    return overlaps, float(np.linalg.norm(points - truth, axis=1).mean()) / between_eyes
