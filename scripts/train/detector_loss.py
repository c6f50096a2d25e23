"""What the detector is trained to make small."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from scripts.train.detector_net import Answers
from scripts.train.detector_targets import IGNORED

BOX_WEIGHT, POINT_WEIGHT = 2.0, 20.0
"""Against the score's loss of 1; chosen so that the three are of like size after a few hundred steps."""

_POINT_BEND = 0.01
"""Error, as a share of the face's size, below which the loss is quadratic; 1 % is what labels err."""


@dataclass(frozen=True)
class Wanted:
    """What a net should have said about a batch.

    Attributes:
        assigned: Shape (n, a): row of `boxes`, or `NOBODY`, or `IGNORED`.
        boxes: Shape (faces, 4): left, top, right, bottom; all pictures' faces behind one another.
        points: Shape (faces, 5, 2).
    """

    assigned: Tensor
    boxes: Tensor
    points: Tensor


@dataclass(frozen=True)
class Losses:
    """The three parts, each per positive answer."""

    score: Tensor
    box: Tensor
    points: Tensor

    def total(self) -> Tensor:
        """Return the weighted sum."""
        return self.score + BOX_WEIGHT * self.box + POINT_WEIGHT * self.points


def losses(answers: Answers, wanted: Wanted) -> Losses:
    """Compare a batch's answers with what was wanted.

    The wanted score is the root of the overlap that the answer's own box reaches, so that the best box
    of a face wins when the weaker ones are dropped (quality focal loss, arXiv:2006.04388; the root keeps
    turned and cut faces, whose boxes are vague, above the threshold). Boxes: 1 - DIoU (arXiv:1911.08287).
    Points: smooth L1 in units of the face's size.
    """
    chosen = wanted.assigned >= 0
    faces = wanted.assigned[chosen]
    count = max(1, int(faces.numel()))
    boxes, targets = answers.boxes[chosen], wanted.boxes[faces]
    overlap, distance = overlap_and_distance(boxes, targets)
    sizes = (targets[:, 2:] - targets[:, :2]).prod(dim=1).sqrt()
    errors = (answers.points[chosen] - wanted.points[faces]) / sizes[:, None, None]
    quality = torch.zeros_like(answers.logits)
    quality[chosen] = overlap.detach().clamp(0, 1).sqrt().to(quality.dtype)
    gap = (quality - answers.logits.sigmoid()).abs().square()
    score = gap * functional.binary_cross_entropy_with_logits(answers.logits, quality, reduction="none")
    bent = functional.smooth_l1_loss(errors, torch.zeros_like(errors), beta=_POINT_BEND, reduction="none")
    return Losses(
        score=(score * (wanted.assigned != IGNORED)).sum() / count,
        box=(1 - overlap + distance).sum() / count,
        points=bent.mean(dim=(1, 2)).sum() / count,
    )


def overlap_and_distance(boxes: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return intersection over union, and squared distance of the middles over that of the hull's corners.

    Args:
        boxes: Shape (m, 4): left, top, right, bottom; a box turned inside out has no area.
        targets: Shape (m, 4).
    """
    shared = (torch.min(boxes[:, 2:], targets[:, 2:]) - torch.max(boxes[:, :2], targets[:, :2])).clamp(min=0)
    both = shared.prod(dim=1)
    areas = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(dim=1)
    areas = areas + (targets[:, 2:] - targets[:, :2]).prod(dim=1)
    hull = torch.max(boxes[:, 2:], targets[:, 2:]) - torch.min(boxes[:, :2], targets[:, :2])
    apart = (boxes[:, :2] + boxes[:, 2:] - targets[:, :2] - targets[:, 2:]) / 2
    far = apart.square().sum(dim=1) / hull.square().sum(dim=1).clamp(min=1e-6)
    return both / (areas - both).clamp(min=1e-6), far
