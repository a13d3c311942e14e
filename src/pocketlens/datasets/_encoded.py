"""From encoded images (files in a folder, cells of a parquet file) to an entry of the decoded cache.

First the headers decide the shape and the number of channels, then everything is decoded, on all cores and in bounded
memory. All bad images are found before anything is kept.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from itertools import compress

import numpy as np
from numpy.typing import NDArray

from pocketlens.data.dataset import Dataset, Labels
from pocketlens.data.fit import fit_image, fit_picture
from pocketlens.data.identity import hash_image, hash_pixels
from pocketlens.data.images import (
    BadImage,
    Header,
    Levels,
    Pixels,
    Source,
    as_plain,
    decode,
    decoded,
    map_images,
    pixels_of,
    to_channels,
    to_uint8,
)
from pocketlens.data.sizes import Aim
from pocketlens.data.sources.cache import (
    Chunk,
    Entry,
    Key,
    Table,
    chunk_rows,
    find,
    finish,
    found,
    staging,
    write_images,
)
from pocketlens.data.split import Parts, hold_out_test
from pocketlens.datasets._headers import (
    Headers,
    Origin,
    Rules,
    Shape,
    choose_size,
    read_headers,
    saved_sizes,
    source_sizes,
)
from pocketlens.errors import PocketlensError
from pocketlens.text import listed


@dataclass(frozen=True, eq=False)
class Encoded:
    """Encoded images with their columns, row by row; `sources` can be iterated several times."""

    text: str  # names the data set in errors
    sources: Iterable[Source]
    names: tuple[str, ...]
    columns: dict[str, Labels]
    classes: tuple[str, ...]
    held: NDArray[np.bool_] | None = None  # the official test rows
    notes: tuple[str, ...] = ()
    origin: Origin | None = None  # where their headers are kept


@dataclass(frozen=True, eq=False)
class _Picture:
    """A picture as it is trained on, (H, W, C) uint8, and the hash of its source."""

    pixels: NDArray[np.uint8]
    hash: bytes


def load_encoded(origin: Origin, rules: Rules, aim: Aim | None, opened: AbstractContextManager[Encoded]) -> Entry:
    """The images of an origin, from the cache, or decoded into it; `opened` is entered only where it is needed.

    Where no size is typed, it follows from the images and from what they are for.

    Raises:
        PocketlensError: images are bad (all of them are named), or of different sizes and for nothing.
    """
    chosen: Rules | None = rules
    if rules.size is None and aim is not None:
        sizes = saved_sizes(origin)
        chosen = None if sizes is None else choose_size(rules, sizes, aim)
    key = None if chosen is None else origin.key(chosen)
    entry = None if key is None else find(key)
    if entry is not None:
        return entry
    with opened as encoded:
        encoded = replace(encoded, origin=origin)
        if chosen is not None and key is not None:
            return store(key, encoded, chosen)
        assert aim is not None
        chosen = choose_size(rules, source_sizes(read_headers(encoded.sources, origin)), aim)
        key = origin.key(chosen)
        return find(key) or store(key, encoded, chosen)


def store(key: Key, encoded: Encoded, rules: Rules) -> Entry:
    """Decodes everything into the cache.

    Raises:
        PocketlensError: images are bad (all of them are named) or of different sizes.
    """
    can_skip = rules.shape is None
    headers = read_headers(encoded.sources, encoded.origin) if can_skip else []
    rules, deep, notes = _with_shape(encoded, rules, headers)
    levels, held = _levels(encoded, deep, rules) if deep.any() else (None, encoded.held)
    if levels is not None:
        notes += (
            f"{int(deep.sum())} images are deeper than 8 bits: {levels[0]:g} became 0 and {levels[1]:g} became 255",
        )
    bad: dict[int, str] = {}

    def chunks(shape: Shape) -> Iterator[Chunk]:
        rows = max(1, min(chunk_rows(shape), 4096))
        good: list[_Picture] = []
        for row, result in enumerate(map_images(partial(_read, rules=rules, levels=levels), encoded.sources, rows)):
            if isinstance(result, BadImage):
                bad[row] = str(result)
            else:
                good.append(result)
            if len(good) == rows:
                yield _joined(good)
                good = []
        if good:
            yield _joined(good)

    with staging(key) as stage:
        hashes = write_images(stage, chunks(rules.shape or (1, 1, 1)))
        notes += _report(encoded, rules.bad == "skip", can_skip, bad)
        kept = np.array([row not in bad for row in range(len(encoded.names))], bool)
        table = Table(
            columns={name: column[kept] for name, column in encoded.columns.items()},
            classes=encoded.classes,
            held=None if held is None else held[kept],
            files=tuple(compress(encoded.names, kept)),
            notes=encoded.notes + notes,
            levels=levels,
            sizes=source_sizes(headers),
            hold_out=rules.hold_out,
        )
        finish(stage, hashes, table)
    return found(key)


def _read(source: Source, *, rules: Rules, levels: Levels | None) -> _Picture:
    """One picture in the shape that the rules give it. Its hash is that of the decoded source, whatever they are."""
    height, width, channels = rules.shape or (1, 1, 1)
    with decoded(source) as image:
        plain = None if rules.size is None or rules.hold_out == 1 else as_plain(image, channels)
        if plain is not None:  # the usual photo, whose pixels need not be copied to be resized
            return _Picture(fit_image(plain, height, width, rules.fit), hash_image(plain))
        unscaled = pixels_of(image)
    pixels = to_channels(to_uint8(unscaled, levels), channels)
    fitted = pixels if rules.size is None else fit_picture(pixels, height, width, rules.fit)
    if fitted.shape != rules.shape:
        raise BadImage(f"it is {fitted.shape[1]}x{fitted.shape[0]}, it must be {width}x{height}")
    return _Picture(fitted, hash_pixels(fitted) if rules.hold_out == 1 else hash_source(unscaled, pixels))


def hash_source(unscaled: Pixels, pixels: NDArray[np.uint8]) -> bytes:
    """16 bytes that are the same for the same picture at every size, fit and level: the hash of its source pixels.

    Args:
        unscaled: the picture as it was decoded, (H, W, 1 or 3), before any scaling.
        pixels: the same with the channels of the data set, (H, W, C), before any resizing.
    """
    return hash_pixels(pixels if unscaled.dtype == np.uint8 else unscaled)


def _joined(pictures: list[_Picture]) -> Chunk:
    hashes = np.frombuffer(b"".join(picture.hash for picture in pictures), np.uint8).reshape(-1, 16)
    return Chunk(np.stack([picture.pixels for picture in pictures]), hashes)


def parts(entry: Entry, text: str, labels: str = "labels") -> Parts:
    """The parts of an entry whose column `labels` holds the labels."""
    table = entry.table
    assert table.held is not None
    whole = Dataset(
        text,
        entry.images,
        table.columns[labels],
        table.classes,
        entry.hashes,
        groups=table.columns.get("groups"),
        files=table.files,
        notes=table.notes,
        levels=table.levels,
        sizes=table.sizes,
    )
    return split_parts(whole, int(table.held.sum()))


def split_parts(whole: Dataset, n_test: int) -> Parts:
    """Cuts the last `n_test` rows off as the test part; images stay memory-mapped, nothing is copied."""
    n = len(whole) - n_test
    development, test = (
        replace(
            whole,
            images=whole.images[rows],
            labels=whole.labels[rows],
            hashes=whole.hashes[rows],
            strata=None if whole.strata is None else whole.strata[rows],
            groups=None if whole.groups is None else whole.groups[rows],
            files=None if whole.files is None else whole.files[rows],
        )
        for rows in (slice(0, n), slice(n, None))
    )
    return Parts(development, test)


def _with_shape(encoded: Encoded, rules: Rules, headers: Headers) -> tuple[Rules, NDArray[np.bool_], tuple[str, ...]]:
    """The rules with their shape filled in from the headers, which rows are deep, and notes."""
    n = len(encoded.names)
    if n == 0:
        raise PocketlensError(f"{encoded.text}: the data set must have at least one image, it has none.")
    if rules.shape is not None:
        return rules, np.zeros(n, bool), ()
    good = [header for header in headers if header is not None]
    sizes = source_sizes(headers)
    if rules.size is None and sizes is not None and sizes.n_sizes > 1:
        raise PocketlensError(
            f"{encoded.text}: all images must have one size, they have {sizes} (width x height); give the size to "
            f"resize them to, as in {encoded.text}(…, size=32)."
        )
    height, width = (1, 1) if sizes is None else sizes.smallest
    channels = 1 if all(header.grey for header in good) else 3
    shape = (height, width, channels) if rules.size is None else (rules.size, rules.size, channels)
    deep = np.array([header is not None and header.deep for header in headers], bool)
    return replace(rules, shape=shape), deep, _header_notes(good)


def _header_notes(headers: list[Header]) -> tuple[str, ...]:
    modes = Counter(header.mode for header in headers)
    n_animated = sum(header.animated for header in headers)
    notes = []
    if len(modes) > 1:
        notes.append(
            "images of several modes were converted to one: "
            + ", ".join(f"{n} {mode}" for mode, n in modes.most_common())
        )
    if n_animated:
        notes.append(f"{n_animated} images are animated: their first frame is used")
    return tuple(notes)


def _levels(
    encoded: Encoded, deep: NDArray[np.bool_], rules: Rules
) -> tuple[tuple[float, float] | None, NDArray[np.bool_]]:
    """Lowest and highest deep value of the development rows, and the test rows.

    The levels decide the 8-bit pixels, so where no test rows are official the unscaled values decide what is held out.
    """

    def digest(pixels: Pixels) -> bytes:
        if rules.hold_out == 1:
            return hashlib.blake2b(pixels.tobytes(), digest_size=16, person=str(pixels.shape).encode()[:16]).digest()
        deep = pixels.dtype != np.uint8
        return hash_source(pixels, pixels if deep else to_channels(pixels, rules.shape[2] if rules.shape else 1))

    def measure(source: Source) -> tuple[bytes, float, float]:
        pixels = decode(source)
        return digest(pixels), float(pixels.min()), float(pixels.max())

    measured = list(map_images(measure, encoded.sources))
    good = np.array([not isinstance(result, BadImage) for result in measured], bool)
    values = [result for result in measured if not isinstance(result, BadImage)]
    held = np.zeros(len(good), bool)
    if encoded.held is not None:
        held = encoded.held
    elif values:
        hashes = np.frombuffer(b"".join(value[0] for value in values), np.uint8).reshape(-1, 16)
        columns = {name: column[good] for name, column in encoded.columns.items()}
        held[good] = hold_out_test(hashes, columns, encoded.classes, rules.hold_out)
    used = [value for value, is_used in zip(values, (deep & ~held)[good], strict=True) if is_used]
    if not used:
        return None, held
    return (min(low for _, low, _ in used), max(high for _, _, high in used)), held


def _report(encoded: Encoded, skip: bool, can_skip: bool, bad: dict[int, str]) -> tuple[str, ...]:
    """Raises, or notes, the images that could not be read."""
    if not bad:
        return ()
    named = listed([f"{encoded.names[row]} ({reason})" for row, reason in sorted(bad.items())])
    if not skip or len(bad) == len(encoded.names):
        hint = (
            f"; repair or remove them, or skip them with {encoded.text}(…, bad='skip')" if can_skip and not skip else ""
        )
        raise PocketlensError(
            f"{encoded.text}: {len(bad)} of {len(encoded.names)} images cannot be read: {named}{hint}."
        )
    return (f"{len(bad)} images cannot be read and were skipped: {named}",)
