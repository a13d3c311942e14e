"""Small images as data URIs: one by one, or many in one sprite, so that a page with thousands of them stays small."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pocketlens.data.dataset import Images

LARGEST = 64  # longest side in px of one image of a sprite
_LOSSLESS = 20  # px of the shorter side up to which compression is lossless
_QUALITY = 88


@dataclass(frozen=True)
class Sprite:
    """Many images in one: its data URI and its size in px, with `columns` images in a row."""

    uri: str
    width: int
    height: int
    columns: int
    n: int


def strip(images: Images, columns: int | None = None, largest: int = LARGEST) -> Sprite | None:
    """(M, H, W, C) uint8 in rows of `columns` (by default all in one row), a pixel apart; None if there are none."""
    from PIL import Image

    if not len(images):
        return None
    columns = columns or len(images)
    tiles = [_shrunk(image, largest) for image in images]  # (h, w, C) uint8 each
    height, width, channels = tiles[0].shape
    n_rows = -(-len(tiles) // columns)
    sheet = np.zeros((n_rows * (height + 1) - 1, columns * (width + 1) - 1, 4), np.uint8)  # transparent
    for place, tile in enumerate(tiles):
        top, left = place // columns * (height + 1), place % columns * (width + 1)
        sheet[top : top + height, left : left + width, :3] = tile if channels == 3 else tile[:, :, :1]
        sheet[top : top + height, left : left + width, 3] = 255
    return Sprite(
        _webp(Image.fromarray(sheet), min(height, width)), sheet.shape[1], sheet.shape[0], columns, len(tiles)
    )


def picture(image: NDArray[np.uint8], largest: int = 96, quality: int = _QUALITY) -> str:
    """A data URI of one (H, W, C) uint8 image, scaled down if a side is longer than `largest`."""
    from PIL import Image

    tile = _shrunk(image, largest)
    return _webp(Image.fromarray(tile[:, :, 0] if tile.shape[2] == 1 else tile), min(tile.shape[:2]), quality)


def _shrunk(image: NDArray[np.uint8], largest: int) -> NDArray[np.uint8]:
    from PIL import Image

    if max(image.shape[:2]) <= largest:
        return np.asarray(image)
    small = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
    small.thumbnail((largest, largest), Image.Resampling.LANCZOS)
    return np.asarray(small).reshape(small.height, small.width, image.shape[2])


def _webp(image: object, side: int, quality: int = _QUALITY) -> str:
    from PIL import Image

    assert isinstance(image, Image.Image)
    buffer = io.BytesIO()
    if side <= _LOSSLESS:
        image.save(buffer, "WEBP", lossless=True, quality=80, method=4)
    else:
        image.save(buffer, "WEBP", quality=quality, method=4)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"
