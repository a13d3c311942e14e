"""Brings a picture of any shape to one size: `crop` takes its middle, `stretch` all of it, `pad` adds grey edges.

All three resize by Pillow's bicubic filter with antialiasing. The edges of `pad` are mid-grey: the same for every
picture, and as far from black as from white, so that they are no brighter and no darker than what pictures hold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pocketlens.data.pixels import to_channels

FITS = ("crop", "stretch", "pad")
FITTED = {  # what happens to a picture of another shape, for a person
    "crop": "cropped to the centre and resized",
    "stretch": "resized whole, without keeping the ratio of their sides",
    "pad": "resized whole, with grey edges",
}
EDGE = 128  # the grey of padded edges, in 0..255


@dataclass(frozen=True)
class Form:
    """The form in which a model takes images.

    Attributes:
        shape: (height, width, channels).
        levels: of deep images, the values that became 0 and 255; None for a model of 8-bit images.
        fit: how an image of another shape is brought to that one.
    """

    shape: tuple[int, int, int]
    levels: tuple[float, float] | None = None
    fit: str = "crop"


def bring_to_form(pixels: NDArray[np.uint8], form: Form) -> NDArray[np.uint8]:
    """(H, W, 1 or 3) uint8 pixels of any size in the form that a model takes."""
    height, width, channels = form.shape
    return fit_picture(to_channels(pixels, channels), height, width, form.fit)


def fit_picture(pixels: NDArray[np.uint8], height: int, width: int, fit: str = "crop") -> NDArray[np.uint8]:
    """(height, width, C) of (H, W, C): `fit` is crop, stretch or pad. A picture of that size stays as it is."""
    if pixels.shape[:2] == (height, width):
        return np.ascontiguousarray(pixels)
    image = Image.fromarray(np.ascontiguousarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels))
    return fit_image(image, height, width, fit)


def fit_image(image: Image.Image, height: int, width: int, fit: str = "crop") -> NDArray[np.uint8]:
    """`fit_picture` of an image of mode L or RGB."""
    if fit == "stretch":
        fitted = _resized(image, height, width)
    elif fit == "pad":
        fitted = _padded(image, height, width)
    else:
        fitted = _resized(_middle(image, height, width), height, width)
    return np.array(fitted, np.uint8).reshape(height, width, -1)


def _middle(image: Image.Image, height: int, width: int) -> Image.Image:
    """The largest middle part of the shape (height, width); of a square: the central square."""
    wide, tall = image.size
    if tall * width <= wide * height:
        kept = (tall, max(1, tall * width // height))
    else:
        kept = (max(1, wide * height // width), wide)
    top, left = (tall - kept[0]) // 2, (wide - kept[1]) // 2
    return image if kept == (tall, wide) else image.crop((left, top, left + kept[1], top + kept[0]))


def inner_size(tall: int, wide: int, height: int, width: int) -> tuple[int, int]:
    """(height, width) of a picture of tall x wide px inside the edges that `pad` gives it."""
    if tall * width <= wide * height:
        return max(1, (2 * tall * width + wide) // (2 * wide)), width
    return height, max(1, (2 * wide * height + tall) // (2 * tall))


def _padded(image: Image.Image, height: int, width: int) -> Image.Image:
    inner = inner_size(image.height, image.width, height, width)
    padded = Image.new(image.mode, (width, height), (EDGE,) * len(image.getbands()))
    padded.paste(_resized(image, *inner), ((width - inner[1]) // 2, (height - inner[0]) // 2))
    return padded


def _resized(image: Image.Image, height: int, width: int) -> Image.Image:
    """Rows first, then columns: Pillow 13 takes the other order for some tall pictures, which rounds differently."""
    for size in ((width, image.height), (width, height)):
        image = image if image.size == size else image.resize(size, Image.Resampling.BICUBIC)
    return image
