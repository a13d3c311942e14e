"""Horizontal flip, by default alternating: an image that is flipped in one epoch is not flipped in the next.

Source of the alternation: Jordan 2024, "94% on CIFAR-10 in 3.29 seconds", arXiv:2404.00498, section 3.6.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pocketlens.draws import Draws


def flip(
    images: Tensor, targets: Tensor, draws: Draws, *, p: float = 0.5, alternate: bool = True
) -> tuple[Tensor, Tensor]:
    """Mirrors left and right: each image in every other epoch, or, with alternate=False, with probability `p`.

    With `alternate` a random half (a fraction `p`) is mirrored in even epochs and the rest in odd ones.
    """
    chance = (draws.fixed("half") if alternate else draws.uniform("side"))[:, 0]  # (B,) float32
    mirrored = (chance < p) ^ (alternate and draws.epoch % 2 == 1)  # (B,) bool
    if images.is_cuda:  # the row numbers below would have to come to the host, and every step would wait for the GPU
        return torch.where(mirrored[:, None, None, None], images.flip(3), images), targets
    rows, out = mirrored.nonzero()[:, 0], images.clone()
    if images.is_contiguous():
        out.index_copy_(0, rows, images.index_select(0, rows).flip(3))
    else:  # (B, H, W, C) in memory, as training has them: whole images are copied fastest as they lie
        part = images.permute(0, 2, 3, 1).index_select(0, rows)  # (rows, H, W, C) float32
        out.permute(0, 2, 3, 1).index_copy_(0, rows, part.flip(2))
    return out, targets
