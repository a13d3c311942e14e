"""Stochastic depth: in training, residual branches are dropped for some images. Huang et al. 2016, arXiv:1603.09382."""

from __future__ import annotations

import torch
from torch import Tensor


def drop_path(branch: Tensor, drop: float, training: bool) -> Tensor:
    """`branch` (B, ...), set to zero for each image with probability `drop` and scaled up for the others."""
    if not training or not drop:
        return branch
    kept = torch.rand(len(branch), *(1,) * (branch.ndim - 1), device=branch.device) >= drop
    return branch * kept / (1 - drop)


def rising(drop: float, n_blocks: int) -> list[float]:
    """The probabilities of `n_blocks` blocks, which rise linearly from 0 to `drop` in the last one."""
    return [drop * place / max(1, n_blocks - 1) for place in range(n_blocks)]
