"""Brings a picture of any shape to one size: `crop` takes its middle, `stretch` all of it, `pad` adds grey edges.

All three resize by Pillow's bicubic filter with antialiasing. The edges of `pad` are mid-grey: the same for every
picture, and as far from black as from white, so that they are no brighter and no darker than what pictures hold.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

FITS = ("crop", "stretch", "pad")
FITTED = {  # what happens to a picture of another shape, for a person
    "crop": "cropped to the centre and resized",
    "stretch": "resized whole, without keeping the ratio of their sides",
    "pad": "resized whole, with grey edges",
}
EDGE = 128  # the grey of padded edges, in 0..255


def fit_picture(pixels: NDArray[np.uint8], height: int, width: int, fit: str = "crop") -> NDArray[np.uint8]:
    """(height, width, C) of (H, W, C): `fit` is crop, stretch or pad. A picture of that size stays as it is."""
    if fit == "stretch":
        return _resized(pixels, height, width)
    if fit == "pad":
        return _padded(pixels, height, width)
    return resize_middle(pixels, height, width)


def resize_middle(pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """(height, width, C): the largest middle part of that shape (of a square: the central square), resized."""
    tall, wide, _ = pixels.shape
    if tall * width <= wide * height:
        kept = (tall, max(1, tall * width // height))
    else:
        kept = (max(1, wide * height // width), wide)
    top, left = (tall - kept[0]) // 2, (wide - kept[1]) // 2
    return _resized(pixels[top : top + kept[0], left : left + kept[1]], height, width)


def inner_size(tall: int, wide: int, height: int, width: int) -> tuple[int, int]:
    """(height, width) of a picture of tall x wide px inside the edges that `pad` gives it."""
    if tall * width <= wide * height:
        return max(1, (2 * tall * width + wide) // (2 * wide)), width
    return height, max(1, (2 * wide * height + tall) // (2 * tall))


def _padded(pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    tall, wide, channels = pixels.shape
    inner = inner_size(tall, wide, height, width)
    top, left = (height - inner[0]) // 2, (width - inner[1]) // 2
    padded = np.full((height, width, channels), EDGE, np.uint8)
    padded[top : top + inner[0], left : left + inner[1]] = _resized(pixels, *inner)
    return padded


def _resized(pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    pixels = np.ascontiguousarray(pixels)
    if pixels.shape[:2] == (height, width):
        return pixels
    channels = pixels.shape[2]
    image = Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels)
    resized = np.asarray(image.resize((width, height), Image.Resampling.BICUBIC), np.uint8)
    return resized.reshape(height, width, channels)
