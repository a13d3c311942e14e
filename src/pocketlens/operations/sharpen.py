"""Sharpens, or smooths, by the same amount everywhere: Pillow's ImageEnhance.Sharpness without its rounding."""

from __future__ import annotations

from torch import Tensor

from pocketlens.errors import PocketlensError


def sharpen(images: Tensor, *, amount: float = 2.0) -> Tensor:
    """(B, C, H, W) float32 in 0..1, same out: 0 gives the smoothed images, 1 leaves them, 2 adds what smoothing took.

    Raises:
        PocketlensError: the amount is below 0.
    """
    if not isinstance(amount, (int, float)) or isinstance(amount, bool) or amount < 0:
        raise PocketlensError(f"sharpen: amount must be a number of 0 or more, got {amount!r}.")
    return blend_with_smooth(images, amount)


def blend_with_smooth(images: Tensor, amount: Tensor | float) -> Tensor:
    """smooth + amount * (images - smooth), cut to 0..1; `amount` is a number or (B, 1, 1, 1).

    Smooth is the mean over 3 x 3 px with the middle counted five times; the border stays as it is.
    """
    if min(images.shape[2:]) < 3:
        return images
    rows = images[:, :, :-2] + images[:, :, 1:-1] + images[:, :, 2:]  # (B, C, H - 2, W) float32
    middle = images[:, :, 1:-1, 1:-1]
    smooth = (rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:] + 4 * middle) / 13  # (B, C, H - 2, W - 2) float32
    out = images.clone()
    out[:, :, 1:-1, 1:-1] = (middle + (1 - amount) * (smooth - middle)).clamp_(0, 1)
    return out
