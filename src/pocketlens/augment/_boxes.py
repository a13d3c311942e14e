"""Random boxes by area and shape, as random erasing and random resized crop draw them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pocketlens.draws import Draws

N_TRIES = 10


def draw_boxes(
    draws: Draws,
    size: tuple[int, int],
    scale: tuple[float, float],
    ratio: tuple[float, float],
    fallback: tuple[int, int],
) -> Tensor:
    """(B, 4) int64: top, left, height and width in px of a box in an image of `size` = (height, width).

    Its area is a uniform share of the image's in `scale`, its height over its width log-uniform in `ratio`. Of ten
    such boxes the first that fits is taken; where none does, `fallback` = (height, width), in the middle.
    """
    area = size[0] * size[1] * (scale[0] + (scale[1] - scale[0]) * draws.uniform("area", N_TRIES))  # (B, 10)
    low, high = math.log(ratio[0]), math.log(ratio[1])
    shape = (low + (high - low) * draws.uniform("shape", N_TRIES)).exp()
    sides = torch.stack((area * shape, area / shape), -1).sqrt().round()  # (B, 10, 2) float32
    limit = sides.new_tensor(size)
    fits = ((sides >= 1) & (sides <= limit)).all(-1)  # (B, 10)
    first = fits.float().argmax(1)
    box = sides[torch.arange(len(sides), device=sides.device), first]  # (B, 2) float32
    found = fits.any(1, keepdim=True)
    box = torch.where(found, box, box.new_tensor(fallback))
    room = limit - box
    corner = torch.where(found, (draws.uniform("corner", 2) * (room + 1)).floor(), (room / 2).floor())
    return torch.cat((torch.minimum(corner, room), box), 1).long()
