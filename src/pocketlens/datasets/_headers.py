"""What the headers of encoded images say: read once, kept in the decoded cache, and the size that follows from them.

An `Origin` names the files that images come from and what decides which rows are read from them; the saved headers and
the decoded entries are found by it. `Rules` say how the images of a source become equal in size.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from pocketlens.data.fit import FITS, Form
from pocketlens.data.images import (
    DEFAULT,
    MAX_PIXELS,
    MOST_PIXELS,
    BadImage,
    DecodeOptions,
    Header,
    Source,
    map_images,
    read_header,
)
from pocketlens.data.sizes import Aim, SourceSizes, size_for
from pocketlens.data.sources.cache import Key, read_note, write_note
from pocketlens.data.split import HOLD_OUT_VERSION
from pocketlens.errors import PocketlensError
from pocketlens.events import Tally

Shape = tuple[int, int, int]
Headers = list[Header | None]  # None: the image is bad
_FIELDS = [each.name for each in dataclasses.fields(Header)]


@dataclass(frozen=True)
class Rules:
    """How the images of a source become equal in size, what happens to bad ones, and what is held out.

    Attributes:
        size: the side in px to which every image is brought; None: they have one size.
        bad: "error" or "skip".
        shape: what every image must be, where that is known.
        fit: how an image of another shape becomes square, one of `data.fit.FITS`.
        hold_out: the version of the rule by which test rows are held out; 1 goes by the pixels after resizing, and
            reads what runs of before read.
        max_pixels: above which an image is decoded smaller where it can be, and else refused.
        form: to which every image is brought, whatever it is, for a model that is to judge it; None: the data decides.
    """

    size: int | None = None
    bad: str = "error"
    shape: Shape | None = None
    fit: str = "crop"
    hold_out: int = HOLD_OUT_VERSION
    max_pixels: int = MAX_PIXELS
    form: Form | None = None

    def __post_init__(self) -> None:
        if self.size is not None and (type(self.size) is not int or not 1 <= self.size <= 4096):
            raise PocketlensError(f"size must be a whole number of pixels, 1 to 4096, got {self.size!r}.")
        if self.bad not in ("error", "skip"):
            raise PocketlensError(f"bad must be 'error' or 'skip', got {self.bad!r}.")
        if type(self.max_pixels) is not int or not MAX_PIXELS <= self.max_pixels <= MOST_PIXELS:
            raise PocketlensError(
                f"max_pixels must be a whole number of pixels, {MAX_PIXELS} to {MOST_PIXELS}, got {self.max_pixels!r}."
            )
        if self.fit not in FITS:
            raise PocketlensError(f"fit must be {', '.join(map(repr, FITS[:-1]))} or {FITS[-1]!r}, got {self.fit!r}.")

    @property
    def options(self) -> DecodeOptions:
        """What is read, and how."""
        return DecodeOptions(self.max_pixels, version=1 if self.hold_out == 1 else 2)

    @property
    def how(self) -> str:
        """What decides the pixels and their order; entries of before are found by what they were named after."""
        before = f"Rules(size={self.size!r}, bad={self.bad!r}, shape={self.shape!r}"
        fit = "" if self.fit == "crop" else f", fit={self.fit!r}"
        fit += "" if self.max_pixels == MAX_PIXELS else f", max_pixels={self.max_pixels}"
        fit += "" if self.form is None else f", form={self.form}"
        return f"{before}{fit})" if self.hold_out == 1 else f"{before}{fit}, hold_out={self.hold_out})"


@dataclass(frozen=True)
class Origin:
    """Where encoded images come from.

    Attributes:
        name: of the reader, such as folder.
        files: all files that are read.
        rows: decides, beside their content, which rows are read from them.
        options: what is read of them, and how.
        tally: to which reading says how far it is.
    """

    name: str
    files: tuple[Path, ...]
    rows: str
    options: DecodeOptions = DEFAULT
    tally: Tally = field(default_factory=Tally, compare=False, repr=False)

    @cached_property
    def headers_key(self) -> Key:
        """Of the headers."""
        return Key(self.files, f"({self.name!r}, 'headers', {self.rows}, {self.options})", self.tally)

    @cached_property
    def sizes_key(self) -> Key:
        """Of what their sizes come to."""
        return self.headers_key.read_as(f"({self.name!r}, 'sizes', {self.rows}, {self.options})")

    def key(self, rules: Rules) -> Key:
        """Of the decoded images."""
        return self.headers_key.read_as(f"({self.name!r}, {rules.how}, {self.rows})")


def read_headers(sources: Iterable[Source], options: DecodeOptions, origin: Origin | None = None) -> Headers:
    """The headers of all sources, in their order; read once for the same files of an origin."""
    saved = None if origin is None else saved_headers(origin)
    if saved is not None:
        return saved
    found = map_images(partial(read_header, options=options), sources)
    if origin is not None:
        found = origin.tally.over(found, "reading headers", len(origin.files))
    headers = [None if isinstance(header, BadImage) else header for header in found]
    if origin is not None:
        rows = [None if header is None else [getattr(header, name) for name in _FIELDS] for header in headers]
        with suppress(OSError):  # it only makes the next start faster
            write_note(origin.headers_key, {"fields": _FIELDS, "rows": rows})
            sizes = source_sizes(headers)
            write_note(origin.sizes_key, None if sizes is None else dataclasses.asdict(sizes))
    return headers


def saved_headers(origin: Origin) -> Headers | None:
    """The headers that were read before, where the files are the same."""
    note = read_note(origin.headers_key)
    if not isinstance(note, dict) or note.get("fields") != _FIELDS or not isinstance(note.get("rows"), list):
        return None
    return [None if row is None else Header(*row) for row in note["rows"]]


def saved_sizes(origin: Origin) -> SourceSizes | None:
    """The sizes of the images, where their headers were read before."""
    with suppress(KeyError, TypeError):
        note = read_note(origin.sizes_key)
        return None if note is None else SourceSizes.from_dict(note)
    return None


def source_sizes(headers: Headers) -> SourceSizes | None:
    """The sizes of the images that can be read; None where none can."""
    sizes = [(header.height, header.width) for header in headers if header is not None]
    return SourceSizes.of(np.array(sizes, np.int64)) if sizes else None


def choose_size(rules: Rules, sizes: SourceSizes | None, aim: Aim) -> Rules:
    """The rules with the size that follows from the images and from what they are for."""
    return rules if sizes is None else replace(rules, size=size_for(sizes, aim))
