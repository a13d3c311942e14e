"""Cutout: a square of every image is painted grey. DeVries and Taylor 2017, arXiv:1708.04552."""

from __future__ import annotations

import torch
from torch import Tensor

from pocketlens.draws import Draws


def cutout(
    images: Tensor, targets: Tensor, draws: Draws, *, size: int = 8, p: float = 1.0, fill: float = 0.5
) -> tuple[Tensor, Tensor]:
    """Paints a `size` x `size` px square around a random centre with `fill` (0..1); it may reach over the border."""
    height, width = images.shape[2:]
    centre = draws.uniform("centre", 2)  # (B, 2) float32
    top = (centre[:, 0] * height).floor() - size // 2
    left = (centre[:, 1] * width).floor() - size // 2
    y = torch.arange(height, device=images.device) - top[:, None]  # (B, H)
    x = torch.arange(width, device=images.device) - left[:, None]  # (B, W)
    inside = ((y >= 0) & (y < size))[:, :, None] & ((x >= 0) & (x < size))[:, None, :]  # (B, H, W) bool
    inside &= (draws.uniform("whether") < p)[:, :, None]
    return torch.where(inside[:, None], fill, images), targets
