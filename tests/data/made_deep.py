"""Image files deeper than 8 bits and TIFFs of many kinds, which Pillow cannot write."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

COLOURS = {1: 0, 2: 4, 3: 2, 4: 6}  # channels to PNG's colour type


def deep_png(pixels: NDArray[np.uint16]) -> bytes:
    """A PNG of 16 bits; (H, W, C) with 1 to 4 channels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width, channels = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, 16, COLOURS[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        chunk(kind, data) for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    )


def tiff(pixels: NDArray[Any], photometric: str = "minisblack", **options: Any) -> bytes:
    """A TIFF of any kind of numbers."""
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, photometric=photometric, **options)
    return buffer.getvalue()


def deep_ppm(pixels: NDArray[np.uint16], most: int = 65535) -> bytes:
    """A PPM of 16-bit colour, (H, W, 3)."""
    return b"P6\n# made\n%d %d\n%d\n" % (pixels.shape[1], pixels.shape[0], most) + pixels.astype(">u2").tobytes()
