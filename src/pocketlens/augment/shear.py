"""Shear: the image is slanted sideways by a random angle."""

from __future__ import annotations

import torch
from torch import Tensor

from pocketlens.augment import _geometry
from pocketlens.augment._geometry import Fill
from pocketlens.augment._ranges import between, check_fill, check_range
from pocketlens.draws import Draws
from pocketlens.errors import PocketlensError


def shear(
    images: Tensor, targets: Tensor, draws: Draws, *, degrees: float = 10.0, axis: str = "x", fill: Fill = 0.0
) -> tuple[Tensor, Tensor]:
    """Slants each image by an angle in -degrees .. degrees along `axis`: 'x', 'y' or 'both', each with its own angle.

    What comes in from outside is `fill`: a number in 0..1, 'edge' or 'reflect'.
    """
    check_range("shear", "degrees", degrees, 0, 80)
    check_fill("shear", fill)
    if axis not in ("x", "y", "both"):
        raise PocketlensError(f"shear: axis must be 'x', 'y' or 'both', got {axis!r}.")
    x, y = (torch.tan(torch.deg2rad(between(draws, name, -degrees, degrees))) for name in ("x", "y"))
    x, y = x * (axis != "y"), y * (axis != "x")
    return _geometry.shear(images, x, y, fill=fill), targets
