"""What mixup and cutmix share: how much of an image stays its own."""

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
    table = _quantiles(alpha).to(draws.rows.device)
    place = draws.uniform("share")[:, 0] * (len(table) - 1)
    low = place.long()
    share = torch.lerp(table[low], table[low + 1], place - low)
    return torch.where(draws.uniform("whether")[:, 0] < p, share, 1.0)


@cache
def _quantiles(alpha: float) -> Tensor:
    """(4097,) float32: the inverse distribution function of Beta(alpha, alpha); a table is equal on every device."""
    return torch.from_numpy(betaincinv(alpha, alpha, torch.linspace(0, 1, 4097, dtype=torch.float64).numpy())).float()
