"""Muon: steps along momentum whose matrices are made orthogonal.

Source: Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks".
"""

from collections.abc import Sequence
from typing import Any

import torch


class Muon(torch.optim.Optimizer):
    """Muon in float32, matrices of one shape stacked (torch's own works in bfloat16, one by one)."""

    def __init__(self, matrices: Sequence[torch.nn.Parameter], rate: float, momentum: float = 0.95, decay: float = 0.01) -> None:
        super().__init__(list(matrices), {"lr": rate})
        self._momentum, self._decay = momentum, decay
        self._groups: dict[tuple[int, ...], list[torch.nn.Parameter]] = {}
        for matrix in matrices:
            self._groups.setdefault(tuple(matrix.shape), []).append(matrix)
        self._moments = {shape: torch.zeros(len(group), *shape, device=group[0].device) for shape, group in self._groups.items()}

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Move every matrix along its orthogonalised momentum."""
        rate = self.param_groups[0]["lr"]
        for shape, group in self._groups.items():
            gradients = torch.stack([matrix.grad for matrix in group if matrix.grad is not None])
            moment = self._moments[shape].lerp_(gradients, 1 - self._momentum)
            update = _orthogonal(gradients.lerp(moment, self._momentum)) * max(1.0, shape[0] / shape[1]) ** 0.5
            for matrix, change in zip(group, update.unbind(), strict=True):
                matrix.mul_(1 - rate * self._decay).add_(change, alpha=-rate)


def _orthogonal(stack: torch.Tensor) -> torch.Tensor:
    """Newton-Schulz iteration towards the nearest orthogonal matrix; its coefficients are Muon's."""
    stands = stack.shape[1] > stack.shape[2]
    found: torch.Tensor = stack.mT if stands else stack
    found = found / (found.flatten(1).norm(dim=1)[:, None, None] + 1e-7)
    for _ in range(5):
        square = found @ found.mT
        found = 3.4445 * found + (-4.7750 * square + 2.0315 * square @ square) @ found
    return found.mT if stands else found
