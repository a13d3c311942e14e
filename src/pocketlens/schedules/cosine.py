"""Cosine from the peak to 0, after an optional linear warm-up. Loshchilov and Hutter 2017, arXiv:1608.03983."""

from __future__ import annotations

import math

from pocketlens.errors import check_range


def cosine(step: int, n_steps: int, steps_per_epoch: float, *, warmup: float = 0.0, end: float = 0.0) -> float:
    """Half a cosine from 1 to `end`, after a rise over the fraction `warmup` of the steps."""
    check_range("cosine", "warmup", warmup, 0, 1)
    check_range("cosine", "end", end, 0, 1)
    peak = warmup * n_steps
    if step < peak:
        return (step + 1) / (peak + 1)
    fraction = (step - peak) / max(n_steps - peak, 1.0)
    return end + (1 - end) * 0.5 * (1 + math.cos(math.pi * fraction))
