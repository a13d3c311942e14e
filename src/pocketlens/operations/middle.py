"""The middle of an image, cut out: what a pretrained body sees of a picture whose shorter side was resized."""

from __future__ import annotations

from torch import Tensor

from pocketlens.errors import PocketlensError


def middle(images: Tensor, *, size: int = 224) -> Tensor:
    """(B, C, H, W) to (B, C, size, size), in px.

    Raises:
        PocketlensError: the images are smaller.
    """
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise PocketlensError(f"middle: size must be a whole number of px, 1 or more, got {size!r}.")
    height, width = images.shape[2:]
    if min(height, width) < size:
        raise PocketlensError(
            f"middle: the images must be at least {size} x {size} px, they are {height} x {width}; resize them first: "
            f"--prepare \"resize({size}, filter='bicubic')\"."
        )
    top, left = (height - size) // 2, (width - size) // 2
    return images[:, :, top : top + size, left : left + size]
