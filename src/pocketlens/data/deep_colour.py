"""Colour of 16 bits, which Pillow reads with 8: its decoder runs twice, once for each of the two bytes of a value.

Pillow has unpackers for the first and for the second byte (`RGB;16B` and `RGB;16L`), for PNG and for TIFF of every
compression. The values of a PPM lie in the file as they are.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pocketlens.data.file_kinds import BadImage

_DEEP = re.compile(r"(RGB|RGBX|RGBA|RGBa|LA);16([BLN])")
_WHITE = 65535.0

Open = Callable[[], Image.Image]


def mode_of(image: Image.Image) -> str | None:
    """`RGB;16`, `RGBA;16` or `LA;16` of an image whose 16 bits Pillow would cut to 8; None of any other."""
    if image.format not in ("PNG", "TIFF", "PPM"):
        return None
    tiles: list[Any] = list(getattr(image, "tile", ()))
    args = tiles[0][3] if tiles else None
    if image.format == "PPM":
        most = args[1] if isinstance(args, tuple) and len(args) == 2 else 0
        return "RGB;16" if image.mode == "RGB" and isinstance(most, int) and most > 255 else None
    raw = _raw_mode(args)
    found = _DEEP.fullmatch(raw) if ";16" in raw else None
    if found is None:
        return None
    return {"RGBX": "RGB", "RGBa": "RGBA"}.get(found[1], found[1]) + ";16"


def loses_depth(image: Image.Image, data: bytes) -> bool:
    """Whether Pillow reads 8 of more bits: of CMYK in TIFF, and of colour in JPEG 2000."""
    if image.format == "TIFF":
        return image.mode == "CMYK" and 16 in tuple(getattr(image, "tag_v2", {}).get(258, ()))
    start = data.find(b"\xff\x4f\xff\x51") if image.format == "JPEG2000" and not image.mode.startswith("I") else -1
    return start >= 0 and (data[start + 42 : start + 43] or b"\7")[0] & 0x7F > 7


def read_deep_colour(data: bytes, open_image: Open) -> NDArray[np.float32]:
    """(H, W, 1 or 3) float32 in 0..65535, transparency laid on white; for images that have a `mode_of`.

    Args:
        data: the file.
        open_image: opens it, undecoded; called once for each run of the decoder.
    """
    with open_image() as image:
        if image.format == "PPM":
            return _read_ppm(data, image)
        raw = _DEEP.fullmatch(_raw_mode(image.tile[0][3]))  # type: ignore[attr-defined]
        assert raw is not None
        transparent = image.info.get("transparency")
    stored = _values(open_image, raw[1], raw[2])
    return _on_white(stored, is_premultiplied=raw[1] == "RGBa", transparent=transparent)


def _values(open_image: Open, bands: str, order: str) -> NDArray[np.float32]:
    """(H, W, 2, 3 or 4) of the two bytes of every value."""
    if bands == "LA":  # four bytes a pixel, which are read as they are
        both = _decode_as(open_image, "RGBA").astype(np.float32)
        return both[:, :, 0::2] * 256 + both[:, :, 1::2]
    kept = "RGBA" if bands == "RGBa" else bands
    first = _decode_as(open_image, f"{kept};16B").astype(np.float32)
    second = _decode_as(open_image, f"{kept};16L").astype(np.float32)
    big = order == "B" or (order == "N" and sys.byteorder == "big")
    return first * 256 + second if big else second * 256 + first


def _decode_as(open_image: Open, raw_mode: str) -> NDArray[np.uint8]:
    with open_image() as image:
        tiles: list[Any] = image.tile  # type: ignore[attr-defined]
        image.tile = [  # type: ignore[attr-defined]
            type(tile)(*tile[:3], _with_raw_mode(tile[3], raw_mode))
            if hasattr(tile, "_fields")
            else (*tile[:3], _with_raw_mode(tile[3], raw_mode))
            for tile in tiles
        ]
        image.info.pop("transparency", None)
        image.load()
        return np.asarray(image)


def _raw_mode(args: Any) -> str:
    found = args[0] if isinstance(args, tuple) and args else args
    return found if isinstance(found, str) else ""


def _with_raw_mode(args: Any, raw_mode: str) -> Any:
    return raw_mode if isinstance(args, str) else (raw_mode, *args[1:])


def _read_ppm(data: bytes, image: Image.Image) -> NDArray[np.float32]:
    codec, _, offset, (_, most) = image.tile[0]  # type: ignore[attr-defined]
    n = image.width * image.height * 3
    if codec == "ppm_plain":
        words = re.sub(rb"#[^\r\n]*", b"", data[offset:]).split()[:n]
        try:
            values = np.array([int(word) for word in words], np.float32)
        except ValueError:
            raise BadImage("it cannot be decoded (a value is not a number)") from None
    else:
        found = data[offset : offset + 2 * n]
        values = np.frombuffer(found[: len(found) // 2 * 2], ">u2").astype(np.float32)
    if len(values) < n:
        raise BadImage("it cannot be decoded (it is cut off)")
    if values.max(initial=0) > most:
        raise BadImage(f"it cannot be decoded (a value is larger than {most})")
    return (values * np.float32(_WHITE / most)).reshape(image.height, image.width, 3)


def _on_white(stored: NDArray[np.float32], *, is_premultiplied: bool, transparent: Any) -> NDArray[np.float32]:
    n_colours = stored.shape[2] - (stored.shape[2] in (2, 4))
    colour = stored[:, :, :n_colours]
    if stored.shape[2] != n_colours:
        alpha = stored[:, :, n_colours:] / np.float32(_WHITE)
        if (alpha == 1).all():
            return colour
        return (colour if is_premultiplied else colour * alpha) + np.float32(_WHITE) * (1 - alpha)
    if isinstance(transparent, tuple) and len(transparent) == n_colours:
        hidden = (colour == np.array(transparent, np.float32)).all(axis=2)
        colour = np.where(hidden[:, :, None], np.float32(_WHITE), colour)
    return colour
