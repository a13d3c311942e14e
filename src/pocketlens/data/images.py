"""The only decoder of image files: training, audit and prediction read every image here, by the same rules.

Rules: PNG, JPEG, WEBP, BMP, GIF, TIFF and PPM, AVIF and JPEG 2000 where Pillow reads them, HEIC where pillow-heif is
installed, by content and not by name; at most `max_pixels`, checked before decoding, and a larger JPEG is decoded
smaller where the size that is needed allows it; the whole file is decoded, and a PNG's checksums are checked; EXIF
orientation is applied; of an animation, the first frame counts; transparency is laid on white; palettes, CMYK, YCbCr
and HSV become RGB; 1-bit, LA and transparent grey become grey; white is never zero; images deeper than 8 bits, in grey
and in colour, are scaled from the levels (low, high) to 0..255 and are refused where no levels are known, except
colour of 16 bits, which then keeps its upper 8; values that are not finite are refused. JPEG 2000 and CMYK of more
than 8 bits are read with 8.
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
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pocketlens.data.deep_colour import loses_depth, mode_of, read_deep_colour
from pocketlens.data.file_kinds import ALWAYS, N_HEAD, formats, kind_of, reads_heic, unreadable
from pocketlens.data.file_kinds import SUFFIXES as SUFFIXES
from pocketlens.data.file_kinds import BadImage as BadImage
from pocketlens.data.file_kinds import TooLarge as TooLarge
from pocketlens.data.fit import fit_picture
from pocketlens.data.identity import hash_file
from pocketlens.data.photos import MOST_PIXELS as MOST_PIXELS
from pocketlens.data.photos import check_size, draft, open_heic, open_large_jpeg
from pocketlens.data.pixels import GREY, check_finite, is_deep, orientation_of, pixels_of, tolerant, upright
from pocketlens.data.pixels import Levels as Levels
from pocketlens.data.pixels import Pixels as Pixels
from pocketlens.data.pixels import as_plain as as_plain
from pocketlens.data.pixels import to_channels as to_channels
from pocketlens.data.pixels import to_uint8 as to_uint8
from pocketlens.data.tiff import Tiff, check_tiff, read_tags, read_tiff
from pocketlens.errors import PocketlensError

MAX_PIXELS = 25_000_000
MAX_BYTES = 256 * 2**20


_AT_ONCE = 16  # images that a worker takes at a time, at most

Source = Path | bytes
T = TypeVar("T")


@dataclass(frozen=True)
class DecodeOptions:
    """What is read, and how.

    Attributes:
        max_pixels: pixels above which an image is decoded smaller where it can be, and else refused.
        heic: whether HEIC is opened where pillow-heif is installed; a server does not, unless it is told to.
        deep_colour: whether colour of 16 bits keeps its depth; else its upper 8 bits are read.
        version: of these rules; 1 reads what runs of before read: seven formats, nothing by tifffile, no colour of 16
            bits, no photo decoded smaller.
    """

    max_pixels: int = MAX_PIXELS
    heic: bool = True
    deep_colour: bool = True
    version: int = 2

    def __post_init__(self) -> None:
        if type(self.max_pixels) is not int or not 1 <= self.max_pixels <= MOST_PIXELS:
            raise PocketlensError(
                f"max_pixels must be a whole number of pixels, 1 to {MOST_PIXELS}, got {self.max_pixels!r}."
            )

    @property
    def is_deep_colour(self) -> bool:
        """Whether colour of 16 bits keeps its depth by these rules."""
        return self.deep_colour and self.version > 1


DEFAULT = DecodeOptions()


@dataclass(frozen=True)
class Header:
    """What the header of an image says, before anything is decoded."""

    height: int  # after EXIF orientation
    width: int
    mode: str  # Pillow's name, such as RGB or I;16, or one like it, such as RGB;16 or L;float64
    animated: bool
    is_cut: bool = False  # it has more than 8 bits, of which 8 are read
    is_partial: bool = False  # it has further channels, which are not read

    @property
    def deep(self) -> bool:
        """Whether its values go beyond 8 bits, so that levels are needed."""
        return is_deep(self.mode)

    @property
    def grey(self) -> bool:
        """Whether one channel holds it."""
        return self.mode.split(";")[0] in (*GREY, "I", "F")


@dataclass(frozen=True, eq=False)
class Decoded:
    """A decoded image.

    Attributes:
        pixels: (H, W, 1 or 3), uint8, or float32 with unscaled values where the image is deep.
        file_hash: the hash of the file, 16 bytes, where the image has more than 25 megapixels, whatever `max_pixels`
            is: its pixels depend on how much smaller it was decoded; else None, and the pixels say which image it is.
    """

    pixels: Pixels
    file_hash: bytes | None = None


@dataclass(frozen=True, eq=False)
class Opened:
    """A decoded image while its file is open: Pillow's image, or the pixels where Pillow does not give them rightly."""

    image: Image.Image | None
    other: Pixels | None
    file_hash: bytes | None  # as that of `Decoded`

    @property
    def pixels(self) -> Pixels:
        """(H, W, 1 or 3) uint8, or float32 with unscaled values where the image is deep."""
        if self.other is not None or self.image is None:
            return np.ascontiguousarray(self.other)
        return pixels_of(self.image)

    def plain(self, channels: int) -> Image.Image | None:
        """Pillow's image, upright, where its pixels need no other rule than that: 8 bits, so many channels, opaque."""
        return None if self.other is not None or self.image is None else as_plain(self.image, channels)


def read_image(
    source: Source,
    *,
    channels: int,
    levels: Levels | None = None,
    size: int | None = None,
    needed: int | None = None,
    options: DecodeOptions = DEFAULT,
) -> Pixels:
    """One image as (H, W, channels) uint8, by the rules above; with `size`, its central square at that size.

    With `needed`, or `size`, a photo that is too large may be decoded smaller, its sides at least that long. Call it
    through `map_images`, which keeps Pillow's warnings from the terminal and names no file in an error.

    Raises:
        BadImage: it cannot be read, or it is deep and there are no levels.
    """
    options = options if levels is not None else replace(options, deep_colour=False)
    pixels = to_channels(to_uint8(decode_image(source, options, needed=size or needed).pixels, levels), channels)
    return pixels if size is None else fit_picture(pixels, size, size)


def depth_note(header: Header, levels: Levels | None) -> str | None:
    """What to say where a model was trained on images of another depth than this one; None where nothing is to be said.

    Args:
        header: of the image; of one that has 16-bit colour, but is read by a model of 8-bit images, `is_cut` is set.
        levels: of the model: the deep values that became 0 and 255; None: it was trained on 8-bit images.
    """
    if levels is not None and not header.deep:
        return "it has 8 bits, but the model was trained on deeper images"
    return "of its 16 bits, the upper 8 are used" if levels is None and header.is_cut else None


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


def read_header(source: Source, options: DecodeOptions = DEFAULT) -> Header:
    """Reads the header and checks format and size; decodes nothing.

    Raises:
        BadImage: the format is not allowed, or the image is too large, however much smaller it is decoded.
    """
    data = _read(source)
    tiff = _tags(data, options)
    if tiff is not None and tiff.needs_tifffile:
        check_size(tiff.width * tiff.height, options.max_pixels)
        check_tiff(tiff)
        sides = (tiff.width, tiff.height) if tiff.orientation >= 5 else (tiff.height, tiff.width)
        return Header(*sides, tiff.mode, tiff.has_more)
    with _open(data, options) as image:
        mode, (width, height) = mode_of(image), image.size  # before the orientation: to find it, a PNG is decoded
        if image.format != "TIFF" and orientation_of(image) >= 5:  # Pillow itself turns TIFF images
            width, height = height, width
        is_series = image.format not in ("MPO", "HEIF")  # these hold other sizes and views of one photo
        is_animated = is_series and bool(tolerant(lambda: getattr(image, "is_animated", False), False))
        is_partial = tiff is not None and 0 in tiff.extra
        is_cut = mode is not None or loses_depth(image, data)
        if mode is None or not options.is_deep_colour:
            return Header(height, width, image.mode, is_animated, is_cut, is_partial)
        return Header(height, width, mode, is_animated, is_partial=is_partial)


def decode(source: Source) -> Pixels:
    """Decodes a whole image to (H, W, 1 or 3): uint8, or float32 with unscaled values where the image is deep.

    Raises:
        BadImage: it cannot be read completely.
    """
    return decode_image(source).pixels


def decode_image(source: Source, options: DecodeOptions = DEFAULT, *, needed: int | None = None) -> Decoded:
    """Decodes a whole image; see `opened`."""
    with opened(source, options, needed=needed) as found:
        return Decoded(found.pixels, found.file_hash)


@contextmanager
def opened(source: Source, options: DecodeOptions = DEFAULT, *, needed: int | None = None) -> Iterator[Opened]:
    """A whole image, decoded, before any scaling; what goes wrong in the block is a BadImage too.

    Args:
        source: a file, or its bytes.
        options: what is read, and how.
        needed: the shorter side in px that is enough, so that a photo that is too large may be decoded smaller.

    Raises:
        BadImage: it cannot be read completely.
    """
    data = _read(source)
    tiff = _tags(data, options)
    if tiff is not None and tiff.needs_tifffile:
        check_size(tiff.width * tiff.height, options.max_pixels)
        pixels = check_finite(upright(read_tiff(data, tiff), tiff.orientation))
        yield Opened(None, pixels, _file_hash(data, tiff.width * tiff.height))
        return
    with _open(data, options) as image:
        file_hash = _file_hash(data, image.width * image.height)
        draft(image, options.max_pixels, needed)
        try:
            if image.format == "PNG":  # decoding skips the checksums of its pixels, so that a flipped bit would pass
                Image.open(io.BytesIO(data), formats=("PNG",)).verify()
            yield Opened(image, _read_otherwise(image, data, tiff, options), file_hash)
        except BadImage:
            raise
        except Exception as error:  # decoders of damaged or hostile files raise anything
            raise BadImage(_reason(error)) from None


def _read_otherwise(image: Image.Image, data: bytes, tiff: Tiff | None, options: DecodeOptions) -> Pixels | None:
    """The pixels of an image that Pillow does not decode rightly; None of any other, which is decoded here."""
    if options.is_deep_colour and mode_of(image) is not None:
        return upright(read_deep_colour(data, lambda: _open(data, options)), orientation_of(image))
    image.load()
    if tiff is not None and tiff.white_is_zero and image.mode.startswith("I;16"):  # Pillow turns 8 bits round only
        return np.float32(2 ** max(tiff.bits) - 1) - pixels_of(image)
    return None


def _file_hash(data: bytes, n_pixels: int) -> bytes | None:
    return hash_file(data) if n_pixels > MAX_PIXELS else None


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


def _tags(data: bytes, options: DecodeOptions) -> Tiff | None:
    return read_tags(data) if options.version > 1 else None


def _open(data: bytes, options: DecodeOptions) -> Image.Image:
    """The image, undecoded; one that is too large only where it can be decoded smaller."""
    is_new, is_jpeg = options.version > 1, data[:3] == b"\xff\xd8\xff"
    is_heic = data[4:8] == b"ftyp" and kind_of(data[:N_HEAD]) == "HEIC"
    if is_heic and not options.heic:
        raise BadImage("it is HEIC, which is not opened here; start the server with --heic to open it")
    try:
        if is_heic and reads_heic() and is_new:
            image = open_heic(data)
        else:
            with _opening, warnings.catch_warnings():
                warnings.simplefilter("ignore")
                image = Image.open(io.BytesIO(data), formats=formats() if is_new else ALWAYS)
    except Image.DecompressionBombError as error:
        if is_jpeg and is_new:
            return open_large_jpeg(data, options.max_pixels)
        n_pixels = re.search(r"(\d+) pixels", str(error))
        found = int(n_pixels.group(1)) if n_pixels else 2 * options.max_pixels
        raise TooLarge(found, options.max_pixels) from None
    except Exception as error:  # decoders of damaged or hostile files raise anything
        tiff = _tags(data, options)
        if tiff is not None and type(error).__name__ == "UnidentifiedImageError":
            raise BadImage(f"a kind of TIFF that is not read ({tiff.describe()})") from None
        raise BadImage(unreadable(kind_of(data[:N_HEAD]), error)) from None
    if image.width * image.height > options.max_pixels and is_jpeg and is_new:
        image.close()
        return open_large_jpeg(data, options.max_pixels)
    check_size(image.width * image.height, options.max_pixels)
    return image


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"it cannot be decoded ({text or type(error).__name__})"


def as_png(image: NDArray[np.uint8]) -> bytes:
    """An image (H, W, 1 or 3) uint8 as a PNG."""
    buffer = io.BytesIO()
    Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image).save(buffer, "PNG")
    return buffer.getvalue()
