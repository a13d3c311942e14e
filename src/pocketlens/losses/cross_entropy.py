"""Cross-entropy with label smoothing. Szegedy et al. 2016, arXiv:1512.00567, section 7."""

from __future__ import annotations

from torch import Tensor

from pocketlens.errors import check_range


def cross_entropy(logits: Tensor, targets: Tensor, *, smoothing: float = 0.0) -> Tensor:
    """(B,) float32 from logits (B, K) and targets (B, K) whose rows sum to 1.

    `smoothing` of every target is spread evenly over all K classes.
    """
    check_range("cross_entropy", "smoothing", smoothing, 0, 1)
    logs = logits.float().log_softmax(1)
    own = -(targets * logs).sum(1)
    return own if smoothing == 0 else (1 - smoothing) * own - smoothing * logs.mean(1)
