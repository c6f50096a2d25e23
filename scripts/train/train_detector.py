"""Trains the detector of a pack: python -m scripts.train.train_detector --help."""

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import cv2
import numpy as np
import torch
import typer

from scripts.progress import progress
from scripts.train.detector_bank import Bank, open_bank
from scripts.train.detector_batches import Batches
from scripts.train.detector_export import export_detector
from scripts.train.detector_loss import Losses
from scripts.train.detector_net import SHAPES
from scripts.train.detector_training import Check, Plan, Training
from scripts.train.label_squares import CHECKS, TRAINING

LOG_EVERY = 25
SAVE_EVERY = 100
CHECK_EVERY = 500
CHECK_BATCHES, CHECK_SIZE = 16, 16

CHECKPOINT_FILE = "detector.pt"
LOG_FILE = "detector.jsonl"
MODEL_FILE = "detector.onnx"


def train(
    squares: Annotated[Path, typer.Argument(help="The working folder of scripts.train.label_squares.")],
    *,
    work: Annotated[Path, typer.Option(help="Where checkpoint, log and the model are kept.")],
    shape: Annotated[str, typer.Option(help=f"Size of the net: {' or '.join(SHAPES)}.")] = "wide",
    steps: Annotated[int, typer.Option(min=1, help="Batches in all.")] = 3000,
    batch: Annotated[int, typer.Option(min=1, help="Squares in a batch.")] = 16,
    peak: Annotated[float, typer.Option(help="Highest rate of learning.")] = 3e-3,
    decay: Annotated[float, typer.Option(help="Weight decay.")] = 0.02,
    seed: Annotated[int, typer.Option(min=0, help="Of everything random.")] = 1,
    threads: Annotated[int, typer.Option(min=1, help="Processor threads.")] = 2,
    begin_with: Annotated[
        Path | None,
        typer.Option(help="Checkpoint of another training, of the same size, whose weights to begin with."),
    ] = None,
    device: Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="Where to train.")] = "auto",
) -> None:
    """Train a detector and export it; interrupted, the same command goes on from its last checkpoint."""
    if shape not in SHAPES:
        raise typer.BadParameter(f"{shape}: no such size; there are {', '.join(SHAPES)}")
    torch.set_num_threads(threads)
    cv2.setNumThreads(1)
    chosen = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    plan = Plan(shape, steps, batch, peak, decay, seed)
    work.mkdir(parents=True, exist_ok=True)
    banks = open_bank(squares / TRAINING), open_bank(squares / CHECKS)
    training = run(banks, plan, work, torch.device(chosen), begin_with=begin_with)
    gap = export_detector(training.averaged(), work / MODEL_FILE)
    print(f"{work / MODEL_FILE}: differs from torch by at most {gap:.1e}")


def run(
    banks: tuple[Bank, Bank],
    plan: Plan,
    work: Path,
    device: torch.device,
    *,
    begin_with: Path | None = None,
) -> Training:
    """Train by a plan.

    Args:
        banks: What is trained on, and what the checks look at.
        plan: How long, and so on.
        work: Where checkpoint and log are kept; a checkpoint of the same plan, but for its steps, is gone
            on from.
        device: Where the net is trained.
        begin_with: Checkpoint of another training; its averaged weights are begun with instead of random
            ones, when there is nothing to go on from.
    """
    training = Training(plan, device)
    checkpoint = work / CHECKPOINT_FILE
    if begin_with is not None and not checkpoint.is_file():
        training.begin_with(torch.load(begin_with, map_location="cpu", weights_only=True)["mean"])
    if checkpoint.is_file():
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        # How long is trained may be changed on the way: the rate of learning then falls sooner or later.
        if state["plan"] | {"steps": plan.steps} != asdict(plan):
            raise typer.BadParameter(f"{checkpoint} belongs to another plan: {state['plan']}; move it away")
        training.load(state)
    batches = Batches(banks[0], size=plan.batch, seed=plan.seed)
    # The same squares for every seed, so that runs can be compared.
    others = Batches(banks[1], size=CHECK_SIZE, seed=0)
    checks = [others.batch(number) for number in range(CHECK_BATCHES)]
    recent: list[Losses] = []
    started = time.monotonic()
    with progress("detector", plan.steps) as shown:
        shown.advance(training.step, worked=False)
        for batch in batches.since(training.step, plan.steps):
            recent.append(training.learn(batch))
            shown.advance(1)
            last = training.step == plan.steps
            if training.step % LOG_EVERY == 0 or last:
                check = training.check(checks) if training.step % CHECK_EVERY == 0 or last else None
                _log(work / LOG_FILE, training, recent, check, time.monotonic() - started)
                recent.clear()
            if training.step % SAVE_EVERY == 0 or last:
                training.save(checkpoint)
    return training


def _log(log: Path, training: Training, recent: list[Losses], check: Check | None, spent_s: float) -> None:
    entry: dict[str, float] = {
        "step": training.step,
        "rate": round(training.plan.rate(training.step - 1), 6),
        "spent_s": round(spent_s, 1),
    }
    for part in ("score", "box", "points"):
        entry[part] = round(float(np.mean([float(getattr(one, part)) for one in recent])), 4)
    if check is not None:
        entry |= {f"check_{name}": round(value, 4) for name, value in asdict(check).items()}
    with log.open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")


if __name__ == "__main__":
    typer.run(train)
