"""A power of the remaining share of steps, after an optional linear warm-up: power 1 is linear decay."""

from __future__ import annotations

from pocketlens.errors import check_above_0, check_range


def polynomial(
    step: int,
    n_steps: int,
    steps_per_epoch: float,
    *,
    power: float = 1.0,
    warmup: float = 0.0,
    end: float = 0.0,
) -> float:
    """From 1 to `end` by (steps left / steps) to the power `power`, after a rise over the fraction `warmup`."""
    check_above_0("polynomial", power=power)
    check_range("polynomial", "warmup", warmup, 0, 1)
    check_range("polynomial", "end", end, 0, 1)
    peak = warmup * n_steps
    if step < peak:
        return (step + 1) / (peak + 1)
    left = (n_steps - step) / max(n_steps - peak, 1.0)
    return end + (1 - end) * float(min(left, 1.0) ** power)
