"""TIFFs that Pillow does not read, or reads wrongly: other numbers than 8 and 16 bits, planes, white is zero.

They are read by tifffile: one channel, one with alpha, or three, of integers and floats of any width. Three channels
count as colour. What is not read is described: `a kind of TIFF that is not read (5 channels of 8 bits)`.
"""

from __future__ import annotations

import io
import logging
import sys
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketlens.data.file_kinds import BadImage

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_SAMPLES, _ORIENTATION, _PLANAR, _EXTRA, _FORMAT = 277, 274, 284, 338, 339
_NUMBERS = {1: "", 2: " with signs", 3: " of floating point", 5: " of complex integers", 6: " of complex numbers"}
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB = 0, 1, 2
_NAMES = {3: "with a palette", 5: "of CMYK", 6: "of YCbCr", 8: "of CIELAB", 32803: "of a camera's raw colours"}
_PREMULTIPLIED = 1
_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


@dataclass(frozen=True)
class Tiff:
    """What the tags of a TIFF's first image say."""

    height: int  # as stored, before its orientation is undone
    width: int
    bits: tuple[int, ...]  # of every channel
    number: int  # 1 whole, 2 with signs, 3 floating point
    photometric: int
    extra: tuple[int, ...]  # what the channels beyond the colours are
    has_planes: bool  # the channels are stored one after the other
    is_swapped: bool  # its bytes have the other order than this machine's, and are compressed
    orientation: int
    has_more: bool  # another image follows

    @property
    def white_is_zero(self) -> bool:
        """Whether its smallest value is white; Pillow turns it round only where it has at most 8 bits."""
        return self.photometric == _WHITE_IS_ZERO

    @property
    def needs_tifffile(self) -> bool:
        """Whether Pillow does not read it, or not rightly."""
        wide = max(self.bits) > 8
        if self.photometric in _NAMES:
            return False  # Pillow's or nobody's
        if self.number != 1:
            known = self.photometric == _BLACK_IS_ZERO and (self.number, *self.bits) in _OF_PILLOW
            return not known or self.is_swapped  # Pillow takes these for uncompressed ones
        return (wide and self.has_planes and len(self.bits) > 1) or max(self.bits) > 16 or self.is_unknown_to_pillow

    @property
    def is_unknown_to_pillow(self) -> bool:
        """Whether it has grey with alpha of 16 bits, or three channels that are not called colour."""
        n = len(self.bits)
        return self.photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO) and (n > 2 or (n == 2 and max(self.bits) > 8))

    @property
    def is_colour(self) -> bool:
        """Whether it has three channels of colour."""
        return len(self.bits) - self.has_alpha == 3

    @property
    def has_alpha(self) -> bool:
        """Whether the last channel says what is transparent."""
        return len(self.extra) == 1 and self.extra[0] in (1, 2) and len(self.bits) in (2, 4)

    @property
    def mode(self) -> str:
        """A name like Pillow's, such as `RGB;float32`."""
        bands = f"{'RGB' if self.is_colour else 'L'}{'A' if self.has_alpha else ''}"
        kind = {1: "uint", 2: "int", 3: "float"}.get(self.number, "?")
        return bands if self.number == 1 and max(self.bits) == 8 else f"{bands};{kind}{max(self.bits)}"

    def describe(self) -> str:
        """Such as `5 channels of 8 bits`."""
        n = len(self.bits)
        bits = str(self.bits[0]) if len(set(self.bits)) == 1 else " and ".join(map(str, sorted(set(self.bits))))
        unit = "bit" if bits == "1" else "bits"
        words = f"{n} channel{'s' if n > 1 else ''} of {bits} {unit}{_NUMBERS.get(self.number, '')}"
        return f"{words} {_NAMES[self.photometric]}" if self.photometric in _NAMES else words


_OF_PILLOW = ((3, 32), (2, 16), (2, 32))  # numbers and bits of one channel


def read_tags(data: bytes) -> Tiff | None:
    """The tags of a file's first image; None if it is no TIFF or is damaged, which Pillow then says."""
    if data[:4] not in _MAGIC:
        return None
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    try:
        tags: Any = ImageFileDirectory_v2(data[:16] if data[2:3] == b"+" or data[3:4] == b"+" else data[:8])
        file = io.BytesIO(data)
        file.seek(tags.next)
        tags.load(file)
        n = int(tags.get(_SAMPLES, 1))
        bits = tuple(map(int, tags.get(_BITS, (1,))))
        numbers = tuple(map(int, tags.get(_FORMAT, (1,))))
        return Tiff(
            int(tags[_HEIGHT]),
            int(tags[_WIDTH]),
            bits * n if len(bits) == 1 and n <= 64 else bits[:n],
            Counter(numbers).most_common(1)[0][0] if len(set(numbers)) == 1 else 0,
            int(tags.get(_PHOTOMETRIC, 0)),
            tuple(map(int, tags.get(_EXTRA, ()))),
            int(tags.get(_PLANAR, 1)) == 2,
            int(tags.get(_COMPRESSION, 1)) != 1 and (data[:2] == b"MM") == (sys.byteorder == "little"),
            int(tags.get(_ORIENTATION, 1)),
            bool(tags.next),
        )
    except Exception:  # tags of damaged or hostile files raise anything
        return None


def check_tiff(tiff: Tiff) -> None:
    """Makes sure that `read_tiff` reads images of this kind.

    Raises:
        BadImage: it does not.
    """
    n = len(tiff.bits) - tiff.has_alpha
    whole = tiff.number == 1 and tiff.bits[0] in (8, 16, 32, 64)
    known = whole or (tiff.number == 2 and tiff.bits[0] in (8, 16, 32, 64))
    known = known or (tiff.number == 3 and tiff.bits[0] in (16, 32, 64))
    grey = n == 1 and tiff.photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO)
    colour = n == 3 and tiff.photometric in (_BLACK_IS_ZERO, _RGB)
    if not known or len(set(tiff.bits)) > 1 or not (grey or colour) or (tiff.has_alpha and not whole):
        raise BadImage(f"a kind of TIFF that is not read ({tiff.describe()})")


def read_tiff(data: bytes, tiff: Tiff) -> NDArray[Any]:
    """(H, W, 1 or 3) float32, or uint8 for whole numbers of 8 bits, as stored; transparency is laid on white.

    Raises:
        BadImage: it cannot be read completely.
    """
    check_tiff(tiff)
    import tifffile

    logger = logging.getLogger("tifffile")
    if not logger.handlers:  # otherwise its remarks about odd files go to the terminal
        logger.addHandler(logging.NullHandler())
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            page: Any = file.pages.first
            ends = [start + n for start, n in zip(page.dataoffsets, page.databytecounts, strict=True)]
            if not ends or max(ends) > len(data) or min(page.databytecounts) <= 0:
                raise BadImage("it cannot be decoded (it is cut off)")
            values = page.asarray(maxworkers=1)
            values = values.transpose(1, 2, 0) if page.axes == "SYX" else values
            pixels = values.reshape(tiff.height, tiff.width, len(tiff.bits))
    except BadImage:
        raise
    except Exception as error:  # decoders of damaged or hostile files raise anything
        raise BadImage(_reason(error, tiff)) from None
    return _on_black(pixels, tiff)


def _on_black(stored: NDArray[Any], tiff: Tiff) -> NDArray[Any]:
    """Pixels whose smallest value is black, without alpha."""
    most = int(np.iinfo(stored.dtype).max) if stored.dtype.kind == "u" else 0
    colours = stored[:, :, : stored.shape[2] - tiff.has_alpha]
    if tiff.white_is_zero and most:
        colours = most - colours  # whole numbers, before they are rounded
    with np.errstate(over="ignore", invalid="ignore"):  # what becomes infinite is refused
        pixels = colours.astype(np.float32)
    if tiff.white_is_zero and not most:
        pixels = -pixels
    if tiff.has_alpha:
        alpha = stored[:, :, -1:].astype(np.float32) / np.float32(most)
        pixels = (pixels if tiff.extra[0] == _PREMULTIPLIED else pixels * alpha) + np.float32(most) * (1 - alpha)
    return np.rint(pixels).clip(0, 255).astype(np.uint8) if stored.dtype == np.uint8 else pixels


def _reason(error: Exception, tiff: Tiff) -> str:
    text = " ".join(str(error).split())
    if "imagecodecs" in text:
        return f"a kind of TIFF that is not read ({tiff.describe()}, compressed); save it without compression"
    return f"it cannot be decoded ({text or type(error).__name__})"
