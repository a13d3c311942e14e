"""RMSprop, torch's: steps divided by the root of the mean squared gradient. Hinton 2012, Coursera lecture 6e."""

from __future__ import annotations

import torch

from pocketlens.errors import check_above_0, check_below_1
from pocketlens.optimizers._groups import Groups, with_rates


def rmsprop(
    groups: Groups,
    lr: float,
    *,
    alpha: float = 0.99,
    momentum: float = 0.0,
    centered: bool = False,
    eps: float = 1e-8,
) -> torch.optim.Optimizer:
    """torch.optim.RMSprop; weight decay is added to the gradient. `alpha` is the average's decay (Keras: 0.9)."""
    check_below_1("rmsprop", alpha=alpha, momentum=momentum)
    check_above_0("rmsprop", eps=eps)
    return torch.optim.RMSprop(
        with_rates(groups, lr), lr=lr, alpha=alpha, momentum=momentum, centered=centered, eps=eps
    )
