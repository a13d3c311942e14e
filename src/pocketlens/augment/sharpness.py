"""Sharpness: some images are sharpened, or smoothed."""

from __future__ import annotations

from torch import Tensor

from pocketlens.augment._apply import apply_where
from pocketlens.augment._colour import adjust_sharpness
from pocketlens.augment._ranges import check_range, whether
from pocketlens.draws import Draws


def sharpness(
    images: Tensor, targets: Tensor, draws: Draws, *, factor: float = 2.0, p: float = 0.5
) -> tuple[Tensor, Tensor]:
    """Sharpens (`factor` above 1) or smooths (below 1) with probability `p`; 0 is fully smoothed."""
    check_range("sharpness", "factor", factor, 0, 10)
    check_range("sharpness", "p", p, 0, 1)
    return apply_where(images, whether(draws, p), adjust_sharpness, images.new_full((len(images),), factor)), targets
