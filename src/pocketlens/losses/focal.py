"""Focal loss: cross-entropy that counts well-classified images less. Lin et al. 2017, arXiv:1708.02002, equation 4."""

from __future__ import annotations

from torch import Tensor

from pocketlens.errors import check_range


def focal(logits: Tensor, targets: Tensor, *, gamma: float = 2.0, smoothing: float = 0.0) -> Tensor:
    """(B,) float32 from logits (B, K) and targets (B, K) whose rows sum to 1: -sum of t (1 - p)^gamma log p.

    `gamma` 0 is cross-entropy. `smoothing` of every target is spread evenly over all K classes.
    """
    check_range("focal", "gamma", gamma, 0, 100)
    check_range("focal", "smoothing", smoothing, 0, 1)
    logs = logits.float().log_softmax(1)
    targets = (1 - smoothing) * targets + smoothing / logits.shape[1]
    if gamma == 0:
        return -(targets * logs).sum(1)
    # A probability that rounds to 1 would give the power's derivative 0 ** (gamma - 1), which is infinite below 1.
    missed = (-logs.expm1()).clamp_min(1e-12)  # (B, K), 1 - p
    return -(targets * missed**gamma * logs).sum(1)
