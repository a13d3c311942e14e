"""The peak rate throughout, after an optional linear warm-up."""

from __future__ import annotations

from pocketlens.errors import check_range


def constant(step: int, n_steps: int, steps_per_epoch: float, *, warmup: float = 0.0) -> float:
    """1, after a rise over the fraction `warmup` of the steps."""
    check_range("constant", "warmup", warmup, 0, 1)
    return min((step + 1) / (warmup * n_steps + 1), 1.0)
