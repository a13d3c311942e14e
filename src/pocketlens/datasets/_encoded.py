"""From encoded images (files in a folder, cells of a parquet file) to an entry of the decoded cache.

First the headers decide the shape and the number of channels, then everything is decoded, on all cores and in bounded
memory. All bad images are found before anything is kept.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import compress

import numpy as np
from numpy.typing import NDArray

from pocketlens.data.dataset import Dataset, Images, Labels
from pocketlens.data.images import BadImage, Header, Source, decode, map_images, read_header, read_image
from pocketlens.data.sources.cache import Entry, Key, Table, chunk_rows, finish, found, staging, write_images
from pocketlens.data.split import Parts, hold_out_test
from pocketlens.errors import PocketlensError
from pocketlens.text import listed

Shape = tuple[int, int, int]


class MixedSizes(PocketlensError):
    """Images of different sizes where all must have one; `sides` are their shorter sides in px."""

    def __init__(self, message: str, sides: tuple[int, ...]) -> None:
        super().__init__(message)
        self.sides = sides


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


@dataclass(frozen=True)
class Rules:
    """How the images of a source become equal in size, and what happens to bad ones."""

    size: int | None = None
    bad: str = "error"
    shape: Shape | None = None  # what every image must be, where that is known

    def __post_init__(self) -> None:
        if self.size is not None and (type(self.size) is not int or not 1 <= self.size <= 4096):
            raise PocketlensError(f"size must be a whole number of pixels, 1 to 4096, got {self.size!r}.")
        if self.bad not in ("error", "skip"):
            raise PocketlensError(f"bad must be 'error' or 'skip', got {self.bad!r}.")


def store(key: Key, encoded: Encoded, rules: Rules) -> Entry:
    """Decodes everything into the cache.

    Raises:
        PocketlensError: images are bad (all of them are named) or of different sizes.
    """
    can_skip = rules.shape is None
    rules, deep, notes = _read_headers(encoded, rules)
    levels, held = _levels(encoded, deep) if deep.any() else (None, encoded.held)
    if levels is not None:
        notes += (
            f"{int(deep.sum())} images are deeper than 8 bits: {levels[0]:g} became 0 and {levels[1]:g} became 255",
        )
    bad: dict[int, str] = {}

    def chunks(shape: Shape) -> Iterator[Images]:
        def read(source: Source) -> NDArray[np.uint8]:
            pixels = read_image(source, channels=shape[2], levels=levels, size=rules.size)
            if pixels.shape != shape:
                raise BadImage(f"it is {pixels.shape[1]}x{pixels.shape[0]}, it must be {shape[1]}x{shape[0]}")
            return pixels

        rows = max(1, min(chunk_rows(shape), 4096))
        good: list[NDArray[np.uint8]] = []
        for row, result in enumerate(map_images(read, encoded.sources, rows)):
            if isinstance(result, BadImage):
                bad[row] = str(result)
            else:
                good.append(result)
            if len(good) == rows:
                yield np.stack(good)
                good = []
        if good:
            yield np.stack(good)

    with staging(key) as stage:
        hashes = write_images(stage, chunks(rules.shape or (1, 1, 1)))
        notes += _report(encoded, rules.bad == "skip", can_skip, bad)
        kept = np.array([row not in bad for row in range(len(encoded.names))], bool)
        columns = {name: column[kept] for name, column in encoded.columns.items()}
        files = tuple(compress(encoded.names, kept))
        held = None if held is None else held[kept]
        finish(stage, hashes, Table(columns, encoded.classes, held, files, encoded.notes + notes, levels))
    return found(key)


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


def _read_headers(encoded: Encoded, rules: Rules) -> tuple[Rules, NDArray[np.bool_], tuple[str, ...]]:
    """Reads the headers: the rules with their shape filled in, which rows are deep, and notes."""
    n = len(encoded.names)
    if n == 0:
        raise PocketlensError(f"{encoded.text}: the data set must have at least one image, it has none.")
    if rules.shape is not None:
        return rules, np.zeros(n, bool), ()
    headers = [None if isinstance(header, BadImage) else header for header in map_images(read_header, encoded.sources)]
    good = [header for header in headers if header is not None]
    sizes = sorted({(header.width, header.height) for header in good}, key=lambda size: size[0] * size[1])
    if rules.size is None and len(sizes) > 1:
        (low, high) = (f"{width}x{height}" for width, height in (sizes[0], sizes[-1]))
        raise MixedSizes(
            f"{encoded.text}: all images must have one size, they have {len(sizes)} sizes from {low} to {high} "
            f"(width x height); give the size to resize them to, as in {encoded.text}(…, size=32).",
            tuple(sorted(min(header.width, header.height) for header in good)),
        )
    width, height = sizes[0] if sizes else (1, 1)
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


def _levels(encoded: Encoded, deep: NDArray[np.bool_]) -> tuple[tuple[float, float] | None, NDArray[np.bool_]]:
    """Lowest and highest deep value of the development rows, and the test rows.

    The levels decide the 8-bit pixels, so where no test rows are official the unscaled values decide what is held out.
    """

    def measure(source: Source) -> tuple[bytes, float, float]:
        pixels = decode(source)
        digest = hashlib.blake2b(pixels.tobytes(), digest_size=16, person=str(pixels.shape).encode()[:16])
        return digest.digest(), float(pixels.min()), float(pixels.max())

    measured = list(map_images(measure, encoded.sources))
    good = np.array([not isinstance(result, BadImage) for result in measured], bool)
    values = [result for result in measured if not isinstance(result, BadImage)]
    held = np.zeros(len(good), bool)
    if encoded.held is not None:
        held = encoded.held
    elif values:
        hashes = np.frombuffer(b"".join(digest for digest, _, _ in values), np.uint8).reshape(-1, 16)
        held[good] = hold_out_test(hashes, {k: v[good] for k, v in encoded.columns.items()}, encoded.classes)
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
