"""TrivialAugment (wide): one operation at a random strength. Mueller and Hutter 2021, arXiv:2103.10158."""

from __future__ import annotations

from torch import Tensor

from pocketlens.augment._geometry import Fill
from pocketlens.augment._policy import OPERATIONS, Ranges, execute, magnitudes
from pocketlens.augment._ranges import check_fill
from pocketlens.draws import Draws

HIGHEST = 30  # strengths are drawn from 31 evenly spaced ones
N_OPERATIONS = len(OPERATIONS) - 1  # the first 14: all but invert
FARTHEST = 32  # px, for images of 32 px and more


def trivialaugment(images: Tensor, targets: Tensor, draws: Draws, *, fill: Fill = 0.0) -> tuple[Tensor, Tensor]:
    """One of 14 operations (one of them does nothing) at a strength drawn from the paper's wide ranges.

    What comes in from outside is `fill`: a number in 0..1, 'edge' or 'reflect'.
    """
    check_fill("trivialaugment", fill)
    operation = draws.integers("operation", 0, N_OPERATIONS - 1)  # (B, 1) int64
    level = draws.integers("level", 0, HIGHEST) / HIGHEST
    farthest = (float(min(FARTHEST, images.shape[2])), float(min(FARTHEST, images.shape[3])))
    ranges = Ranges(0.99, farthest, 135.0, 0.99, (8, 2))
    strength = magnitudes(ranges, operation, level, draws.uniform("sign") < 0.5)  # (B, 1) float32
    return execute(images, operation, strength, fill=fill), targets
