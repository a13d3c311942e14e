"""Random crop of a padded image: every image is shifted by up to `pad` pixels in both directions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from pocketlens.draws import Draws
from pocketlens.errors import PocketlensError


def crop(
    images: Tensor, targets: Tensor, draws: Draws, *, pad: int = 2, mode: str = "reflect"
) -> tuple[Tensor, Tensor]:
    """Pads by `pad` pixels on every side (`mode` reflect, replicate or zero) and cuts the old size out at random.

    Raises:
        PocketlensError: the mode is unknown, or the images are too small to be padded by reflection.
    """
    height, width = images.shape[2:]
    if mode not in ("reflect", "replicate", "zero") or pad < 0:
        raise PocketlensError(f"crop: mode must be reflect, replicate or zero and pad 0 or more, got {mode!r}, {pad}.")
    if mode == "reflect" and pad >= min(height, width):
        raise PocketlensError(f"crop: pad must be below the image size {min(height, width)} px, got {pad}.")
    padded = F.pad(images, (pad,) * 4, mode="constant" if mode == "zero" else mode)
    shifts = draws.integers("shift", 0, 2 * pad, 2)  # (B, 2) int64
    y = shifts[:, :1] + torch.arange(height, device=images.device)  # (B, H)
    x = shifts[:, 1:] + torch.arange(width, device=images.device)  # (B, W)
    image = torch.arange(len(images), device=images.device)[:, None, None]
    cut = padded.permute(0, 2, 3, 1)[image, y[:, :, None], x[:, None, :]]  # (B, H, W, C) float32
    return cut.permute(0, 3, 1, 2), targets
