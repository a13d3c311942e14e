"""From encoded images (files in a folder, cells of a parquet file) to an entry of the decoded cache.

First the headers decide the shape and the number of channels, then everything is decoded, on all cores and in bounded
memory. All bad images are found before anything is kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from itertools import compress

import numpy as np
from numpy.typing import NDArray

from pocketlens.data.dataset import Dataset, Labels
from pocketlens.data.fit import Form, fit_image, fit_picture
from pocketlens.data.identity import hash_image, hash_pixels
from pocketlens.data.images import (
    BadImage,
    Decoded,
    Levels,
    Source,
    decode_image,
    map_images,
    opened,
    to_channels,
    to_uint8,
)
from pocketlens.data.levels import FoundLevels, Sample, extreme_levels, robust_levels, sample
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
from pocketlens.datasets._notes import bad_notes, header_notes
from pocketlens.errors import PocketlensError
from pocketlens.text import counted


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


def load_encoded(origin: Origin, rules: Rules, aim: Aim | None, source: AbstractContextManager[Encoded]) -> Entry:
    """The images of an origin, from the cache, or decoded into it; `source` is entered only where it is needed.

    Where no size is typed, it follows from the images and from what they are for.

    Raises:
        PocketlensError: images are bad (all of them are named), or of different sizes and for nothing.
    """
    origin = replace(origin, options=rules.options)
    chosen: Rules | None = rules
    if rules.size is None and rules.form is None and aim is not None:
        sizes = saved_sizes(origin)
        chosen = None if sizes is None else choose_size(rules, sizes, aim)
    key = None if chosen is None else origin.key(chosen)
    entry = None if key is None else find(key)
    if entry is not None:
        return entry
    with source as encoded:
        encoded = replace(encoded, origin=origin)
        if chosen is not None and key is not None:
            return store(key, encoded, chosen)
        assert aim is not None
        chosen = choose_size(rules, source_sizes(read_headers(encoded.sources, rules.options, origin)), aim)
        key = origin.key(chosen)
        return find(key) or store(key, encoded, chosen)


def store(key: Key, encoded: Encoded, rules: Rules) -> Entry:
    """Decodes everything into the cache.

    Raises:
        PocketlensError: images are bad (all of them are named) or of different sizes.
    """
    can_skip, form = rules.shape is None, rules.form
    headers = read_headers(encoded.sources, rules.options, encoded.origin) if can_skip and form is None else []
    rules = rules if form is None else replace(rules, shape=form.shape)
    rules = _with_shape(encoded, rules, headers)
    deep = np.array([header is not None and header.deep for header in headers], bool)
    notes = header_notes([header for header in headers if header is not None])
    depth = _levels(encoded, deep, rules) if deep.any() else _Depth(encoded.held)
    held, levels = depth.held, None if depth.found is None else depth.found.levels
    if depth.found is not None:
        notes += (f"{counted(int(deep.sum()), 'image is', 'images are')} deeper than 8 bits: {depth.found.describe()}",)
    bad: dict[int, BadImage] = {}

    def chunks(shape: Shape) -> Iterator[Chunk]:
        rows = max(1, min(chunk_rows(shape), 4096))
        good: list[_Picture] = []
        read = map_images(partial(_read, rules=rules, levels=levels), encoded.sources, rows)
        for row, result in enumerate(key.tally.over(read, "decoding images", len(encoded.names))):
            if isinstance(result, BadImage):
                bad[row] = result
            else:
                good.append(result)
            if len(good) == rows:
                yield _joined(good)
                good = []
        if good:
            yield _joined(good)

    with staging(key) as stage:
        hashes = write_images(stage, chunks(rules.shape or (1, 1, 1)))
        notes += bad_notes(encoded.text, encoded.names, bad, rules.bad == "skip" if can_skip else None)
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
    if rules.form is not None:
        return _read_in_form(source, rules.form, rules)
    height, width, channels = rules.shape or (1, 1, 1)
    options = replace(rules.options, deep_colour=levels is not None)
    with opened(source, options, needed=rules.size) as found:
        plain = None if rules.size is None or rules.hold_out == 1 else found.plain(channels)
        if plain is not None:  # the usual photo, whose pixels need not be copied to be resized
            return _Picture(fit_image(plain, height, width, rules.fit), found.file_hash or hash_image(plain))
        decoded = Decoded(found.pixels, found.file_hash)
    pixels = to_channels(to_uint8(decoded.pixels, levels), channels)
    fitted = pixels if rules.size is None else fit_picture(pixels, height, width, rules.fit)
    if fitted.shape != rules.shape:
        raise BadImage(f"it is {fitted.shape[1]}x{fitted.shape[0]}, it must be {width}x{height}")
    return _Picture(fitted, hash_pixels(fitted) if rules.hold_out == 1 else hash_source(decoded, pixels))


def _read_in_form(source: Source, form: Form, rules: Rules) -> _Picture:
    """One picture in the form that a trained model takes, as `predict` reads it."""
    height, width, channels = form.shape
    options = replace(rules.options, deep_colour=form.levels is not None)
    decoded = decode_image(source, options, needed=max(height, width))
    pixels = to_channels(to_uint8(decoded.pixels, form.levels), channels)
    fitted = fit_picture(pixels, height, width, form.fit)
    return _Picture(fitted, hash_pixels(fitted) if rules.hold_out == 1 else hash_source(decoded, pixels))


def hash_source(decoded: Decoded, pixels: NDArray[np.uint8]) -> bytes:
    """16 bytes that are the same for the same picture at every size, fit and level: the hash of its source pixels.

    That of a photo of more than 25 megapixels is the hash of its file, as it may be decoded smaller.

    Args:
        decoded: the picture as it was decoded, before any scaling.
        pixels: the same with the channels of the data set, (H, W, C), before any resizing.
    """
    return decoded.file_hash or hash_pixels(pixels if decoded.pixels.dtype == np.uint8 else decoded.pixels)


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
        val=table.columns["val"] > 0 if "val" in table.columns else None,
        folds=table.columns.get("folds"),
    )
    return split_parts(whole, int(table.held.sum()))


def split_parts(whole: Dataset, n_test: int) -> Parts:
    """Cuts the last `n_test` rows off as the test part; images stay memory-mapped, nothing is copied."""
    n = len(whole) - n_test
    val = None if whole.val is None or not whole.val[:n].any() else whole.val[:n]
    folds = None if whole.folds is None else whole.folds[:n]
    development, test = (
        replace(
            whole,
            images=whole.images[rows],
            labels=whole.labels[rows],
            hashes=whole.hashes[rows],
            strata=None if whole.strata is None else whole.strata[rows],
            groups=None if whole.groups is None else whole.groups[rows],
            files=None if whole.files is None else whole.files[rows],
            val=None,
            folds=None,
        )
        for rows in (slice(0, n), slice(n, None))
    )
    return Parts(replace(development, val=val, folds=folds), test)


def _with_shape(encoded: Encoded, rules: Rules, headers: Headers) -> Rules:
    """The rules with their shape filled in from the headers, which are there where it is not given."""
    if not encoded.names:
        raise PocketlensError(f"{encoded.text}: the data set must have at least one image, it has none.")
    if rules.shape is not None:
        return rules
    sizes = source_sizes(headers)
    if rules.size is None and sizes is not None and sizes.n_sizes > 1:
        raise PocketlensError(
            f"{encoded.text}: all images must have one size, they have {sizes} (width x height); give the size to "
            f"resize them to, as in {encoded.text}(…, size=32)."
        )
    height, width = (1, 1) if sizes is None else sizes.smallest
    channels = 1 if all(header.grey for header in headers if header is not None) else 3
    shape = (height, width, channels) if rules.size is None else (rules.size, rules.size, channels)
    return replace(rules, shape=shape)


@dataclass(frozen=True, eq=False)
class _Depth:
    """The test rows, and the levels of a data set that holds deep images."""

    held: NDArray[np.bool_] | None
    found: FoundLevels | None = None


@dataclass(frozen=True, eq=False)
class _Measured:
    """The hash of a picture before any scaling, and some of its values."""

    hash: bytes
    values: Sample


def _levels(encoded: Encoded, deep: NDArray[np.bool_], rules: Rules) -> _Depth:
    """The levels of the deep development rows, and the test rows.

    The levels decide the 8-bit pixels, so where no test rows are official the unscaled values decide what is held out.
    """
    measured = list(map_images(partial(_measure, rules=rules, n=len(encoded.names)), encoded.sources))
    good = np.array([not isinstance(result, BadImage) for result in measured], bool)
    values = [result for result in measured if not isinstance(result, BadImage)]
    held = np.zeros(len(good), bool)
    if encoded.held is not None:
        held = encoded.held
    elif values:
        hashes = np.frombuffer(b"".join(each.hash for each in values), np.uint8).reshape(-1, 16)
        columns = {name: column[good] for name, column in encoded.columns.items()}
        held[good] = hold_out_test(hashes, columns, encoded.classes, rules.hold_out)
    used = [each.values for each, is_used in zip(values, (deep & ~held)[good], strict=True) if is_used]
    if not used:
        return _Depth(held)
    return _Depth(held, extreme_levels(used) if rules.hold_out == 1 else robust_levels(used))


def _measure(source: Source, *, rules: Rules, n: int) -> _Measured:
    decoded = decode_image(source, rules.options, needed=rules.size)
    pixels, values = decoded.pixels, sample(decoded.pixels, n)
    if rules.hold_out == 1:
        person = str(pixels.shape).encode()[:16]
        return _Measured(hashlib.blake2b(pixels.tobytes(), digest_size=16, person=person).digest(), values)
    channels = rules.shape[2] if rules.shape else 1
    eight = pixels if pixels.dtype != np.uint8 else to_channels(pixels, channels)
    return _Measured(hash_source(decoded, eight), values)
