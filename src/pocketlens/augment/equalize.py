"""Equalize: the histogram of each channel becomes flat."""

from __future__ import annotations

from torch import Tensor

from pocketlens.augment import _colour
from pocketlens.augment._apply import apply_where
from pocketlens.augment._ranges import check_range, whether
from pocketlens.draws import Draws


def equalize(images: Tensor, targets: Tensor, draws: Draws, *, p: float = 0.5) -> tuple[Tensor, Tensor]:
    """Equalizes the histograms with probability `p`, as Pillow's ImageOps does."""
    check_range("equalize", "p", p, 0, 1)
    return apply_where(images, whether(draws, p), _colour.equalize), targets
