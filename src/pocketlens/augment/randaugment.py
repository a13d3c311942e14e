"""RandAugment: n operations at random, all at one magnitude. Cubuk et al. 2019, arXiv:1909.13719."""

from __future__ import annotations

from torch import Tensor

from pocketlens.augment._geometry import Fill
from pocketlens.augment._policy import OPERATIONS, execute, magnitudes, usual_ranges
from pocketlens.augment._ranges import check_fill, check_whole
from pocketlens.draws import Draws

HIGHEST = 30
N_OPERATIONS = len(OPERATIONS) - 1  # the first 14: all but invert


def randaugment(
    images: Tensor, targets: Tensor, draws: Draws, *, n: int = 2, m: int = 9, fill: Fill = 0.0
) -> tuple[Tensor, Tensor]:
    """`n` of 14 operations (one of them does nothing), one after the other, at magnitude `m` of 0..30.

    What comes in from outside is `fill`: a number in 0..1, 'edge' or 'reflect'.
    """
    check_whole("randaugment", "n", n, 1, 14)
    check_whole("randaugment", "m", m, 0, HIGHEST)
    check_fill("randaugment", fill)
    operation = draws.integers("operation", 0, N_OPERATIONS - 1, n)  # (B, n) int64
    level = images.new_full(operation.shape, m / HIGHEST)
    ranges = usual_ranges((images.shape[2], images.shape[3]))
    strength = magnitudes(ranges, operation, level, draws.uniform("sign", n) < 0.5)  # (B, n) float32
    return execute(images, operation, strength, fill=fill), targets
