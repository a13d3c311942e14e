"""Step decay: the rate is multiplied by `gamma` every `every` epochs."""

from __future__ import annotations

from pocketlens.errors import check_above_0, check_range


def step(step: int, n_steps: int, steps_per_epoch: float, *, every: float = 10.0, gamma: float = 0.5) -> float:
    """gamma to the power of how many times `every` epochs have passed."""
    check_above_0("step", every=every)
    check_range("step", "gamma", gamma, 0, 1)
    return float(gamma ** int(step / (steps_per_epoch * every)))
