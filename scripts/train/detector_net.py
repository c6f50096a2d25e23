"""The detector: a small dense net, for a processor runs plain convolutions at full speed."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from scripts.train.detector_targets import ANCHORS, layout

ANSWER = 1 + 4 + 10
"""Numbers per answer: score, distances to the four sides of the box, five points."""


@dataclass(frozen=True)
class DetectorShape:
    """Size of a net.

    Attributes:
        stem: Channels at a quarter of the input's size.
        widths: Channels at strides 8, 16 and 32.
        blocks: Residual blocks at each of these.
        necks: Channels where the strides meet.
        heads: Channels before the answers.
    """

    stem: int
    widths: tuple[int, int, int]
    blocks: tuple[int, int, int]
    necks: tuple[int, int, int]
    heads: tuple[int, int, int]


SHAPES = {
    "compact": DetectorShape(16, (24, 48, 80), (0, 2, 1), (24, 48, 64), (16, 48, 64)),
    "wide": DetectorShape(24, (32, 64, 96), (0, 2, 2), (32, 64, 96), (16, 64, 96)),
}
"""By name: `compact` has 0.08 G multiply-adds at 320 x 320 and 0.33 M weights, `wide` 0.16 G and 0.72 M.
`wide` has no less of anything than `compact`, so that it can begin with its weights, see `widened`."""


class Block(nn.Module):
    """Two 3 x 3 convolutions beside the identity; begins as the identity."""

    def __init__(self, width: int) -> None:
        """Make a block.

        Args:
            width: Channels in and out.
        """
        super().__init__()
        self.inner = nn.Sequential(
            _step(width, width), nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        )
        nn.init.zeros_(self.inner[-1].weight)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, width, h, w) to the same shape."""
        return functional.relu(x + self.inner(x))


class DetectorNet(nn.Module):
    """Finds faces and their five points at strides 8, 16 and 32."""

    def __init__(self, shape: DetectorShape) -> None:
        """Make an untrained net.

        Args:
            shape: Its size.
        """
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, shape.stem, 4, stride=4, bias=False),
            nn.BatchNorm2d(shape.stem),
            nn.ReLU(inplace=True),
        )
        stages, before = [], shape.stem
        for width, blocks in zip(shape.widths, shape.blocks, strict=True):
            own = [Block(width) for _ in range(blocks)]
            stages.append(nn.Sequential(_step(before, width, stride=2), *own))
            before = width
        self.stages = nn.ModuleList(stages)
        self.sides = nn.ModuleList(nn.Conv2d(w, n, 1) for w, n in zip(shape.widths, shape.necks, strict=True))
        self.downs = nn.ModuleList(
            nn.Conv2d(above, below, 1) for below, above in zip(shape.necks[:2], shape.necks[1:], strict=True)
        )
        self.heads = nn.ModuleList(_step(n, h) for n, h in zip(shape.necks, shape.heads, strict=True))
        self.answers = nn.ModuleList(nn.Conv2d(h, ANCHORS * ANSWER, 1) for h in shape.heads)
        for answer in self.answers:
            nn.init.normal_(answer.weight, std=0.01)
            nn.init.zeros_(answer.bias)
            # One place in a hundred answers for a face at first. Source: RetinaNet, arXiv:1708.02002, 4.1.
            nn.init.constant_(answer.bias[:ANCHORS], -4.6)
            nn.init.constant_(answer.bias[ANCHORS : ANCHORS * 5], 0.5)

    def forward(self, pictures: Tensor) -> list[Tensor]:
        """Answer for every place.

        Args:
            pictures: Shape (n, 3, s, s), RGB, (value - 127.5) / 128; s is a multiple of 32.

        Returns:
            For each stride (n, 30, s / stride, s / stride): two scores before the sigmoid, two times four
            distances, two times ten offsets, these in units of the size that an answer is for.
        """
        x, maps = self.stem(pictures), []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        joined = [side(x) for side, x in zip(self.sides, maps, strict=True)]
        for level in (1, 0):
            above = functional.interpolate(self.downs[level](joined[level + 1]), scale_factor=2.0)
            joined[level] = joined[level] + above
        return [
            answer(head(functional.relu(x)))
            for answer, head, x in zip(self.answers, self.heads, joined, strict=True)
        ]


def widened(weights: dict[str, Tensor], net: DetectorNet) -> dict[str, Tensor]:
    """Return weights for a larger net with which it answers as the smaller one did.

    Channels that the smaller net lacks begin at random, and nothing listens to them yet.

    Args:
        weights: Of the smaller net; or of one as large, which come back as they are.
        net: Untrained.

    Raises:
        ValueError: The net has less of something than the one that the weights belong to.
    """
    result = {name: value.clone() for name, value in net.state_dict().items()}
    for name, value in weights.items():
        into = result.get(name)
        if into is None or any(a > b for a, b in zip(value.shape, into.shape, strict=True)):
            raise ValueError(f"{name}: the net is too small to begin with these weights")
        place = tuple(slice(0, length) for length in value.shape)
        if value.ndim == 4:
            into[: value.shape[0]] = 0
        into[place] = value
    return result


@dataclass(frozen=True)
class Answers:
    """What a net says, in pixels of the square.

    Attributes:
        logits: Shape (n, a), scores before the sigmoid, in the order of `layout`.
        boxes: Shape (n, a, 4): left, top, right, bottom.
        points: Shape (n, a, 5, 2).
    """

    logits: Tensor
    boxes: Tensor
    points: Tensor


def decoded(maps: list[Tensor], side: int) -> Answers:
    """Turn the net's maps into boxes and points.

    Args:
        maps: What `DetectorNet` returns.
        side: Of the squares in pixels.
    """
    joined = [torch.cat([flat(m, part) for m in maps], dim=1) for part in parts()]
    where = layout(side)
    device = maps[0].device
    centres = torch.from_numpy(where.centres).to(device)
    bases = torch.from_numpy(where.bases).to(device)[:, None]
    distances = joined[1] * bases
    boxes = torch.cat([centres - distances[..., :2], centres + distances[..., 2:]], dim=-1)
    points = centres[:, None] + (joined[2] * bases).unflatten(-1, (5, 2))
    return Answers(joined[0].squeeze(-1), boxes, points)


def parts() -> tuple[tuple[int, int], ...]:
    """Return first channel and numbers per answer of scores, distances and points."""
    return (0, 1), (ANCHORS, 4), (ANCHORS * 5, 10)


def flat(answer_map: Tensor, part: tuple[int, int]) -> Tensor:
    """Return one part of a map as (n, a, numbers), anchors of a place together."""
    first, numbers = part
    chosen = answer_map[:, first : first + ANCHORS * numbers].permute(0, 2, 3, 1)
    return chosen.reshape(answer_map.shape[0], -1, numbers)


def _step(channels: int, width: int, *, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
    )
