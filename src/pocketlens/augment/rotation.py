"""Rotation around the centre by a random angle."""

from __future__ import annotations

from torch import Tensor

from pocketlens.augment._apply import apply_where
from pocketlens.augment._geometry import Fill, rotate
from pocketlens.augment._ranges import between, check_fill, check_range, whether
from pocketlens.draws import Draws


def rotation(
    images: Tensor, targets: Tensor, draws: Draws, *, degrees: float = 15.0, p: float = 1.0, fill: Fill = 0.0
) -> tuple[Tensor, Tensor]:
    """Turns each image by an angle in -degrees .. degrees, with probability `p`.

    What comes in from outside is `fill`: a number in 0..1, 'edge' or 'reflect'.
    """
    check_range("rotation", "degrees", degrees, 0, 180)
    check_range("rotation", "p", p, 0, 1)
    check_fill("rotation", fill)
    angle = between(draws, "angle", -degrees, degrees)
    return apply_where(images, whether(draws, p), lambda part, by: rotate(part, by, fill=fill), angle), targets
