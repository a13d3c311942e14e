"""What the augmentation policies share: fifteen operations with magnitudes, each image with its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pocketlens.augment import _colour as colour
from pocketlens.augment import _geometry as geometry
from pocketlens.augment._apply import apply_each
from pocketlens.augment._geometry import Fill

OPERATIONS = (
    "identity", "shear_x", "shear_y", "translate_x", "translate_y", "rotate", "brightness", "colour", "contrast",
    "sharpness", "posterize", "solarize", "autocontrast", "equalize", "invert",
)  # fmt: skip
SIGNED = OPERATIONS[1:10]  # these go both ways, with a random sign


@dataclass(frozen=True)
class Ranges:
    """The magnitudes at the strongest level; the weakest changes nothing, but for posterize."""

    shear: float  # px sideways for each px down
    translate: tuple[float, float]  # px down and sideways
    rotate: float  # degrees
    enhance: float  # brightness, colour, contrast and sharpness: factor 1 - enhance .. 1 + enhance
    bits: tuple[int, int]  # posterize: at the weakest and the strongest level
    cut_off: bool = False  # angles and lost bits are cut off to whole numbers, not rounded


def usual_ranges(size: tuple[int, int]) -> Ranges:
    """The ranges of AutoAugment, table 6 of arXiv:1805.09501, which RandAugment shares; `size` = (height, width).

    A translation is up to 150 px of an image of 331 px there, and the same share of the side here.
    """
    return Ranges(0.3, (150 / 331 * size[0], 150 / 331 * size[1]), 30.0, 0.9, (8, 4))


def magnitudes(ranges: Ranges, operation: Tensor, level: Tensor, sign: Tensor) -> Tensor:
    """The strength of each image's operation, float32; all arguments are alike in shape.

    `operation` is int64, an index of OPERATIONS; `level` float32 in 0..1; `sign` bool, true for the other direction.
    """
    at_0, at_1 = dict.fromkeys(OPERATIONS, 0.0), dict.fromkeys(OPERATIONS, 0.0)
    at_1 |= {"shear_x": ranges.shear, "shear_y": ranges.shear, "rotate": ranges.rotate}
    at_1 |= {"translate_y": ranges.translate[0], "translate_x": ranges.translate[1]}
    at_1 |= dict.fromkeys(("brightness", "colour", "contrast", "sharpness"), ranges.enhance)
    at_0 |= {"posterize": float(ranges.bits[0]), "solarize": 1.0}
    at_1 |= {"posterize": float(ranges.bits[1])}
    low, high = (level.new_tensor(list(ends.values()))[operation] for ends in (at_0, at_1))
    value = low + (high - low) * level
    if ranges.cut_off:
        value = torch.where(operation == OPERATIONS.index("posterize"), value.ceil(), value)
        value = torch.where(operation == OPERATIONS.index("rotate"), value.floor(), value)
    value = torch.where(operation == OPERATIONS.index("posterize"), value.round(), value)
    is_translation = (operation == OPERATIONS.index("translate_x")) | (operation == OPERATIONS.index("translate_y"))
    value = torch.where(is_translation, (value + 1e-4).floor(), value)  # whole px
    is_signed = (operation >= OPERATIONS.index(SIGNED[0])) & (operation <= OPERATIONS.index(SIGNED[-1]))
    return torch.where(is_signed & sign, -value, value)


def execute(images: Tensor, operation: Tensor, magnitude: Tensor, *, fill: Fill, bilinear: bool = False) -> Tensor:
    """Each image through its own operations, (B, n) int64, with its own magnitudes, (B, n) float32."""
    works: dict[str, Callable[[Tensor, Tensor], Tensor] | None] = {
        "identity": None,
        "shear_x": lambda part, by: _shear(part, by, 0 * by, fill, bilinear),
        "shear_y": lambda part, by: _shear(part, 0 * by, by, fill, bilinear),
        "translate_x": lambda part, by: geometry.translate(part, by, 0 * by, fill=fill),
        "translate_y": lambda part, by: geometry.translate(part, 0 * by, by, fill=fill),
        "rotate": lambda part, by: geometry.rotate(part, by, fill=fill, bilinear=bilinear),
        "brightness": lambda part, by: colour.adjust_brightness(part, 1 + by),
        "colour": lambda part, by: colour.adjust_saturation(part, 1 + by),
        "contrast": lambda part, by: colour.adjust_contrast(part, 1 + by),
        "sharpness": lambda part, by: colour.adjust_sharpness(part, 1 + by),
        "posterize": colour.posterize,
        "solarize": colour.solarize,
        "autocontrast": lambda part, _: colour.stretch_contrast(part),
        "equalize": lambda part, _: colour.equalize(part),
        "invert": lambda part, _: colour.invert(part),
    }
    return apply_each(images, operation, magnitude, [works[name] for name in OPERATIONS])


def _shear(images: Tensor, x: Tensor, y: Tensor, fill: Fill, bilinear: bool) -> Tensor:
    """As the papers' code does it: around the upper left corner, not the centre."""
    height, width = images.shape[2:]
    one = torch.ones_like(x)
    back = geometry.matrix(one, x, x * height / 2, y, one, y * width / 2)
    return geometry.move(images, back, fill=fill, bilinear=bilinear)
