"""Cosine with warm restarts (SGDR): each period falls from the peak. Loshchilov and Hutter 2017.

Source: arXiv:1608.03983, equation 5; torch's CosineAnnealingWarmRestarts, step by step.
"""

from __future__ import annotations

import math

from pocketlens.errors import PocketlensError, check_range


def warm_restarts(
    step: int,
    n_steps: int,
    steps_per_epoch: float,
    *,
    first: float = 10.0,
    factor: float = 2.0,
    end: float = 0.0,
) -> float:
    """Half a cosine from 1 to `end` over `first` epochs; each next period is `factor` times as long.

    Training ends within a period unless its epochs are a sum of periods: `first`, `first` * (1 + `factor`), ...

    Raises:
        PocketlensError: `first` is not above 0, or `factor` is below 1.
    """
    check_range("warm_restarts", "end", end, 0, 1)
    if not (first > 0 and factor >= 1):
        raise PocketlensError(
            f"warm_restarts: first must be above 0 epochs and factor at least 1, got {first!r} and {factor!r}."
        )
    since, period = float(step), first * steps_per_epoch
    while since >= period:
        since, period = since - period, period * factor
    return end + (1 - end) * 0.5 * (1 + math.cos(math.pi * since / period))
