"""Solarize: all values at or above a threshold are inverted."""

from __future__ import annotations

from torch import Tensor

from pocketlens.augment import _colour
from pocketlens.augment._apply import apply_where
from pocketlens.augment._ranges import check_range, whether
from pocketlens.draws import Draws


def solarize(
    images: Tensor, targets: Tensor, draws: Draws, *, threshold: float = 0.5, p: float = 0.5
) -> tuple[Tensor, Tensor]:
    """Inverts the values that are `threshold` (0..1) or more, with probability `p`."""
    check_range("solarize", "threshold", threshold, 0, 1)
    check_range("solarize", "p", p, 0, 1)
    chosen = whether(draws, p)
    return apply_where(images, chosen, _colour.solarize, images.new_full((len(images),), threshold)), targets
