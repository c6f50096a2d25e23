"""What the detector is trained to make small."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from scripts.train.detector_net import Answers
from scripts.train.detector_targets import IGNORED, STRIDES

BOX_WEIGHT, POINT_WEIGHT, FIELD_WEIGHT = 2.0, 10.0, 10.0
"""Against the score's loss of 1; chosen so that the parts are of like size after a few hundred steps."""

FIELD_REACH = (0.2, 6.0, 40.0)
"""How far about a point the fields are asked for it: share of the face's size, and limits in pixels."""

FIELD_FACE_PX = 36.0
"""Size of the smallest faces that the fields are taught by: smaller ones are answered for at stride 8."""

_POINT_BEND = 0.01
"""Error, as a share of the face's size, below which the loss is quadratic; 1 % is what labels err."""


@dataclass(frozen=True)
class Wanted:
    """What a net should have said about a batch.

    Attributes:
        assigned: Shape (n, a): row of `boxes`, or `NOBODY`, or `IGNORED`.
        boxes: Shape (faces, 4): left, top, right, bottom; all pictures' faces behind one another.
        points: Shape (faces, 5, 2).
        owners: Shape (faces,): which picture each face is in.
    """

    assigned: Tensor
    boxes: Tensor
    points: Tensor
    owners: Tensor


@dataclass(frozen=True)
class Losses:
    """The parts, each per answer or place that is asked for a face."""

    score: Tensor
    box: Tensor
    points: Tensor
    fields: Tensor

    def total(self) -> Tensor:
        """Return the weighted sum."""
        near = FIELD_WEIGHT * self.fields
        return self.score + BOX_WEIGHT * self.box + POINT_WEIGHT * self.points + near


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
        fields=_field_loss(answers.fields, wanted),
    )


def _field_loss(fields: Tensor, wanted: Wanted) -> Tensor:
    """Compare, about every point, what the fields say with where it is; in units of the face's size."""
    sizes = (wanted.boxes[:, 2:] - wanted.boxes[:, :2]).prod(dim=1).sqrt()
    large = sizes >= FIELD_FACE_PX
    sizes, points, owners = sizes[large], wanted.points[large], wanted.owners[large]
    height, width = fields.shape[-2:]
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    places = torch.stack([x, y], dim=-1).to(fields.device).flatten(0, 1) * float(STRIDES[0])
    targets = points[:, :, None] - places
    share, least, most = FIELD_REACH
    reach = (share * sizes).clamp(least, most)
    chosen = targets.norm(dim=-1) <= reach[:, None, None]
    said = fields.reshape(-1, 5, 2, height * width)[owners].transpose(2, 3)
    errors = ((said - targets) / sizes[:, None, None, None])[chosen]
    bent = functional.smooth_l1_loss(errors, torch.zeros_like(errors), beta=_POINT_BEND, reduction="none")
    return bent.mean(dim=1).sum() / max(1, int(errors.shape[0]))


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
