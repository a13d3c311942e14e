"""Hue: the hues of each image are rotated around the colour circle."""

from __future__ import annotations

from torch import Tensor

from pocketlens.augment._colour import rotate_hue
from pocketlens.augment._ranges import between, check_range
from pocketlens.draws import Draws


def hue(images: Tensor, targets: Tensor, draws: Draws, *, strength: float = 0.1) -> tuple[Tensor, Tensor]:
    """Turns the hue by -strength .. strength, where 0.5 is half a turn: every colour becomes its complement."""
    check_range("hue", "strength", strength, 0, 0.5)
    return rotate_hue(images, between(draws, "turns", -strength, strength)), targets
