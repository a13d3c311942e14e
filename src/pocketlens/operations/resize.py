"""Antialiased resize to a square or to (height, width), bilinear or bicubic."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from pocketlens.errors import PocketlensError


def resize(images: Tensor, *, size: int | tuple[int, int] = 32, filter: str = "bilinear") -> Tensor:
    """(B, C, H, W) to (B, C, size, size), or to `size` = (height, width), in px; bicubic results are cut to 0..1."""
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width) < 1:
        raise PocketlensError(f"resize: size must be 1 px or more, got {size}.")
    if filter not in ("bilinear", "bicubic"):
        raise PocketlensError(f"resize: filter must be bilinear or bicubic, got {filter!r}.")
    if images.shape[2:] == (height, width):
        return images
    resized = F.interpolate(images, (height, width), mode=filter, align_corners=False, antialias=True)
    return resized.clamp(0, 1) if filter == "bicubic" else resized
