"""The peak rate throughout, after an optional linear warm-up."""

from __future__ import annotations


def constant(step: int, n_steps: int, steps_per_epoch: float, *, warmup: float = 0.0) -> float:
    """1, after a rise over the fraction `warmup` of the steps."""
    return min((step + 1) / (warmup * n_steps + 1), 1.0)
