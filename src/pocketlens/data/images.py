"""The only decoder of image files: training, audit and prediction read every image here, by the same rules.

Rules: seven formats (PNG, JPEG, WEBP, BMP, GIF, TIFF, PPM) and nothing else; at most 25 megapixels, checked before
decoding; the whole file is decoded, and a PNG's checksums are checked; EXIF orientation is applied; of an animation,
the first frame counts; transparency is laid on white; palettes, CMYK, YCbCr and HSV become RGB; 1-bit, LA and
transparent grey become grey; 16-bit and float images are scaled from the levels (low, high) to 0..255 and are refused
where no levels are known; values that are not finite are refused. 16-bit colour PNGs keep their upper 8 bits.
"""

from __future__ import annotations

import io
import os
import re
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pocketlens.data.fit import fit_picture
from pocketlens.errors import PocketlensError

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
MAX_PIXELS = 25_000_000
MAX_BYTES = 256 * 2**20
SUFFIXES = frozenset(
    ".png .apng .jpg .jpeg .jpe .jfif .webp .bmp .dib .gif .tif .tiff .ppm .pgm .pbm .pnm".split(" ")
)  # names by which a file in a folder counts as an image; its content decides what it is

_GREY = ("1", "L", "LA", "La")
_ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")
_ORIENTATION = 0x0112  # EXIF tag

_AT_ONCE = 16  # images that a worker takes at a time, at most

Source = Path | bytes
Pixels = NDArray[Any]  # (H, W, 1 or 3), uint8, or float32 where the image is deep
Levels = tuple[float, float]
T = TypeVar("T")


class BadImage(PocketlensError):
    """An image that cannot be read; the message is the reason, without the file's name."""


@dataclass(frozen=True)
class Header:
    """What the header of an image says, before anything is decoded."""

    height: int  # after EXIF orientation
    width: int
    mode: str  # Pillow's name, such as RGB or I;16
    animated: bool

    @property
    def deep(self) -> bool:
        """Whether its values go beyond 8 bits, so that levels are needed."""
        return _is_deep(self.mode)

    @property
    def grey(self) -> bool:
        """Whether one channel holds it."""
        return self.deep or self.mode in _GREY


def read_image(source: Source, *, channels: int, levels: Levels | None = None, size: int | None = None) -> Pixels:
    """One image as (H, W, channels) uint8, by the rules above; with `size`, its central square at that size.

    Call it through `map_images`, which keeps Pillow's warnings from the terminal and names no file in an error.

    Raises:
        BadImage: it cannot be read, or it is deep and there are no levels.
    """
    pixels = to_channels(to_uint8(decode(source), levels), channels)
    return pixels if size is None else fit_picture(pixels, size, size)


def map_images(
    function: Callable[[Source], T], sources: Iterable[Source], n_together: int = 256
) -> Iterator[T | BadImage]:
    """`function` of every source, in their order, on all cores; a BadImage replaces a result that failed.

    At most `n_together` results are held at a time.
    """

    def attempt(source: Source) -> T | BadImage:
        try:
            return function(source)
        except BadImage as reason:
            return reason

    remaining, n_workers = iter(sources), available_cores()
    with ThreadPoolExecutor(n_workers) as pool:
        while batch := list(islice(remaining, n_together)):
            step = max(1, min(_AT_ONCE, len(batch) // (4 * n_workers)))
            parts = [batch[start : start + step] for start in range(0, len(batch), step)]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                results = list(pool.map(lambda part: [attempt(source) for source in part], parts))
            yield from chain.from_iterable(results)


def available_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def read_header(source: Source) -> Header:
    """Reads the header and checks format and size; decodes nothing.

    Raises:
        BadImage: the format is not allowed, or the image is too large.
    """
    with _open(_read(source)) as image:
        width, height = image.size
        if image.format != "TIFF" and _orientation(image) >= 5:  # Pillow itself turns TIFF images
            width, height = height, width
        return Header(height, width, image.mode, bool(_tolerant(lambda: getattr(image, "is_animated", False), False)))


def decode(source: Source) -> Pixels:
    """Decodes a whole image to (H, W, 1 or 3): uint8, or float32 with unscaled values where the image is deep.

    Raises:
        BadImage: it cannot be read completely.
    """
    with decoded(source) as image:
        return pixels_of(image)


@contextmanager
def decoded(source: Source) -> Iterator[Image.Image]:
    """A whole image as Pillow decodes it, before its rules; what goes wrong in the block is a BadImage too.

    Raises:
        BadImage: it cannot be read completely.
    """
    data = _read(source)
    with _open(data) as image:
        try:
            if image.format == "PNG":  # decoding skips the checksums of its pixels, so that a flipped bit would pass
                Image.open(io.BytesIO(data), formats=("PNG",)).verify()
            image.load()
            yield image
        except BadImage:
            raise
        except Exception as error:  # decoders of damaged or hostile files raise anything
            raise BadImage(_reason(error)) from None


def pixels_of(image: Image.Image) -> Pixels:
    """(H, W, 1 or 3) of a decoded image by the rules above: uint8, or float32 where it is deep."""
    return np.ascontiguousarray(_upright(_pixels(image), _orientation(image)))


def as_plain(image: Image.Image, channels: int) -> Image.Image | None:
    """The decoded image, upright, where no other rule applies: 8 bits in as many channels, opaque; else None."""
    if image.mode != {1: "L", 3: "RGB"}[channels] or "transparency" in image.info:
        return None
    turn = _TURNS.get(_orientation(image))
    return image if turn is None else image.transpose(turn)


def to_uint8(pixels: Pixels, levels: Levels | None) -> NDArray[np.uint8]:
    """Scales deep pixels from `levels` to 0..255, rounded and clipped; 8-bit pixels stay as they are."""
    if pixels.dtype == np.uint8:
        return pixels
    if levels is None:
        raise BadImage("it has 16-bit or float values, and the range to scale them to 8 bits is unknown")
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


def _read(source: Source) -> bytes:
    if isinstance(source, bytes):
        data = source
    else:
        try:
            with open(source, "rb") as file:
                size = os.fstat(file.fileno()).st_size  # a larger request would take that much memory at once
                data = file.read(min(size, MAX_BYTES) + 1)
        except OSError as error:
            raise BadImage(error.strerror or "it cannot be opened") from None
        except ValueError:  # a name with a NUL
            raise BadImage("its name is not a valid file name") from None
    if len(data) > MAX_BYTES:
        raise BadImage(f"the file is larger than {MAX_BYTES // 2**20} MiB")
    if not data:
        raise BadImage("the file is empty")
    return data


_opening = threading.Lock()  # warnings.catch_warnings is not safe in threads


def _open(data: bytes) -> Image.Image:
    try:
        with _opening, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError as error:
        n_pixels = re.search(r"(\d+) pixels", str(error))
        raise BadImage(_too_large(int(n_pixels.group(1)) if n_pixels else 2 * MAX_PIXELS)) from None
    except Exception as error:  # decoders of damaged or hostile files raise anything
        unknown = type(error).__name__ == "UnidentifiedImageError"
        raise BadImage(f"it is not one of {', '.join(FORMATS)}" if unknown else _reason(error)) from None
    if image.width * image.height > MAX_PIXELS:
        image.close()
        raise BadImage(_too_large(image.width * image.height))
    return image


def _too_large(n_pixels: int) -> str:
    return f"{n_pixels / 1e6:.0f} Mpx > {MAX_PIXELS / 1e6:.0f} Mpx"


def _pixels(image: Image.Image) -> Pixels:
    if _is_deep(image.mode):
        pixels = np.asarray(image).astype(np.float32)[:, :, None]
        if not np.isfinite(pixels).all():
            raise BadImage("it holds values that are not finite")
        return pixels
    grey = image.mode in _GREY
    if image.mode in _ALPHA or "transparency" in image.info:
        rgba = np.asarray(image.convert("RGBA")).astype(np.uint32)
        alpha = rgba[:, :, 3:]
        colour = ((rgba[:, :, :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
        return colour[:, :, :1] if grey else colour
    converted = np.asarray(image.convert("L" if grey else "RGB"), np.uint8)
    return converted[:, :, None] if grey else converted


def _is_deep(mode: str) -> bool:
    return mode == "F" or mode.startswith("I")


def _orientation(image: Image.Image) -> int:
    value = _tolerant(lambda: image.getexif().get(_ORIENTATION, 1), 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


_TURNS = {  # EXIF orientations
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def _upright(pixels: Pixels, orientation: int) -> Pixels:
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


def _tolerant(read: Callable[[], T], otherwise: T) -> T:
    """Metadata that cannot be read counts as absent; the pixels decide whether the image is good."""
    try:
        return read()
    except Exception:
        return otherwise


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"it cannot be decoded ({text or type(error).__name__})"
