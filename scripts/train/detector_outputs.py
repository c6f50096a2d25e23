"""What a detector's file answers: neighbouring places agree on a face, in the form that insightface reads."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from scripts.train.detector_net import DetectorNet, flat, parts
from scripts.train.detector_targets import ANCHORS, BASES_PX, STRIDES

_SHARPNESS = 4
"""Power of the score by which a place counts among its neighbours: the sure ones decide, a single slip does
not. On 224 held-out faces the points' median error fell from 6.9 to 6.5 % of the eyes' distance."""

_LEAST = 1e-6
"""Weight of a place that is sure of nothing; less would make the quotient depend on rounding."""

_OUTWARD = (-1.0, -1.0, 1.0, 1.0)
"""Which way the distances to the four sides of a box are counted; points are counted like the last two."""


class ScrfdOutputs(nn.Module):
    """A trained net with the nine outputs that insightface's SCRFD class reads, for one picture."""

    def __init__(self, net: DetectorNet) -> None:
        """Keep a net.

        Args:
            net: Trained.
        """
        super().__init__()
        self.net = net
        self.leans = nn.ModuleList(Agreement(s, b) for s, b in zip(STRIDES, BASES_PX, strict=True))
        self.factors = [torch.tensor(b) / s for s, b in zip(STRIDES, BASES_PX, strict=True)]

    def forward(self, picture: Tensor) -> tuple[Tensor, ...]:
        """Answer for one picture: scores, distances and points, each for strides 8, 16 and 32."""
        maps = [agree(m) for agree, m in zip(self.leans, self.net(picture), strict=True)]
        scores, distances, points = ([flat(m, part) for m in maps] for part in parts())
        return (
            *(torch.sigmoid(score).flatten(0, 1) for score in scores),
            *(self._in_strides(part, at) for at, part in enumerate(distances)),
            *(self._in_strides(part, at) for at, part in enumerate(points)),
        )

    def _in_strides(self, part: Tensor, level: int) -> Tensor:
        """Return numbers that are in units of the size an answer is for in units of the stride."""
        split = part.unflatten(1, (-1, ANCHORS)) * self.factors[level][:, None]
        return split.flatten(0, 2)


class Agreement(nn.Module):
    """Lets each place take the mean of what it and its eight neighbours say, by their scores."""

    def __init__(self, stride: int, bases: tuple[float, float]) -> None:
        """Prepare for the places of one stride.

        Args:
            stride: Pixels from place to place.
            bases: Sizes that the answers at a place are for: the units of the distances.
        """
        super().__init__()
        step = torch.arange(-1.0, 2.0) / 9
        across = torch.stack([step.expand(3, 3), step[:, None].expand(3, 3)])
        self.register_buffer("across", across[:, None].repeat(ANCHORS, 1, 1, 1))
        owner, axis, lean = [], [], []
        for numbers, signs in ((4, _OUTWARD), (10, (1.0,) * 10)):
            for anchor in range(ANCHORS):
                owner += [anchor] * numbers
                axis += [2 * anchor + number % 2 for number in range(numbers)]
                lean += [sign * stride / bases[anchor] for sign in signs]
        self.register_buffer("owner", torch.tensor(owner))
        self.register_buffer("axis", torch.tensor(axis))
        self.register_buffer("lean", torch.tensor(lean)[:, None, None])

    def forward(self, answers: Tensor) -> Tensor:
        """Average the distances and offsets of a map; its scores stay.

        Args:
            answers: Shape (n, 30, h, w), see `DetectorNet.forward`.
        """
        weights = torch.sigmoid(answers[:, :ANCHORS]) ** _SHARPNESS + _LEAST
        owned = weights[:, self.owner]
        said = functional.avg_pool2d(owned * answers[:, ANCHORS:], 3, 1, 1)
        # A neighbour counts from its own place: its answer is moved by the way from there.
        moved = functional.conv2d(weights, self.across, padding=1, groups=ANCHORS)[:, self.axis]
        total = functional.avg_pool2d(weights, 3, 1, 1)[:, self.owner]
        return torch.cat([answers[:, :ANCHORS], (said + moved * self.lean) / total], dim=1)
