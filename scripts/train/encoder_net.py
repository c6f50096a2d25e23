"""The student: a dense residual net, for a processor runs plain convolutions much faster than depthwise."""

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

STRIDE = 16
"""Pixels of the input per place of the last map."""


@dataclass(frozen=True)
class Shape:
    """Size of a net.

    Attributes:
        stem: Channels of the first map, at half the input's size.
        widths: Channels at a quarter, an eighth and a sixteenth of the input's size.
        blocks: Residual blocks of two 3 x 3 convolutions at each of the three.
        neck: Channels before the last, fully connected layer.
    """

    stem: int
    widths: tuple[int, int, int]
    blocks: tuple[int, int, int]
    neck: int


SHAPES = {
    "small": Shape(stem=24, widths=(64, 128, 256), blocks=(1, 2, 1), neck=64),
    "middle": Shape(stem=32, widths=(64, 128, 256), blocks=(2, 4, 1), neck=64),
    "base": Shape(stem=32, widths=(64, 160, 320), blocks=(2, 3, 2), neck=64),
}
"""By name: `small` has 0.27 G multiply-adds and 3.3 M weights, `middle` 0.45 G and 4.0 M, `base` 0.66 G
and 7.9 M."""


class Block(nn.Module):
    """Two 3 x 3 convolutions beside the identity; begins as the identity."""

    def __init__(self, width: int) -> None:
        """Make a block.

        Args:
            width: Channels in and out.
        """
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(width)
        self.second = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(width)
        nn.init.zeros_(self.second_norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, width, h, w) to the same shape."""
        inner = functional.relu(self.first_norm(self.first(x)))
        return functional.relu(x + self.second_norm(self.second(inner)))


class EncoderNet(nn.Module):
    """Turns aligned faces into vectors."""

    def __init__(self, shape: Shape, dimension: int, side: int = 112) -> None:
        """Make a net with random weights.

        Args:
            shape: Its size.
            dimension: Of the vectors.
            side: Of the input in pixels, a multiple of 16; `at_side` makes a net for another one.
        """
        super().__init__()
        self.shape, self.dimension, self.side = shape, dimension, side
        layers: list[nn.Module] = [_down(3, shape.stem)]
        before = shape.stem
        for width, blocks in zip(shape.widths, shape.blocks, strict=True):
            layers.append(_down(before, width))
            layers.extend(Block(width) for _ in range(blocks))
            before = width
        self.body = nn.Sequential(*layers)
        self.neck = nn.Sequential(nn.Conv2d(before, shape.neck, 1, bias=False), nn.BatchNorm2d(shape.neck))
        places = side // STRIDE
        self.head = nn.Linear(shape.neck * places * places, dimension)

    def forward(self, faces: Tensor) -> Tensor:
        """Encode faces.

        Args:
            faces: Shape (n, 3, side, side), RGB, (0-255 - 127.5) / 127.5.

        Returns:
            Shape (n, dimension), not normalised.
        """
        return self.looked(faces)[0]

    def looked(self, faces: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Encode faces and tell what the net saw on the way.

        Returns:
            The vectors as `forward` gives them, and the maps at an eighth and at a sixteenth of the input's
            size: shapes (n, widths[1], side / 8, side / 8) and (n, widths[2], side / 16, side / 16).
        """
        until = len(self.body) - self.shape.blocks[2] - 1
        middle: Tensor = self.body[:until](faces)
        last: Tensor = self.body[until:](middle)
        vectors: Tensor = self.head(self.neck(last).flatten(1))
        return vectors, middle, last

    def at_side(self, side: int) -> "EncoderNet":
        """Return a net with the same weights for inputs of another size; its head is interpolated."""
        other = EncoderNet(self.shape, self.dimension, side)
        weights = dict(self.state_dict())
        ours, theirs = self.side // STRIDE, side // STRIDE
        grid = weights["head.weight"].view(self.dimension, self.shape.neck, ours, ours)
        grid = functional.interpolate(grid, size=(theirs, theirs), mode="bilinear", align_corners=False)
        weights["head.weight"] = grid.flatten(1) * (ours / theirs) ** 2
        other.load_state_dict(weights)
        return other


def _down(before: int, after: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()
    )
