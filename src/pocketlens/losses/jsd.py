"""Jensen-Shannon consistency of several views of an image, for AugMix. Hendrycks et al. 2020, arXiv:1912.02781."""

from __future__ import annotations

from torch import Tensor

from pocketlens.errors import check_range, check_whole
from pocketlens.losses.cross_entropy import cross_entropy


def jsd(logits: Tensor, targets: Tensor, *, views: int = 3, weight: float = 12.0, smoothing: float = 0.0) -> Tensor:
    """(B,) float32 from logits (V, B, K) of `views` views and targets (B, K): cross-entropy of the first view, plus
    `weight` times the Jensen-Shannon divergence of the views' probabilities (equations 1 and 2).

    The loop makes the views: all share the draws of every augmentation but the last, which the first view goes
    without. So `flip | crop(pad=4) | augmix` gives the paper's: one view flipped and cropped, the others that same
    view after AugMix, each with its own draw. A step computes `views` times as many images. Batch norm sees all views
    together, as in the paper's program.
    """
    check_whole("jsd", "views", views, 2, 10)
    check_range("jsd", "weight", weight, 0, 1000)
    logs = logits.float().log_softmax(2)  # (V, B, K)
    probabilities = logs.exp()
    mixture = probabilities.mean(0).clamp(1e-7, 1).log()  # (B, K); the bound is the paper's program's
    divergences = (probabilities * (logs - mixture)).sum(2)  # (V, B), Kullback-Leibler from each view to the mixture
    return cross_entropy(logits[0], targets, smoothing=smoothing) + weight * divergences.mean(0)
