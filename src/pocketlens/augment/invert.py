"""Invert: the negative of the image."""

from __future__ import annotations

from torch import Tensor

from pocketlens.augment import _colour
from pocketlens.augment._apply import apply_where
from pocketlens.augment._ranges import check_range, whether
from pocketlens.draws import Draws


def invert(images: Tensor, targets: Tensor, draws: Draws, *, p: float = 0.5) -> tuple[Tensor, Tensor]:
    """Inverts each image with probability `p`."""
    check_range("invert", "p", p, 0, 1)
    return apply_where(images, whether(draws, p), _colour.invert), targets
