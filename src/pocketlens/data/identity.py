"""What makes two pictures the same: a hash of the pixels of their source, whatever size, fit or levels they get.

It is BLAKE2b of the shape and the pixels, 16 bytes. Deep pixels count by their values, whatever the type that holds
them. A picture that is not decoded whole has no such pixels; it is known by the bytes of its file.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_STRIP = 1 << 18  # pixels that are packed at a time


def hash_pixels(image: NDArray[Any]) -> bytes:
    """16 bytes of (H, W, C), uint8 or deep."""
    pixels, tag = np.ascontiguousarray(image), b"" if image.dtype == np.uint8 else b"deep"
    pixels = pixels if not tag else pixels.astype("<f4")
    return hashlib.blake2b(pixels.reshape(-1).data, digest_size=16, person=_tag(pixels.shape) + tag).digest()


def hash_image(image: Image.Image) -> bytes:
    """`hash_pixels` of the pixels of an image of mode L or RGB; they are packed strip by strip, which saves memory."""
    width, height = image.size
    digest = hashlib.blake2b(digest_size=16, person=_tag((height, width, len(image.getbands()))))
    rows = max(1, _STRIP // width)
    for top in range(0, height, rows):
        digest.update(image.crop((0, top, width, min(height, top + rows))).tobytes())
    return digest.digest()


def hash_file(data: bytes) -> bytes:
    """16 bytes of the bytes of a file whose picture is never decoded whole."""
    return hashlib.blake2b(data, digest_size=16, person=b"file").digest()


def _tag(shape: tuple[int, ...]) -> bytes:
    return b"".join(int(size).to_bytes(4, "little") for size in shape)
