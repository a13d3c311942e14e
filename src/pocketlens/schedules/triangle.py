"""Linear warm-up to the peak, then linear to 0. Smith and Topin 2018, "Super-convergence", arXiv:1708.07120."""

from __future__ import annotations

from pocketlens.errors import check_range


def triangle(step: int, n_steps: int, steps_per_epoch: float, *, warmup: float = 0.25) -> float:
    """Rises over the fraction `warmup` of the steps and falls over the rest; the first and last are above 0."""
    check_range("triangle", "warmup", warmup, 0, 1)
    peak = warmup * n_steps
    return min((step + 1) / (peak + 1), (n_steps - step) / max(n_steps - peak, 1.0), 1.0)
