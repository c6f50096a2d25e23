"""Muon: steps equally long in all their directions; a net learns in fewer of them than with AdamW."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

POLYNOMIAL = (3.4445, -4.7750, 2.0315)
"""Of the Newton-Schulz iteration; steep at 0, so that five rounds do. Source: Jordan et al., Muon (2024)."""

ROUNDS = 5
"""Of the iteration: singular values end between 0.7 and 1.2. Source: as above."""


class Muon(torch.optim.Optimizer):
    """Momentum whose update is made orthogonal; for weights of two axes or more, taken as matrices."""

    def __init__(
        self, params: Iterable[Any], lr: float = 0.02, momentum: float = 0.95, weight_decay: float = 0.0
    ) -> None:
        """Prepare.

        Args:
            params: Weights of two axes or more.
            lr: Length of a step: of every singular value of the change of a weight.
            momentum: Share of the earlier gradients that is kept (Nesterov's).
            weight_decay: Share of the weights, times `lr`, that a step takes away.
        """
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    def step(self, closure: None = None) -> None:  # type: ignore[override]  # noqa: ARG002 - torch's signature
        """Take one step."""
        with torch.no_grad():
            for group in self.param_groups:
                for weight in group["params"]:
                    if weight.grad is not None:
                        self._move(weight, group)

    def _move(self, weight: Tensor, group: dict[str, Any]) -> None:
        state = self.state[weight]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(weight)
        kept: Tensor = state["momentum"]
        kept.lerp_(weight.grad, 1 - group["momentum"])
        wanted = weight.grad.lerp(kept, group["momentum"]).flatten(1)
        tall = max(1.0, wanted.shape[0] / wanted.shape[1]) ** 0.5
        weight.mul_(1 - group["lr"] * group["weight_decay"])
        weight.add_(orthogonal(wanted).view_as(weight), alpha=-group["lr"] * tall)


def orthogonal(matrix: Tensor) -> Tensor:
    """Return the matrix with all its singular values near 1.

    Args:
        matrix: Shape (a, b).
    """
    a, b, c = POLYNOMIAL
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    x = wide / (wide.norm() + 1e-7)
    for _ in range(ROUNDS):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x if matrix.shape[0] <= matrix.shape[1] else x.T
