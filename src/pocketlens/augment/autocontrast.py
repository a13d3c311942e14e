"""Autocontrast: each channel is stretched to the full range."""

from __future__ import annotations

from torch import Tensor

from pocketlens.augment._apply import apply_where
from pocketlens.augment._colour import stretch_contrast
from pocketlens.augment._ranges import check_range, whether
from pocketlens.draws import Draws


def autocontrast(images: Tensor, targets: Tensor, draws: Draws, *, p: float = 0.5) -> tuple[Tensor, Tensor]:
    """Makes the darkest value of each channel 0 and the brightest 1, with probability `p`."""
    check_range("autocontrast", "p", p, 0, 1)
    return apply_where(images, whether(draws, p), stretch_contrast), targets
