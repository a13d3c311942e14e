"""Contrast: each image is blended with its mean luminance, or moved away from it."""

from __future__ import annotations

from torch import Tensor

from pocketlens.augment._colour import adjust_contrast
from pocketlens.augment._ranges import check_range, factor
from pocketlens.draws import Draws


def contrast(images: Tensor, targets: Tensor, draws: Draws, *, strength: float = 0.4) -> tuple[Tensor, Tensor]:
    """Blends each image with its mean luminance; its own factor is in 1 - strength .. 1 + strength (not below 0)."""
    check_range("contrast", "strength", strength, 0, 10)
    return adjust_contrast(images, factor(draws, "factor", strength)), targets
