"""Perspective: the four corners move inwards by different random amounts."""

from __future__ import annotations

import torch
from torch import Tensor

from pocketlens.augment._apply import apply_where
from pocketlens.augment._geometry import Fill, warp
from pocketlens.augment._ranges import check_fill, check_range, whether
from pocketlens.draws import Draws


def perspective(
    images: Tensor, targets: Tensor, draws: Draws, *, distortion: float = 0.5, p: float = 0.5, fill: Fill = 0.0
) -> tuple[Tensor, Tensor]:
    """Moves each corner by 0 to `distortion` times half the width and height, in whole px, with probability `p`.

    Above a distortion of 0.6 the corners could form a shape that folds over; in images below 12 px each moves by less
    than a third of the side for the same reason. What comes in from outside is `fill`: a number in 0..1, 'edge' or
    'reflect'.
    """
    check_range("perspective", "distortion", distortion, 0, 0.6)
    check_range("perspective", "p", p, 0, 1)
    check_fill("perspective", fill)
    height, width = images.shape[2:]
    most_y, most_x = (min(int(distortion * half), (2 * half - 2) // 3) for half in (height // 2, width // 2))
    x, y = draws.integers("x", 0, max(most_x, 0), 4), draws.integers("y", 0, max(most_y, 0), 4)  # (B, 4) int64
    inwards = torch.stack((x, y), -1)  # (B, 4, 2)
    start = inwards.new_tensor([[0, 0], [width, 0], [width, height], [0, height]])
    sign = inwards.new_tensor([[1, 1], [-1, 1], [-1, -1], [1, -1]])
    corners = (start + sign * inwards).float()
    return apply_where(images, whether(draws, p), lambda part, to: warp(part, to, fill=fill), corners), targets
