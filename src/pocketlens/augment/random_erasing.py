"""Random erasing: a random box of some images is painted over. Zhong et al. 2017, arXiv:1708.04896."""

from __future__ import annotations

import torch
from torch import Tensor

from pocketlens.augment._boxes import draw_boxes
from pocketlens.augment._ranges import check_pair, check_range, whether
from pocketlens.draws import Draws
from pocketlens.errors import PocketlensError


def random_erasing(
    images: Tensor,
    targets: Tensor,
    draws: Draws,
    *,
    p: float = 0.5,
    scale: tuple[float, float] = (0.02, 0.33),
    ratio: tuple[float, float] = (0.3, 3.3),
    fill: float | str = "noise",
) -> tuple[Tensor, Tensor]:
    """Paints a box whose share of the area is uniform in `scale`, its height over its width log-uniform in `ratio`.

    `fill` is 'noise' (every value drawn for itself, what the paper found best) or a number in 0..1. An image in which
    none of ten boxes fits stays as it is.
    """
    check_range("random_erasing", "p", p, 0, 1)
    check_pair("random_erasing", "scale", scale, 0, 1)
    check_pair("random_erasing", "ratio", ratio, 0.01, 100)
    if fill != "noise" and not (isinstance(fill, (int, float)) and 0 <= fill <= 1):
        raise PocketlensError(f"random_erasing: fill must be 'noise' or a number in 0..1, got {fill!r}.")
    top, left, height, width = draw_boxes(draws, (images.shape[2], images.shape[3]), scale, ratio, (0, 0)).unbind(1)
    y = torch.arange(images.shape[2], device=images.device)
    x = torch.arange(images.shape[3], device=images.device)
    rows = (y >= top[:, None]) & (y < (top + height)[:, None])  # (B, H) bool
    columns = (x >= left[:, None]) & (x < (left + width)[:, None])  # (B, W) bool
    box = rows[:, :, None] & columns[:, None, :] & whether(draws, p)[:, None, None]  # (B, H, W) bool
    paint = _noise(draws, images.shape) if isinstance(fill, str) else fill
    return torch.where(box[:, None], paint, images), targets


def _noise(draws: Draws, shape: torch.Size) -> Tensor:
    """(B, C, H, W) float32, every value one of the 256 levels; a draw has 24 bits, enough for three values."""
    n_values = shape[1] * shape[2] * shape[3]
    bits = (draws.uniform("noise", -(-n_values // 3)) * 2**24).int()  # (B, n) int32
    levels = torch.stack((bits & 255, (bits >> 8) & 255, bits >> 16), 2)  # (B, n, 3)
    return (levels.flatten(1)[:, :n_values].float() / 255).view(shape)
