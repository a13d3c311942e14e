"""Mean squared error between probabilities and targets, the Brier score over K. Brier 1950, Mon. Weather Rev. 78(1)."""

from __future__ import annotations

from torch import Tensor


def mean_squared_error(logits: Tensor, targets: Tensor) -> Tensor:
    """(B,) float32 from logits (B, K) and targets (B, K) whose rows sum to 1: the mean over classes of (p - t)^2."""
    return (logits.float().softmax(1) - targets).square().mean(1)
