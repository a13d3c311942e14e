"""From a decoded image to pixels, by one rule for every mode: upright, on white, grey or RGB, uint8 or deep.

Deep pixels are float32 with the values that the file holds; `to_uint8` scales them from levels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pocketlens.data.file_kinds import BadImage

GREY = ("1", "L", "LA", "La")
_ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")
_ORIENTATION = 0x0112  # EXIF tag

Pixels = NDArray[Any]  # (H, W, 1 or 3), uint8, or float32 where the image is deep
Levels = tuple[float, float]
T = TypeVar("T")

_TURNS = {  # EXIF orientations
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def pixels_of(image: Image.Image) -> Pixels:
    """(H, W, 1 or 3) of a decoded image by the rules above: uint8, or float32 where it is deep."""
    return np.ascontiguousarray(upright(_pixels(image), orientation_of(image)))


def as_plain(image: Image.Image, channels: int) -> Image.Image | None:
    """The decoded image, upright, where no other rule applies: 8 bits in as many channels, opaque; else None."""
    if image.mode != {1: "L", 3: "RGB"}[channels] or "transparency" in image.info:
        return None
    turn = _TURNS.get(orientation_of(image))
    return image if turn is None else image.transpose(turn)


def to_uint8(pixels: Pixels, levels: Levels | None) -> NDArray[np.uint8]:
    """Scales deep pixels from `levels` to 0..255, rounded and clipped; 8-bit pixels stay as they are."""
    if pixels.dtype == np.uint8:
        return pixels
    if levels is None:
        raise BadImage(
            "its values do not fit into 8 bits, and the range to scale them from is unknown, as the model knows none"
        )
    low, high = levels
    scaled = (pixels.astype(np.float64) - low) * (255.0 / max(high - low, 1e-12))
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


def to_channels(pixels: Pixels, channels: int) -> Pixels:
    """(H, W, channels): grey is repeated, colour becomes grey by ITU-R 601 luma, with Pillow's rounding."""
    if pixels.shape[2] == channels:
        return pixels
    if channels == 3:
        return np.repeat(pixels, 3, axis=2)
    red, green, blue = (pixels[:, :, i].astype(np.uint32) for i in range(3))
    return ((red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16).astype(np.uint8)[:, :, None]


def orientation_of(image: Image.Image) -> int:
    """Its EXIF orientation, 1 to 8."""
    value = tolerant(lambda: image.getexif().get(_ORIENTATION, 1), 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def upright(pixels: Pixels, orientation: int) -> Pixels:
    """Undoes EXIF orientation 1..8."""
    turned = {
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
        8: lambda a: np.rot90(a, 1),
    }
    return turned[orientation](pixels) if orientation in turned else pixels


def check_finite(pixels: Pixels) -> Pixels:
    """The pixels.

    Raises:
        BadImage: a value is not finite.
    """
    if not np.isfinite(pixels).all():
        raise BadImage("it holds values that are not finite")
    return pixels


def _pixels(image: Image.Image) -> Pixels:
    if is_deep(image.mode):
        return check_finite(np.asarray(image).astype(np.float32)[:, :, None])
    grey = image.mode in GREY
    if image.mode in _ALPHA or "transparency" in image.info:
        rgba = np.asarray(image.convert("RGBA")).astype(np.uint32)
        alpha = rgba[:, :, 3:]
        colour = ((rgba[:, :, :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
        return colour[:, :, :1] if grey else colour
    converted = np.asarray(image.convert("L" if grey else "RGB"), np.uint8)
    return converted[:, :, None] if grey else converted


def is_deep(mode: str) -> bool:
    """Whether the values of a mode, by Pillow's name or one of ours such as `RGB;16`, go beyond 8 bits."""
    return mode == "F" or mode.startswith("I") or ";" in mode


def tolerant(read: Callable[[], T], otherwise: T) -> T:
    """Metadata that cannot be read counts as absent; the pixels decide whether the image is good."""
    try:
        return read()
    except Exception:
        return otherwise
