"""Channel shift: a random number is added to every channel."""

from __future__ import annotations

from torch import Tensor

from pocketlens.augment._colour import shift_channels
from pocketlens.augment._ranges import check_range
from pocketlens.draws import Draws


def channel_shift(
    images: Tensor, targets: Tensor, draws: Draws, *, strength: float = 0.1, together: bool = False
) -> tuple[Tensor, Tensor]:
    """Adds a number in -strength .. strength to each channel, or the same to all channels of an image (`together`).

    With `together` it is the channel shift of Keras, with a strength in fractions of the full range.
    """
    check_range("channel_shift", "strength", strength, 0, 1)
    amount = strength * (2 * draws.uniform("amount", 1 if together else images.shape[1]) - 1)  # (B, 1 or C) float32
    return shift_channels(images, amount.expand(-1, images.shape[1])), targets
