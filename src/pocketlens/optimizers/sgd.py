"""Stochastic gradient descent with (Nesterov) momentum, torch's."""

from __future__ import annotations

import torch

from pocketlens.errors import check_below_1
from pocketlens.optimizers._groups import Groups, with_rates


def sgd(groups: Groups, lr: float, *, momentum: float = 0.9, nesterov: bool = True) -> torch.optim.Optimizer:
    """torch.optim.SGD; weight decay is added to the gradient."""
    check_below_1("sgd", momentum=momentum)
    return torch.optim.SGD(with_rates(groups, lr), lr=lr, momentum=momentum, nesterov=nesterov and momentum > 0)
