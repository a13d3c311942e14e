"""Colour jitter: brightness, contrast, saturation and hue, in a random order for every image."""

from __future__ import annotations

import torch
from torch import Tensor

from pocketlens.augment._apply import apply_each
from pocketlens.augment._colour import adjust_brightness, adjust_contrast, adjust_saturation, rotate_hue
from pocketlens.augment._ranges import between, check_range, factor
from pocketlens.draws import Draws


def colour_jitter(
    images: Tensor,
    targets: Tensor,
    draws: Draws,
    *,
    brightness: float = 0.4,
    contrast: float = 0.4,
    saturation: float = 0.4,
    hue: float = 0.1,
) -> tuple[Tensor, Tensor]:
    """Each with its own draw in the range that the augmentation of its name has; 0 leaves it out."""
    given = {"brightness": brightness, "contrast": contrast, "saturation": saturation}
    for option, value in given.items():
        check_range("colour_jitter", option, value, 0, 10)
    check_range("colour_jitter", "hue", hue, 0, 0.5)
    factors = [factor(draws, option, value) for option, value in given.items()]
    strengths = torch.stack([*factors, between(draws, "hue", -hue, hue)], 1)  # (B, 4) float32
    works = (adjust_brightness, adjust_contrast, adjust_saturation, rotate_hue)
    wanted = [work if value else None for work, value in zip(works, (*given.values(), hue), strict=True)]
    order = draws.uniform("order", 4).argsort(1)  # (B, 4) int64: all 24 orders alike
    return apply_each(images, order, strengths.gather(1, order), wanted), targets
