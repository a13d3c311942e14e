"""Posterize: fewer levels of brightness in each channel."""

from __future__ import annotations

from torch import Tensor

from pocketlens.augment import _colour
from pocketlens.augment._apply import apply_where
from pocketlens.augment._ranges import check_range, check_whole, whether
from pocketlens.draws import Draws


def posterize(images: Tensor, targets: Tensor, draws: Draws, *, bits: int = 4, p: float = 0.5) -> tuple[Tensor, Tensor]:
    """Keeps the upper `bits` (1..8) of the 8 of each value, with probability `p`."""
    check_whole("posterize", "bits", bits, 1, 8)
    check_range("posterize", "p", p, 0, 1)
    return apply_where(images, whether(draws, p), _colour.posterize, images.new_full((len(images),), bits)), targets
