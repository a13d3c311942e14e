"""Antialiased bilinear resize to a square or to (height, width)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from pocketlens.errors import PocketlensError


def resize(images: Tensor, *, size: int | tuple[int, int] = 32) -> Tensor:
    """(B, C, H, W) to (B, C, size, size), or to `size` = (height, width), in px."""
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width) < 1:
        raise PocketlensError(f"resize: size must be 1 px or more, got {size}.")
    if images.shape[2:] == (height, width):
        return images
    return F.interpolate(images, (height, width), mode="bilinear", align_corners=False, antialias=True)
