"""The net that corrects five points on a close view of a face, and tells faces from what is none."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from index.landmarks import ANSWER, template_in_view
from scripts.train.landmark_views import MARGIN, VIEW_PX

OFFSET = 0.1
"""Unit, in sides of the view, in which the net tells how far points are from the template's."""

_WIDTHS = (16, 32, 64, 96)
_BLOCKS = (0, 0, 2, 1)


class Block(nn.Module):
    """Two 3 x 3 convolutions beside the identity; begins as the identity."""

    def __init__(self, width: int) -> None:
        """Make a block.

        Args:
            width: Channels in and out.
        """
        super().__init__()
        self.first = _step(width, width, stride=1)
        self.second = nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width))
        nn.init.zeros_(self.second[1].weight)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, width, h, w) to the same shape."""
        return functional.relu(x + self.second(self.first(x)))


class LandmarkNet(nn.Module):
    """Plain 3 x 3 convolutions at a half, a quarter, an eighth and a sixteenth of the view, one product."""

    def __init__(self) -> None:
        """Make an untrained net."""
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for width, blocks in zip(_WIDTHS, _BLOCKS, strict=True):
            layers.append(_step(before, width, stride=2))
            layers += [Block(width) for _ in range(blocks)]
            before = width
        self.body = nn.Sequential(*layers)
        places = VIEW_PX // 2 ** len(_WIDTHS)
        self.head = nn.Linear(before * places * places, ANSWER)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)
        self.register_buffer("template", torch.from_numpy(template_in_view(MARGIN)).float().flatten())

    def forward(self, views: Tensor) -> Tensor:
        """Look at views.

        Args:
            views: Shape (n, 3, VIEW_PX, VIEW_PX), RGB, (value - 127.5) / 127.5.

        Returns:
            Shape (n, 11): five points as x and y in sides of the view, and the score before the sigmoid.
        """
        raw = self.head(self.body(views).flatten(1))
        return torch.cat([self.template + OFFSET * raw[:, :10], raw[:, 10:]], dim=1)


def _step(before: int, after: int, *, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()
    )
