"""Rotation, translation, shear and zoom in one transformation, so that the image is interpolated only once."""

from __future__ import annotations

import torch
from torch import Tensor

from pocketlens.augment._geometry import Fill, move, rotation_matrix
from pocketlens.augment._ranges import between, check_fill, check_pair, check_range
from pocketlens.draws import Draws


def affine(
    images: Tensor,
    targets: Tensor,
    draws: Draws,
    *,
    degrees: float = 10.0,
    fraction: float = 0.1,
    shear: float = 5.0,
    low: float = 0.9,
    high: float = 1.1,
    fill: Fill = 0.0,
) -> tuple[Tensor, Tensor]:
    """Turns by up to `degrees`, moves by up to `fraction` of the size, slants by up to `shear` degrees, zooms.

    The four have the ranges of `rotation`, `translation` (here not rounded to whole px), `shear` along x and `zoom`;
    the image is slanted first, then turned and magnified, then moved. What comes in from outside is `fill`: a number
    in 0..1, 'edge' or 'reflect'.
    """
    for option, value, most in (("degrees", degrees, 180), ("fraction", fraction, 1), ("shear", shear, 80)):
        check_range("affine", option, value, 0, most)
    check_pair("affine", "low and high", (low, high), 0.01, 100)
    check_fill("affine", fill)
    most_y, most_x = fraction * images.shape[2], fraction * images.shape[3]  # px
    shift = torch.stack((between(draws, "x", -most_x, most_x), between(draws, "y", -most_y, most_y)), 1)  # (B, 2)
    slant = torch.tan(torch.deg2rad(between(draws, "slant", -shear, shear)))
    turn = rotation_matrix(between(draws, "angle", -degrees, degrees))[:, :, :2]  # (B, 2, 2) float32
    turn = turn / between(draws, "factor", low, high)[:, None, None]
    back = torch.stack((turn[:, 0] + slant[:, None] * turn[:, 1], turn[:, 1]), 1)  # the slant is undone last
    offset = -(back * shift[:, None, :]).sum(2)  # (B, 2) float32
    return move(images, torch.cat((back, offset[:, :, None]), 2), fill=fill), targets
