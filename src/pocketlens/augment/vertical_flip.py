"""Vertical flip: some images are mirrored top to bottom."""

from __future__ import annotations

from torch import Tensor

from pocketlens.augment._apply import apply_where
from pocketlens.augment._ranges import check_range, whether
from pocketlens.draws import Draws


def vertical_flip(images: Tensor, targets: Tensor, draws: Draws, *, p: float = 0.5) -> tuple[Tensor, Tensor]:
    """Mirrors top and bottom with probability `p`."""
    check_range("vertical_flip", "p", p, 0, 1)
    return apply_where(images, whether(draws, p), lambda chosen: chosen.flip(2)), targets
