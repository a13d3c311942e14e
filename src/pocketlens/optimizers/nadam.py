"""NAdam, torch's: Adam with Nesterov momentum. Dozat 2016, "Incorporating Nesterov momentum into Adam"."""

from __future__ import annotations

import torch

from pocketlens.errors import check_above_0, check_below_1
from pocketlens.optimizers._groups import Groups, with_rates


def nadam(
    groups: Groups,
    lr: float,
    *,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    momentum_decay: float = 0.004,
) -> torch.optim.Optimizer:
    """torch.optim.NAdam; weight decay is added to the gradient."""
    check_below_1("nadam", beta1=beta1, beta2=beta2, momentum_decay=momentum_decay)
    check_above_0("nadam", eps=eps)
    return torch.optim.NAdam(
        with_rates(groups, lr), lr=lr, betas=(beta1, beta2), eps=eps, momentum_decay=momentum_decay
    )
