"""AdamW, torch's: Adam with decoupled weight decay. Loshchilov and Hutter 2019, arXiv:1711.05101."""

from __future__ import annotations

import torch

from pocketlens.errors import check_above_0, check_below_1
from pocketlens.optimizers._groups import Groups, with_rates


def adamw(
    groups: Groups, lr: float, *, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8
) -> torch.optim.Optimizer:
    """torch.optim.AdamW; weights shrink by lr times weight decay in each step."""
    check_below_1("adamw", beta1=beta1, beta2=beta2)
    check_above_0("adamw", eps=eps)
    return torch.optim.AdamW(with_rates(groups, lr), lr=lr, betas=(beta1, beta2), eps=eps)
