"""Adagrad, torch's: rates that shrink with the sum of squared gradients. Duchi et al. 2011, JMLR 12, 2121-2159."""

from __future__ import annotations

import torch

from pocketlens.errors import check_above_0, check_range
from pocketlens.optimizers._groups import Groups, with_rates


def adagrad(
    groups: Groups, lr: float, *, lr_decay: float = 0.0, start: float = 0.0, eps: float = 1e-10
) -> torch.optim.Optimizer:
    """torch.optim.Adagrad; weight decay is added to the gradient. The sums of squares begin at `start` (Keras: 0.1)."""
    check_range("adagrad", "lr_decay", lr_decay, 0, 1000)
    check_range("adagrad", "start", start, 0, 1000)
    check_above_0("adagrad", eps=eps)
    return torch.optim.Adagrad(
        with_rates(groups, lr), lr=lr, lr_decay=lr_decay, initial_accumulator_value=start, eps=eps
    )
