"""Adam, torch's. Kingma and Ba 2015, arXiv:1412.6980."""

from __future__ import annotations

import torch

from pocketlens.errors import check_above_0, check_below_1
from pocketlens.optimizers._groups import Groups, with_rates


def adam(
    groups: Groups, lr: float, *, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8
) -> torch.optim.Optimizer:
    """torch.optim.Adam; weight decay is added to the gradient."""
    check_below_1("adam", beta1=beta1, beta2=beta2)
    check_above_0("adam", eps=eps)
    return torch.optim.Adam(with_rates(groups, lr), lr=lr, betas=(beta1, beta2), eps=eps)
