"""Zoom: each image is enlarged or reduced around its centre."""

from __future__ import annotations

from torch import Tensor

from pocketlens.augment import _geometry
from pocketlens.augment._geometry import Fill
from pocketlens.augment._ranges import between, check_fill, check_pair
from pocketlens.draws import Draws


def zoom(
    images: Tensor, targets: Tensor, draws: Draws, *, low: float = 0.9, high: float = 1.1, fill: Fill = 0.0
) -> tuple[Tensor, Tensor]:
    """Magnifies each image by a factor in low .. high; below 1 it becomes smaller and `fill` stands around it."""
    check_pair("zoom", "low and high", (low, high), 0.01, 100)
    check_fill("zoom", fill)
    return _geometry.zoom(images, between(draws, "factor", low, high), fill=fill), targets
