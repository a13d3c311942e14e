"""Invert: the negative of the image."""

from __future__ import annotations

from torch import Tensor

from pocketlens.augment._ranges import check_range, whether
from pocketlens.draws import Draws


def invert(images: Tensor, targets: Tensor, draws: Draws, *, p: float = 0.5) -> tuple[Tensor, Tensor]:
    """Inverts each image with probability `p`."""
    check_range("invert", "p", p, 0, 1)
    chosen = whether(draws, p).float()[:, None, None, None]
    return (images - chosen).abs_(), targets  # |v - 1| or |v - 0|
