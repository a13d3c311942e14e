"""Brightness: each image is made darker or brighter."""

from __future__ import annotations

from torch import Tensor

from pocketlens.augment._colour import adjust_brightness
from pocketlens.augment._ranges import check_range, factor
from pocketlens.draws import Draws


def brightness(images: Tensor, targets: Tensor, draws: Draws, *, strength: float = 0.4) -> tuple[Tensor, Tensor]:
    """Multiplies each image by a factor in 1 - strength .. 1 + strength (not below 0)."""
    check_range("brightness", "strength", strength, 0, 10)
    return adjust_brightness(images, factor(draws, "factor", strength)), targets
