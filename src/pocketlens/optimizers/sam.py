"""Sharpness-aware minimisation, after an optimizer: two passes per step. Foret et al. 2021, arXiv:2010.01412."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from pocketlens.errors import check_range
from pocketlens.optimizers._modifier import Modifier


def sam(classifier: nn.Module, *, rho: float = 0.05) -> Modifier:
    """Each step takes the gradients found at the weights moved by `rho` along the gradient (algorithm 1).

    The second pass sees the same batch and the same dropout. The running statistics of batch norm are those of the
    first pass. Loss and accuracy that are shown are the first pass's too. A step costs two.
    """
    check_range("sam", "rho", rho, 0, 100)
    return Sam(classifier, rho)


class Sam(Modifier):
    """Replaces the gradients before each step; remembers nothing."""

    def __init__(self, classifier: nn.Module, rho: float) -> None:
        super().__init__(classifier)
        self.rho = rho

    def before_step(self, step: int, gradients: Callable[[], object]) -> None:  # noqa: ARG002
        """Leaves the gradients of the moved weights, and everything else as it was."""
        moved = [p for p in self.classifier.parameters() if p.grad is not None]
        changed = [*moved, *self.classifier.buffers()]
        kept = [value.detach().clone() for value in changed]
        slopes = [p.grad for p in moved if p.grad is not None]
        with torch.no_grad():
            scale = self.rho / (torch.stack([slope.norm() for slope in slopes]).norm() + 1e-12)
            for parameter, slope in zip(moved, slopes, strict=True):
                parameter.add_(slope * scale)
        try:
            gradients()
        finally:  # the gradients may not be finite, and then the weights must be those before the step
            with torch.no_grad():
                for value, old in zip(changed, kept, strict=True):
                    value.copy_(old)
