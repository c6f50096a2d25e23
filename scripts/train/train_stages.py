"""Teaches the parts of an encoder one by one, each what the same part of a teacher does."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from scripts.progress import progress
from scripts.train.batches import drawn_rows, held_out, members_and_shares
from scripts.train.encoder_net import SHAPES, EncoderNet
from scripts.train.maps import MAP_CHANNELS, TeacherMaps, map_loss, teacher_maps
from scripts.train.muon import Muon
from scripts.train.pool import Pool, unpack
from scripts.train.teachers import MOBILEFACENET, aligned, joint_targets, load_teachers

SIDE = 112
"""Of the faces in pixels: the teacher's, so that its maps and the student's lie upon each other."""

SIDES = tuple(MAP_CHANNELS)
"""Of the maps at which the parts end; each part but the first begins with the teacher's map before."""

BATCH = (16, 32, 128)
"""Faces in a batch of each part: a face has 784, 196 or 49 places to learn from."""

STEPS = "3000,2600,1400"
"""Batches for each part, as the delivered encoder had them: about an hour of one core in all."""

PEAK = 0.02
"""Highest length of Muon's steps."""

ADAM_RATE = 2e-3
HEAD_DECAY = 0.05
"""Of the weights that AdamW trains in the last part."""

WARM_UP = 50
"""Steps over which the rate of learning rises."""

VECTOR_WEIGHT, RELATION_WEIGHT, MAP_WEIGHT = 1.0, 10.0, 0.5
"""Of the last part's losses: cosine to the teachers' vectors, scores between faces, the last map."""

LOG_EVERY = 100
SAVE_EVERY = 200
CHECKED = 256
"""Faces never learned from on which a part is measured, and how many of them at once."""
CHECKED_AT_ONCE = 64


class Part(nn.Module):
    """One of the three parts of an encoder, and what turns its last map into the teacher's."""

    def __init__(self, number: int, net: EncoderNet) -> None:
        """Take a part out of a net; they share the weights.

        Args:
            number: 1 to 3.
            net: Of side 112.
        """
        super().__init__()
        first, second = 2 + net.shape.blocks[0], 3 + net.shape.blocks[0] + net.shape.blocks[1]
        bounds = (0, first, second, len(net.body))
        self.number = number
        self.body = net.body[bounds[number - 1] : bounds[number]]
        self.adaptor = nn.Conv2d(net.shape.widths[number - 1], MAP_CHANNELS[SIDES[number - 1]], 1)
        self.ending = nn.ModuleList([net.neck, net.head] if number == len(SIDES) else [])

    def forward(self, given: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the map as the teacher has it, and the last part's vectors."""
        seen = self.body(given)
        if not self.ending:
            return self.adaptor(seen), None
        neck, head = self.ending
        return self.adaptor(seen), head(neck(seen).flatten(1))


def between(net: EncoderNet) -> EncoderNet:
    """Return a net whose second and third part take maps with as many channels as the teacher's have."""
    for number in (2, 3):
        at = 2 + net.shape.blocks[0] if number == 2 else 3 + net.shape.blocks[0] + net.shape.blocks[1]
        down: Any = net.body[at]
        down[0] = nn.Conv2d(
            MAP_CHANNELS[SIDES[number - 2]], down[0].out_channels, 3, stride=2, padding=1, bias=False
        )
    return net


def join(parts: list[Part], net: EncoderNet) -> EncoderNet:
    """Put the parts together: what turns a map into the teacher's becomes part of the next convolution.

    Args:
        parts: The three, trained.
        net: Of the same shape; gets the weights.

    Returns:
        The net. It answers as its parts do one after the other, except along the edges of the maps, where a
        convolution sees nothing instead of what the adaptor makes of nothing.
    """
    layers = [layer for part in parts for layer in part.body]
    for at, layer in enumerate(layers):
        weights = dict(layer.state_dict())
        for before, after in pairwise(parts):
            if layer is after.body[0]:
                turn, kernel = before.adaptor, weights["0.weight"]
                weights["0.weight"] = torch.einsum("omhw,mi->oihw", kernel, turn.weight[:, :, 0, 0])
                weights["1.running_mean"] = weights["1.running_mean"] - kernel.sum((2, 3)) @ turn.bias
        net.body[at].load_state_dict(weights)
    neck, head = parts[-1].ending
    net.neck.load_state_dict(neck.state_dict())
    net.head.load_state_dict(head.state_dict())
    return net


class Lessons:
    """Draws what the parts learn from."""

    def __init__(self, pool: Pool, maps: TeacherMaps, targets: NDArray[np.float32], seed: int) -> None:
        """Prepare the drawing.

        Args:
            pool: The faces.
            maps: What the teacher sees in each.
            targets: Shape (n, d), of norm 1: the teachers' vectors.
            seed: Of everything that is drawn.
        """
        self._pool, self._maps, self._targets, self._seed = pool, maps, targets, seed
        self._members, self._shares = members_and_shares(pool)
        kept = np.flatnonzero(held_out(pool))
        self.unseen = np.sort(np.random.default_rng(seed).permutation(kept)[:CHECKED])

    def batch(self, number: int, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return what step `step` of part `number` learns from; see `of`."""
        chance = np.random.default_rng((self._seed, number, step))
        rows = drawn_rows(self._members, self._shares, BATCH[number - 1], chance)
        return self.of(number, np.sort(rows))

    def of(self, number: int, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor, Tensor]:
        """Return what some faces give to a part, the map that it should make of it, and the vectors."""
        cpu = torch.device("cpu")
        if number == 1:
            faces = aligned(self._pool.faces[rows], self._pool.points[rows])
            given = (torch.from_numpy(faces).permute(0, 3, 1, 2).float() - 127.5) / 127.5
        else:
            given = self._maps.of(SIDES[number - 2], rows, cpu)
        wanted = self._maps.of(SIDES[number - 1], rows, cpu)
        return given, wanted, torch.from_numpy(self._targets[rows])


class PartTraining:
    """A part on its way; can be saved and taken up again at any step."""

    def __init__(self, part: Part, device: torch.device) -> None:
        """Begin with the part's weights."""
        self.part, self.device, self.step = part.to(device, memory_format=torch.channels_last), device, 0
        body = [weight for weight in part.body.parameters() if weight.ndim == 4]
        body += [weight for weight in part.ending.parameters() if weight.ndim == 4]
        own = {id(weight) for weight in body}
        others = [weight for weight in part.parameters() if id(weight) not in own]
        decay = HEAD_DECAY if part.ending else 0.0
        self.optimisers = [
            Muon(body, lr=PEAK),
            torch.optim.AdamW(others, lr=ADAM_RATE, betas=(0.9, 0.98), weight_decay=decay),
        ]

    def learn(self, lesson: tuple[Tensor, Tensor, Tensor], rate: float) -> float:
        """Take one step and return the loss over the map."""
        for optimiser, highest in zip(self.optimisers, (PEAK, ADAM_RATE), strict=True):
            for group in optimiser.param_groups:
                group["lr"] = highest * rate
        self.part.train()
        imitation, cosine, relation = self.losses(lesson)
        loss = imitation
        if self.part.ending:
            loss = MAP_WEIGHT * imitation + VECTOR_WEIGHT * cosine + RELATION_WEIGHT * relation
        for optimiser in self.optimisers:
            optimiser.zero_grad()
        loss.backward()
        for optimiser in self.optimisers:
            optimiser.step()
        self.step += 1
        return float(imitation.detach())

    def losses(self, lesson: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Return the losses: over the map, cosine, relation; the last two are 0 but for the last part."""
        given, wanted, targets = (values.to(self.device) for values in lesson)
        seen, raw = self.part(given.contiguous(memory_format=torch.channels_last))
        imitation = map_loss(seen, wanted)
        if raw is None:
            return imitation, torch.zeros(()), torch.zeros(())
        vectors = functional.normalize(raw)
        relation = (vectors @ vectors.T - targets @ targets.T).square().mean()
        return imitation, 1 - (vectors * targets).sum(1).mean(), relation

    def measured(self, lessons: Lessons) -> list[float]:
        """Return the losses on faces never learned from."""
        self.part.eval()
        rows = np.array_split(lessons.unseen, max(1, len(lessons.unseen) // CHECKED_AT_ONCE))
        with torch.no_grad():
            told = [[float(loss) for loss in self.losses(lessons.of(self.part.number, of))] for of in rows]
        return [round(float(value), 4) for value in np.mean(told, axis=0)]

    def save(self, path: Path) -> None:
        """Write everything that going on needs, in one rename."""
        state = {
            "step": self.step,
            "part": self.part.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
        }
        torch.save(state, path.with_suffix(".part"))
        path.with_suffix(".part").replace(path)

    def load(self, path: Path) -> None:
        """Go on where a file left off."""
        state = torch.load(path, map_location="cpu", weights_only=True)
        self.step = state["step"]
        self.part.load_state_dict(state["part"])
        for optimiser, kept in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(kept)


def teach_part(training: PartTraining, lessons: Lessons, steps: int, work: Path) -> None:
    """Train one part, from its last checkpoint if there is one; the rate falls along half a cosine."""
    number = training.part.number
    checkpoint, losses, started = work / f"stage-{number}.pt", [], time.monotonic()
    if checkpoint.is_file():
        training.load(checkpoint)
    with progress(f"part {number}", steps) as shown, ThreadPoolExecutor(1) as executor:
        shown.advance(training.step, worked=False)
        coming = executor.submit(lessons.batch, number, training.step)
        while training.step < steps:
            lesson, coming = coming.result(), executor.submit(lessons.batch, number, training.step + 1)
            falling = 0.5 * (1 + float(np.cos(np.pi * training.step / steps))) + 1e-3
            losses.append(training.learn(lesson, min(1.0, (training.step + 1) / WARM_UP) * falling))
            shown.advance(1)
            if training.step % LOG_EVERY == 0 or training.step == steps:
                entry = {"part": number, "step": training.step, "map": round(float(np.mean(losses)), 4)}
                entry |= {"spent_s": round(time.monotonic() - started, 1)}
                told = json.dumps(entry | {"unseen": training.measured(lessons)})
                with (work / "stages.jsonl").open("a", encoding="utf-8") as file:
                    file.write(told + "\n")
                losses.clear()
            if training.step % SAVE_EVERY == 0 or training.step == steps:
                training.save(checkpoint)


def train(
    pool: Annotated[Path, typer.Argument(help="Folder of aligned crops: index.csv and zip files.")],
    *,
    models: Annotated[Path, typer.Option(help="Folder of the teachers.")],
    work: Annotated[Path, typer.Option(help="Where arrays, checkpoints and the log are kept.")],
    shape: Annotated[str, typer.Option(help="Size of the net.")] = "middle",
    dimension: Annotated[int, typer.Option(help="Length of the vectors.")] = 256,
    only: Annotated[int, typer.Option(help="Train this part alone (1-3); 0: all, then join them.")] = 0,
    steps: Annotated[str, typer.Option(help="Batches for each part.")] = STEPS,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 1,
    threads: Annotated[int, typer.Option(help="Processor threads.")] = 2,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
) -> None:
    """Teach three parts of a net what the same parts of the MobileFaceNet teacher do, and join them.

    Parts may be trained at the same time, each with --only; then the command without it joins them and writes
    WORK/begin.pt, with which train_encoder begins.
    """
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    faces = unpack(pool, work)
    targets = joint_targets(faces, load_teachers(models, threads), work, dimension)
    lessons = Lessons(faces, teacher_maps(faces, models / MOBILEFACENET, work, threads), targets, seed)
    net = between(EncoderNet(SHAPES[shape], dimension, SIDE))
    parts = [Part(number, net) for number in (1, 2, 3)]
    for part, wanted in zip(parts, steps.split(","), strict=True):
        if only in (0, part.number):
            teach_part(PartTraining(part, torch.device(device)), lessons, int(wanted), work)
    if not only:
        joined = join([part.cpu().eval() for part in parts], EncoderNet(SHAPES[shape], dimension, SIDE))
        state = {
            "shape": shape,
            "dimension": dimension,
            "side": SIDE,
            "net": joined.state_dict(),
            "adaptors": nn.ModuleList(part.adaptor for part in parts[1:]).state_dict(),
        }
        torch.save(state, work / "begin.pt")


if __name__ == "__main__":
    typer.run(train)
