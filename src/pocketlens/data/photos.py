"""Photos of cameras and telephones: HEIC, and JPEGs that are too large to be decoded whole.

libjpeg decodes at a half, a quarter or an eighth for a fraction of the time and memory. A JPEG whose whole image must
be held before that (progressive, or in several scans) may have fewer pixels than one that is read row by row.
"""

from __future__ import annotations

import io
import warnings
from typing import Any

from PIL import Image

from pocketlens.data.file_kinds import BadImage, TooLarge

MOST_PIXELS = 178_000_000  # Pillow opens nothing larger
_ROW_BY_ROW, _AT_ONCE = 16, 4  # how many times more pixels than are decoded a JPEG may have


def check_size(n_pixels: int, max_pixels: int) -> None:
    """Makes sure that an image may be decoded.

    Raises:
        BadImage: it has too many pixels.
    """
    if n_pixels > max_pixels:
        raise TooLarge(n_pixels, max_pixels)


def open_large_jpeg(data: bytes, max_pixels: int) -> Image.Image:
    """A JPEG of more than `max_pixels`, undecoded.

    Raises:
        BadImage: it is damaged, or too large even to be decoded smaller.
    """
    from PIL.JpegImagePlugin import JpegImageFile

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = JpegImageFile(io.BytesIO(data))
    except Exception as error:  # decoders of damaged or hostile files raise anything
        raise BadImage(f"it cannot be decoded ({type(error).__name__})") from None
    check_size(image.width * image.height, max_pixels * (_ROW_BY_ROW if _is_row_by_row(data) else _AT_ONCE))
    return image


def draft(image: Image.Image, max_pixels: int, needed: int | None) -> None:
    """Sets an image of more than `max_pixels` to be decoded smaller, its sides at least `needed` px.

    Raises:
        BadImage: it is still too large, or no size is known that would be enough.
    """
    n_pixels = image.width * image.height
    if n_pixels <= max_pixels:
        return
    if needed is not None:
        image.draft(None, (needed, needed))
    if image.width * image.height > max_pixels:
        raise TooLarge(n_pixels, max_pixels)


def open_heic(data: bytes) -> Image.Image:
    """A HEIC image by pillow-heif, undecoded; it turns the image upright itself."""
    import pillow_heif.as_plugin

    plugin: Any = pillow_heif.as_plugin
    image: Image.Image = plugin.HeifImageFile(io.BytesIO(data))
    return image


def _is_row_by_row(data: bytes) -> bool:
    """Whether a JPEG is sequential and has one scan, so that its decoder holds a few rows at a time."""
    at, n_components, is_sequential = 2, 0, False
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xFF:  # a byte that fills
            at += 1
            continue
        if marker in (0xC0, 0xC1):
            is_sequential, n_components = True, data[at + 9] if at + 9 < len(data) else 0
        elif marker == 0xDA:
            return is_sequential and at + 4 < len(data) and data[at + 4] == n_components
        at += 2 + length
    return False
