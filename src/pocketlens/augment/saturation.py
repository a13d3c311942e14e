"""Saturation: the colours of each image become paler or stronger."""

from __future__ import annotations

from torch import Tensor

from pocketlens.augment._colour import adjust_saturation
from pocketlens.augment._ranges import check_range, factor
from pocketlens.draws import Draws


def saturation(images: Tensor, targets: Tensor, draws: Draws, *, strength: float = 0.4) -> tuple[Tensor, Tensor]:
    """Blends each image with its luminance; its own factor is in 1 - strength .. 1 + strength (not below 0)."""
    check_range("saturation", "strength", strength, 0, 10)
    return adjust_saturation(images, factor(draws, "factor", strength)), targets
