"""CutMix: a box of each image is replaced by the same box of another. Yun et al. 2019, arXiv:1905.04899."""

from __future__ import annotations

import torch
from torch import Tensor

from pocketlens.augment._mixing import own_share
from pocketlens.draws import Draws


def cutmix(
    images: Tensor, targets: Tensor, draws: Draws, *, alpha: float = 1.0, p: float = 1.0, until: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Pastes a box from a partner of the batch; targets are mixed by the area that was really pasted.

    The box covers a share of the image drawn from Beta(alpha, alpha). From the fraction `until` of the training on,
    images are left alone.
    """
    if draws.progress >= until:
        return images, targets
    height, width = images.shape[2:]
    side = (1 - own_share(draws, alpha, p)).sqrt()[:, None]  # (B, 1): side of the box as a share of the image's
    centre = draws.uniform("centre", 2)
    size = torch.tensor([height, width], dtype=torch.float32, device=images.device)
    low = ((centre - side / 2) * size).round().clamp(min=0)  # (B, 2) float32
    high = torch.minimum(((centre + side / 2) * size).round(), size)
    y = torch.arange(height, device=images.device)
    x = torch.arange(width, device=images.device)
    rows = (y >= low[:, :1]) & (y < high[:, :1])  # (B, H) bool
    columns = (x >= low[:, 1:]) & (x < high[:, 1:])  # (B, W) bool
    box = rows[:, :, None] & columns[:, None, :]  # (B, H, W) bool
    partner = draws.partners("partner")
    own = 1 - box.float().mean((1, 2))[:, None]  # (B, 1) float32
    mixed = torch.where(box[:, None], images[partner], images)
    return mixed, targets * own + targets[partner] * (1 - own)
