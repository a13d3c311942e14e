"""Translation by whole pixels, up to a fraction of the image's size."""

from __future__ import annotations

from torch import Tensor

from pocketlens.augment._geometry import Fill, translate
from pocketlens.augment._ranges import between, check_fill, check_range
from pocketlens.draws import Draws


def translation(
    images: Tensor, targets: Tensor, draws: Draws, *, fraction: float = 0.1, fill: Fill = 0.0
) -> tuple[Tensor, Tensor]:
    """Moves each image by up to `fraction` of its height and width, rounded to whole px.

    What comes in from outside is `fill`: a number in 0..1, 'edge' or 'reflect'.
    """
    check_range("translation", "fraction", fraction, 0, 1)
    check_fill("translation", fill)
    most_y, most_x = fraction * images.shape[2], fraction * images.shape[3]  # px
    x, y = between(draws, "x", -most_x, most_x).round(), between(draws, "y", -most_y, most_y).round()
    return translate(images, x, y, fill=fill), targets
