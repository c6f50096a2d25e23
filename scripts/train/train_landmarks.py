"""Trains the net that corrects a detector's points: python -m scripts.train.train_landmarks --help."""

import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import onnx
import onnxruntime
import torch
import typer
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from scripts.progress import progress
from scripts.train.export_encoder import shrink
from scripts.train.landmark_net import LandmarkNet
from scripts.train.landmark_views import VIEW_PX, Drawing, Views
from scripts.train.muon import Muon
from scripts.train.pool import unpack
from scripts.train.scenes import unpack_scenes

LOG_EVERY, SAVE_EVERY, CHECK_EVERY = 50, 200, 500
CHECKED = 400
"""Views of each kind, never learned from, that the checks look at."""

WARM_UP = 100
EMA_DECAY = 0.998
"""Of the running mean of the weights, which is what is exported: it averages some 500 steps."""

MUON_STEP, ADAM_RATE, DECAY = 0.01, 2e-3, 0.05
"""Longest step of the 3 x 3 convolutions, highest rate of all other weights and their decay: those of the
encoder's training."""

POINT_BEND = 0.01
"""Error, in sides of the view, below which the loss of the points is quadratic: 4 % of the eyes' distance, as
far as one labelling is off another."""

POINT_WEIGHT = 100.0
"""Against the score's loss of 1: makes both of like size after a few hundred steps."""

CHECKPOINT_FILE, LOG_FILE, MODEL_FILE = "landmarks.pt", "landmarks.jsonl", "landmarks.onnx"
LARGEST_GAP = 1e-4
"""Largest difference between torch and onnxruntime that is taken for rounding."""

OPSET = 17


@dataclass(frozen=True)
class Plan:
    """What is trained, and for how long.

    Attributes:
        steps: Batches in all.
        batch: Views in a batch.
        seed: Of everything random.
    """

    steps: int
    batch: int
    seed: int

    def rate(self, step: int) -> float:
        """Return the share of the highest rate of learning: a warm-up, then half a cosine."""
        if step < WARM_UP:
            return (step + 1) / WARM_UP
        return 0.5 * (1 + math.cos(math.pi * min(1.0, step / self.steps))) + 2e-3


@dataclass(frozen=True)
class Check:
    """How the mean of the weights does on views that are not learned from.

    Attributes:
        point_error: Median distance of the points from the labels, as a share of the eyes' distance.
        missed: Share of the faces with a score below one half.
        false: Share of the backgrounds with a score of one half or more.
    """

    point_error: float
    missed: float
    false: float


class Training:
    """A net on its way; can be saved and taken up again at any step."""

    def __init__(self, plan: Plan, device: torch.device) -> None:
        """Begin with random weights; `load` goes on with those of a file."""
        torch.manual_seed(plan.seed)
        self.plan, self.device, self.step = plan, device, 0
        self.net = LandmarkNet().to(device, memory_format=torch.channels_last)
        body = [w for w in self.net.parameters() if w.ndim == 4 and w.shape[1] > 3]
        known = {id(w) for w in body}
        others = [w for w in self.net.parameters() if id(w) not in known]
        self.optimisers = [
            Muon(body, lr=MUON_STEP),
            torch.optim.AdamW(others, lr=ADAM_RATE, betas=(0.9, 0.98), weight_decay=DECAY),
        ]
        self.mean = {name: value.detach().clone() for name, value in self.net.state_dict().items()}

    def learn(self, views: Views) -> tuple[float, float]:
        """Take one step and return the losses of the points and of the score before it."""
        for optimiser, highest in zip(self.optimisers, (MUON_STEP, ADAM_RATE), strict=True):
            for group in optimiser.param_groups:
                group["lr"] = highest * self.plan.rate(self.step)
        self.net.train()
        answers = self.net(_scaled(views.pictures, self.device))
        faces = torch.from_numpy(views.faces).to(self.device)
        truth = torch.from_numpy(views.points).to(self.device).flatten(1)
        points = functional.smooth_l1_loss(answers[faces, :10], truth[faces], beta=POINT_BEND)
        score = functional.binary_cross_entropy_with_logits(answers[:, 10], faces.float())
        for optimiser in self.optimisers:
            optimiser.zero_grad()
        (POINT_WEIGHT * points + score).backward()
        for optimiser in self.optimisers:
            optimiser.step()
        self.step += 1
        self._average()
        return float(points.detach()), float(score.detach())

    def check(self, views: Views) -> Check:
        """Measure the mean of the weights."""
        with torch.no_grad():
            answers = self.averaged()(_scaled(views.pictures, torch.device("cpu"))).numpy()
        errors = point_errors(answers[views.faces, :10].reshape(-1, 5, 2), views.points[views.faces])
        taken = answers[:, 10] >= 0
        return Check(
            float(np.median(errors)), float((~taken[views.faces]).mean()), float(taken[~views.faces].mean())
        )

    def averaged(self) -> LandmarkNet:
        """Return a net with the mean of the weights, on the processor, ready for use."""
        net = LandmarkNet()
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

    def _average(self) -> None:
        decay = min(EMA_DECAY, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, value in self.net.state_dict().items():
                if value.dtype.is_floating_point:
                    self.mean[name].lerp_(value, 1 - decay)
                else:
                    self.mean[name].copy_(value)


def train(
    pool: Annotated[Path, typer.Argument(help="Folder of aligned crops: index.csv and zip files.")],
    *,
    scenes: Annotated[Path, typer.Option(help="Folder of whole pictures: labels.csv and scenes.zip.")],
    work: Annotated[Path, typer.Option(help="Where checkpoint, log and the model are kept.")],
    arrays: Annotated[
        Path | None, typer.Option(help="Where crops and pictures are decoded, if not in WORK.")
    ] = None,
    scene_arrays: Annotated[
        Path | None, typer.Option(help="Where the whole pictures are decoded, if elsewhere.")
    ] = None,
    mistakes: Annotated[
        Path | None, typer.Option(help="Of collect_mistakes: what a detector took for faces.")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Batches in all; may be changed.")] = 6000,
    batch: Annotated[int, typer.Option(min=2, help="Views in a batch.")] = 96,
    seed: Annotated[int, typer.Option(min=0, help="Of everything random.")] = 1,
    threads: Annotated[int, typer.Option(min=1, help="Processor threads.")] = 2,
) -> None:
    """Train and export; interrupted, the same command goes on from its last checkpoint."""
    torch.set_num_threads(threads)
    cv2.setNumThreads(1)
    work.mkdir(parents=True, exist_ok=True)
    crops = unpack(pool, arrays or work)
    pictures = unpack_scenes(scenes, scene_arrays or arrays or work)
    wrong = np.zeros((0, VIEW_PX, VIEW_PX, 3), np.uint8) if mistakes is None else np.load(mistakes)
    plan = Plan(steps, batch, seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    training = run(Drawing(crops, pictures, wrong, size=batch, seed=seed), plan, work, device)
    gap = export_landmarks(training.averaged(), work / MODEL_FILE)
    print(f"{work / MODEL_FILE}: differed from torch by at most {gap:.1e} before its weights became 8 bits")


def run(drawing: Drawing, plan: Plan, work: Path, device: torch.device) -> Training:
    """Train by a plan, from the last checkpoint of the same plan, but for its steps, if there is one."""
    training, checkpoint = Training(plan, device), work / CHECKPOINT_FILE
    if checkpoint.is_file():
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        if state["plan"] | {"steps": plan.steps} != asdict(plan):
            raise typer.BadParameter(f"{checkpoint} belongs to another plan: {state['plan']}; move it away")
        training.load(state)
    unseen = drawing.unseen(CHECKED)
    recent: list[tuple[float, float]] = []
    started = time.monotonic()
    with progress("landmarks", plan.steps) as shown:
        shown.advance(training.step, worked=False)
        for views in drawing.since(training.step, plan.steps):
            recent.append(training.learn(views))
            shown.advance(1)
            last = training.step == plan.steps
            if training.step % LOG_EVERY == 0 or last:
                check = training.check(unseen) if training.step % CHECK_EVERY == 0 or last else None
                _log(work / LOG_FILE, training, recent, check, time.monotonic() - started)
                recent.clear()
            if training.step % SAVE_EVERY == 0 or last:
                training.save(checkpoint)
    return training


def export_landmarks(net: LandmarkNet, path: Path) -> float:
    """Write a net for any number of views; its weights are kept in 8 bits, it calculates in 32.

    That moves points by a thousandth of the eyes' distance, and makes the file a quarter as large.

    Returns:
        The largest difference from torch before that.

    Raises:
        ValueError: It is larger than `LARGEST_GAP`.
    """
    torch.onnx.export(
        net,
        (torch.zeros(2, 3, VIEW_PX, VIEW_PX),),
        str(path),
        input_names=["views"],
        output_names=["answers"],
        dynamic_axes={"views": {0: "n"}, "answers": {0: "n"}},
        opset_version=OPSET,
        dynamo=False,
    )
    onnx.checker.check_model(onnx.load(path), full_check=True)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    views = np.random.default_rng(0).uniform(-1, 1, (5, 3, VIEW_PX, VIEW_PX)).astype(np.float32)
    with torch.no_grad():
        expected = net(torch.from_numpy(views)).numpy()
    gap = float(np.abs(expected - session.run(None, {"views": views})[0]).max())
    if gap > LARGEST_GAP:
        raise ValueError(f"{path}: differs from torch by {gap:.1e}, more than {LARGEST_GAP:.0e}")
    shrink(path, path)
    return gap


def point_errors(points: NDArray[np.float32], truth: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the mean distance of five points, as a share of the eyes' distance; shape (n,).

    Args:
        points: Shape (n, 5, 2).
        truth: Shape (n, 5, 2).
    """
    eyes = np.linalg.norm(truth[:, 0] - truth[:, 1], axis=1)
    return np.asarray(np.linalg.norm(points - truth, axis=2).mean(axis=1) / eyes, np.float32)


def _scaled(pictures: NDArray[np.uint8], device: torch.device) -> Tensor:
    views = torch.from_numpy(pictures).to(device).permute(0, 3, 1, 2)
    return ((views.float() - 127.5) / 127.5).contiguous(memory_format=torch.channels_last)


def _log(
    log: Path, training: Training, recent: list[tuple[float, float]], check: Check | None, spent_s: float
) -> None:
    points, score = np.mean(recent, axis=0)
    entry = {
        "step": training.step,
        "rate": round(training.plan.rate(training.step - 1), 4),
        "points": round(float(points), 5),
        "score": round(float(score), 4),
        "spent_s": round(spent_s, 1),
    }
    if check is not None:
        entry |= {f"check_{name}": round(value, 4) for name, value in asdict(check).items()}
    with log.open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")


if __name__ == "__main__":
    typer.run(train)
