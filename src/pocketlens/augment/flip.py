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
    return torch.where(mirrored[:, None, None, None], images.flip(-1), images), targets
