"""Lookahead, after an optimizer: slow weights that follow the fast ones. Zhang et al. 2019, arXiv:1907.08610."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from pocketlens.errors import check_range, check_whole
from pocketlens.optimizers._modifier import Modifier


def lookahead(classifier: nn.Module, *, k: int = 5, alpha: float = 0.5) -> Modifier:
    """Every `k` steps the slow weights go the share `alpha` of the way to the fast ones, which go on from there.

    The optimizer's own state stays as it is (the paper's default). The slow weights are validated and are the result,
    with the running statistics of batch norm as they stand.
    """
    check_whole("lookahead", "k", k, 1, 1_000_000)
    check_range("lookahead", "alpha", alpha, 0, 1)
    return Lookahead(classifier, k, alpha)


class Lookahead(Modifier):
    """Remembers the slow weights."""

    def __init__(self, classifier: nn.Module, k: int, alpha: float) -> None:
        super().__init__(classifier)
        self.k, self.alpha = k, alpha
        self.fast = {name: p for name, p in classifier.named_parameters() if p.requires_grad}
        self.memory = {name: parameter.detach().clone() for name, parameter in self.fast.items()}

    def before_step(self, step: int, gradients: Callable[[], object]) -> None:  # noqa: ARG002
        """Takes the slow weights from where training begins, behind a warm start."""
        if step == 0:
            for name, parameter in self.fast.items():
                self.memory[name].copy_(parameter.detach())

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        """Brings slow and fast weights together after every k-th step."""
        if step % self.k == 0:
            for name, parameter in self.fast.items():
                parameter.copy_(self.memory[name].lerp_(parameter, self.alpha))
