"""AutoAugment: each image goes through one of 25 learned pairs of operations. Cubuk et al. 2018, arXiv:1805.09501."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from pocketlens.augment._geometry import Fill
from pocketlens.augment._policy import OPERATIONS, execute, magnitudes, usual_ranges
from pocketlens.augment._ranges import check_fill
from pocketlens.draws import Draws
from pocketlens.errors import PocketlensError, closest

N_LEVELS = 10
# Tables 7 to 9 of the paper: operation, probability, level in 0..9 (0 where there is none); twice on each line.
POLICIES = {
    "cifar10": """
        invert .1 0 contrast .2 6
        rotate .7 2 translate_x .3 9
        sharpness .8 1 sharpness .9 3
        shear_y .5 8 translate_y .7 9
        autocontrast .5 0 equalize .9 0
        shear_y .2 7 posterize .3 7
        colour .4 3 brightness .6 7
        sharpness .3 9 brightness .7 9
        equalize .6 0 equalize .5 0
        contrast .6 7 sharpness .6 5
        colour .7 7 translate_x .5 8
        equalize .3 0 autocontrast .4 0
        translate_y .4 3 sharpness .2 6
        brightness .9 6 colour .2 8
        solarize .5 2 invert 0 0
        equalize .2 0 autocontrast .6 0
        equalize .2 0 equalize .6 0
        colour .9 9 equalize .6 0
        autocontrast .8 0 solarize .2 8
        brightness .1 3 colour .7 0
        solarize .4 5 autocontrast .9 0
        translate_y .9 9 translate_y .7 9
        autocontrast .9 0 solarize .8 3
        equalize .8 0 invert .1 0
        translate_y .7 9 autocontrast .9 0
    """,
    "imagenet": """
        posterize .4 8 rotate .6 9
        solarize .6 5 autocontrast .6 0
        equalize .8 0 equalize .6 0
        posterize .6 7 posterize .6 6
        equalize .4 0 solarize .2 4
        equalize .4 0 rotate .8 8
        solarize .6 3 equalize .6 0
        posterize .8 5 equalize 1 0
        rotate .2 3 solarize .6 8
        equalize .6 0 posterize .4 6
        rotate .8 8 colour .4 0
        rotate .4 9 equalize .6 0
        equalize 0 0 equalize .8 0
        invert .6 0 equalize 1 0
        colour .6 4 contrast 1 8
        rotate .8 8 colour 1 2
        colour .8 8 solarize .8 7
        sharpness .4 7 invert .6 0
        shear_x .6 5 equalize 1 0
        colour .4 0 equalize .6 0
        equalize .4 0 solarize .2 4
        solarize .6 5 autocontrast .6 0
        invert .6 0 equalize 1 0
        colour .6 4 contrast 1 8
        equalize .8 0 equalize .6 0
    """,
    "svhn": """
        shear_x .9 4 invert .2 0
        shear_y .9 8 invert .7 0
        equalize .6 0 solarize .6 6
        invert .9 0 equalize .6 0
        equalize .6 0 rotate .9 3
        shear_x .9 4 autocontrast .8 0
        shear_y .9 8 invert .4 0
        shear_y .9 5 solarize .2 6
        invert .9 0 autocontrast .8 0
        equalize .6 0 rotate .9 3
        shear_x .9 4 solarize .3 3
        shear_y .8 8 invert .7 0
        equalize .9 0 translate_y .6 6
        invert .9 0 equalize .6 0
        contrast .3 3 rotate .8 4
        invert .8 0 translate_y 0 2
        shear_y .7 6 solarize .4 8
        invert .6 0 rotate .8 4
        shear_y .3 7 translate_x .9 3
        shear_x .1 6 invert .6 0
        solarize .7 2 translate_y .6 7
        shear_y .8 4 invert .8 0
        shear_x .7 9 translate_y .8 3
        shear_y .8 5 autocontrast .7 0
        shear_x .7 2 invert .1 0
    """,
}


def autoaugment(
    images: Tensor, targets: Tensor, draws: Draws, *, policy: str = "cifar10", fill: Fill = 0.0
) -> tuple[Tensor, Tensor]:
    """The policy found on 'cifar10', 'imagenet' or 'svhn'; each image has its own pair, chances and directions.

    What comes in from outside is `fill`: a number in 0..1, 'edge' or 'reflect'.
    """
    if policy not in POLICIES:
        raise PocketlensError(f"autoaugment: there is no policy {policy!r}.{closest(str(policy), list(POLICIES))}")
    check_fill("autoaugment", fill)
    operations, chances, levels = (table.to(images.device) for table in _tables(policy))
    pair = draws.integers("pair", 0, len(operations) - 1)[:, 0]  # (B,) int64
    chosen = draws.uniform("whether", 2) < chances[pair]  # (B, 2) bool
    operation = torch.where(chosen, operations[pair], OPERATIONS.index("identity"))
    sizes = (images.shape[2], images.shape[3])
    strength = magnitudes(usual_ranges(sizes), operation, levels[pair], draws.uniform("sign", 2) < 0.5)
    return execute(images, operation, strength, fill=fill), targets


@cache
def _tables(policy: str) -> tuple[Tensor, Tensor, Tensor]:
    """Operations (25, 2) int64, probabilities (25, 2) float32, levels (25, 2) float32 in 0..1."""
    words = [line.split() for line in POLICIES[policy].strip().splitlines()]
    operations = torch.tensor([[OPERATIONS.index(name) for name in line[::3]] for line in words])
    chances = torch.tensor([[float(chance) for chance in line[1::3]] for line in words])
    levels = torch.tensor([[int(level) for level in line[2::3]] for line in words])
    return operations, chances, levels / (N_LEVELS - 1)
