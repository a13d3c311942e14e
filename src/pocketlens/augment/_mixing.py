"""What the methods that mix images share: shares drawn from a beta distribution."""

from __future__ import annotations

from functools import cache

import torch
from scipy.special import betaincinv
from torch import Tensor

from pocketlens.draws import Draws
from pocketlens.errors import PocketlensError


def own_share(draws: Draws, alpha: float, p: float) -> Tensor:
    """(B,) float32: each image's own share, drawn from Beta(alpha, alpha) with probability `p`, else 1."""
    if alpha <= 0 or not 0 <= p <= 1:
        raise PocketlensError(f"{draws.name.strip('/')}: alpha must be above 0 and p in 0..1, got {alpha}, {p}.")
    share = beta(draws.uniform("share")[:, 0], alpha, alpha)
    return torch.where(draws.uniform("whether")[:, 0] < p, share, 1.0)


def beta(uniform: Tensor, a: float, b: float) -> Tensor:
    """Numbers from Beta(a, b), float32, made of uniform ones in 0..1."""
    table = _quantiles(a, b).to(uniform.device)
    place = uniform * (len(table) - 1)
    low = place.long()
    return torch.lerp(table[low], table[low + 1], place - low)


@cache
def _quantiles(a: float, b: float) -> Tensor:
    """(4097,) float32: the inverse distribution function of Beta(a, b); a table is equal on every device."""
    return torch.from_numpy(betaincinv(a, b, torch.linspace(0, 1, 4097, dtype=torch.float64).numpy())).float()
