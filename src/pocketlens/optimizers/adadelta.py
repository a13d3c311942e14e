"""Adadelta, torch's: steps in the units of the weights, usually at lr 1. Zeiler 2012, arXiv:1212.5701."""

from __future__ import annotations

import torch

from pocketlens.errors import check_above_0, check_below_1
from pocketlens.optimizers._groups import Groups, with_rates


def adadelta(groups: Groups, lr: float, *, rho: float = 0.9, eps: float = 1e-6) -> torch.optim.Optimizer:
    """torch.optim.Adadelta; weight decay is added to the gradient. `rho` is the averages' decay (Keras: 0.95)."""
    check_below_1("adadelta", rho=rho)
    check_above_0("adadelta", eps=eps)
    return torch.optim.Adadelta(with_rates(groups, lr), lr=lr, rho=rho, eps=eps)
