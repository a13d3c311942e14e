"""Mixup: images and targets are averaged in pairs. Zhang et al. 2018, arXiv:1710.09412."""

from __future__ import annotations

from torch import Tensor

from pocketlens.augment._mixing import own_share
from pocketlens.draws import Draws


def mixup(
    images: Tensor, targets: Tensor, draws: Draws, *, alpha: float = 0.2, p: float = 1.0, until: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Mixes each image with a partner from the batch, its own share drawn from Beta(alpha, alpha).

    From the fraction `until` of the training on, images are left alone.
    """
    if draws.progress >= until:
        return images, targets
    share = own_share(draws, alpha, p)  # (B,) float32
    partner = draws.partners("partner")
    by_image = share[:, None, None, None]
    mixed = images * by_image + images[partner] * (1 - by_image)
    return mixed, targets * share[:, None] + targets[partner] * (1 - share[:, None])
