"""Sheets: many small pictures in one, so that a page with thousands of them opens at once and stays small.

A sheet is a WebP picture with up to 1,024 small images. Sheets are without loss where that takes at most 6 MB; else
the quality is lowered, step by step, and where even that is too much, the pictures are made smaller, so that a page
with 10,000 of them stays below 15 MB.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pocketlens.data.dataset import Images

COLUMNS = 32  # pictures in a row of a sheet
PER_SHEET = COLUMNS * COLUMNS
LARGEST = 96  # px of the longest side of a picture
_LOSSLESS_BYTES = 7_000_000  # of pixels, which shrink to about four fifths
_MOST_PIXELS = 18_000_000  # in all sheets; lossy they take about a quarter of a byte each
_MOST_BYTES = 9_000_000  # of all lossy sheets; a page holds them as text, which takes a third more
_QUALITIES = (88, 75, 55, 35)


@dataclass(frozen=True)
class Sheets:
    """Sheets with 1,024 pictures each, as data URIs, and the size of one picture in px."""

    uris: tuple[str, ...]
    height: int
    width: int


@dataclass(frozen=True)
class Size:
    """Of a picture, in px."""

    height: int
    width: int


def size_for(n: int, height: int, width: int) -> Size:
    """How large each of `n` pictures of this size can be in a page."""
    longest = min(LARGEST, int((_MOST_PIXELS / max(1, n)) ** 0.5))
    scale = min(1.0, longest / max(height, width))
    return Size(max(1, round(height * scale)), max(1, round(width * scale)))


def make_sheets(images: Images, *, lossless: bool = True) -> Sheets:
    """Sheets of (N, H, W, C) uint8, in their order; with `lossless`, without loss where that is small enough."""
    n, height, width, channels = images.shape
    tiled = [_tile(images[start : start + PER_SHEET]) for start in range(0, n, PER_SHEET)]
    if not tiled:
        return Sheets((), 0, 0)
    if lossless and n * height * width * channels <= _LOSSLESS_BYTES:
        encoded = [_encode(sheet, None) for sheet in tiled]
    else:
        for quality in _QUALITIES:
            encoded = [_encode(tiled[0], quality)]
            if len(encoded[0]) * n / min(n, PER_SHEET) <= _MOST_BYTES:
                break
        encoded += [_encode(sheet, quality) for sheet in tiled[1:]]
    uris = tuple(f"data:image/webp;base64,{base64.b64encode(each).decode()}" for each in encoded)
    return Sheets(uris, height, width)


def _encode(sheet: NDArray[np.uint8], quality: int | None) -> bytes:
    """WebP; without loss where there is no quality."""
    from PIL import Image

    buffer = io.BytesIO()
    lossless = quality is None
    Image.fromarray(sheet).save(buffer, "WEBP", lossless=lossless, quality=quality or 30, method=2)
    return buffer.getvalue()


def _tile(images: Images) -> NDArray[np.uint8]:
    """(n, H, W, C) to one picture of 32 images a row, (rows * H, 32 * W, 3)."""
    n, height, width, channels = images.shape
    rows = -(-n // COLUMNS)
    grid = np.zeros((rows * COLUMNS, height, width, channels), np.uint8)
    grid[:n] = images
    sheet = grid.reshape(rows, COLUMNS, height, width, channels).swapaxes(1, 2)
    return np.broadcast_to(sheet.reshape(rows * height, COLUMNS * width, channels), (rows * height, COLUMNS * width, 3))
