"""AdamW, torch's: Adam with decoupled weight decay. Loshchilov and Hutter 2019, arXiv:1711.05101."""

from __future__ import annotations

import torch

from pocketlens.optimizers._groups import Groups, with_rates


def adamw(
    groups: Groups, lr: float, *, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8
) -> torch.optim.Optimizer:
    """torch.optim.AdamW; weights shrink by lr times weight decay in each step."""
    return torch.optim.AdamW(with_rates(groups, lr), lr=lr, betas=(beta1, beta2), eps=eps)
