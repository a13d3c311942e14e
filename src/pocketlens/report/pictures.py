"""Pixels as data URIs, and the confusion matrix as a picture that stays readable with 100 classes."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pocketlens.scoring.confusion_cells import is_whole
from pocketlens.scoring.scores import Scores

if TYPE_CHECKING:
    import PIL.Image

_LARGEST = 128  # longest side in px of a picture in the gallery
_BLUE, _ORANGE = (0, 114, 178), (213, 94, 0)  # of Okabe and Ito's palette for all kinds of colour vision
_NAMES_FIT = 40  # classes up to which every row of the matrix carries its name
LONGEST_NAME = 30  # letters of a name beside the matrix; longer ones are cut
FAINTEST_FULL = 0.2  # share of a class below which no confusion has the full orange
_COUNTS_FIT = 12  # classes up to which every cell shows its count


@dataclass(frozen=True)
class Tick:
    """A name beside the matrix: of a class, or of a superclass over several rows; `middle` is in cells."""

    name: str
    middle: float


@dataclass(frozen=True)
class Cell:
    """A count inside the matrix, in cells."""

    row: int
    column: int
    count: int


@dataclass(frozen=True)
class Matrix:
    """The confusion matrix, ready to be placed: one picture element per cell, names, block lines and counts.

    Attributes:
        picture: data URI of a PNG with one pixel for each cell; blue where right, orange where wrong.
        n: cells on a side; cell: px of one cell; left, top, right: px for the names around the cells.
        ticks: names of rows and columns; blocks: cells at which a line between superclasses stands.
        strongest: the share of a class's rows that has the full orange.
        order: the class of each row and column.
        note: how to read it.
    """

    picture: str
    n: int
    cell: int
    left: int
    top: int
    right: int
    ticks: tuple[Tick, ...]
    blocks: tuple[int, ...]
    counts: tuple[Cell, ...]
    strongest: float
    order: tuple[int, ...]
    note: str


def draw_matrix(scores: Scores) -> Matrix | None:
    """The confusion matrix as shares of each true class, ordered and blocked by superclass where there are any.

    With too many classes for a picture there is none.
    """
    n = len(scores.classes)
    if not is_whole(n):
        return None
    above = np.zeros(n, np.int64) if scores.superclass_of is None else np.asarray(scores.superclass_of, np.int64)
    order = np.argsort(above, kind="stable")
    counts = scores.confusion.toarray()[order][:, order]
    share = counts / np.maximum(counts.sum(axis=1), 1)[:, None]
    wrong = share * (1 - np.eye(n))
    strongest = float(min(max(wrong.max(), FAINTEST_FULL), 0.5))
    blocks = np.flatnonzero(np.diff(above[order])) + 1
    names = [scores.classes[index] for index in order]
    if n <= _NAMES_FIT:
        ticks = [Tick(name, index + 0.5) for index, name in enumerate(names)]
        note = "Rows are true classes, columns predicted ones."
    elif scores.superclasses is not None and len(blocks):
        edges = [0, *blocks.tolist(), n]
        ticks = [Tick(scores.superclasses[above[order[start]]], (start + end) / 2) for start, end in pairwise(edges)]
        note = "Rows are true classes, columns predicted ones, in blocks by superclass."
    else:
        every = -(-n // _NAMES_FIT)
        ticks = [Tick(names[index], index + 0.5) for index in range(0, n, every)]
        note = f"Rows are true classes, columns predicted ones; every {every}th is named."
    longest = 7 * min(max(len(tick.name) for tick in ticks), LONGEST_NAME) + 12  # px of about 12 px letters
    cells = [Cell(int(row), int(column), int(counts[row, column])) for row, column in np.argwhere(counts > 0)]
    return Matrix(
        picture=_matrix_pixels(share, strongest),
        n=n,
        cell=int(np.clip(700 // n, 3, 44)),
        left=longest,
        top=int(0.87 * longest) + 14,
        right=longest // 2 + 14,
        ticks=tuple(ticks),
        blocks=tuple(int(block) for block in blocks),
        counts=tuple(cells) if n <= _COUNTS_FIT else (),
        strongest=strongest,
        order=tuple(int(index) for index in order),
        note=note,
    )


def encode_image(image: NDArray[np.uint8], largest: int = _LARGEST) -> str:
    """A data URI of one (H, W, C) uint8 image as PNG; sides longer than `largest` px are scaled down."""
    from PIL import Image

    picture = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
    if max(picture.size) > largest:
        picture.thumbnail((largest, largest), Image.Resampling.LANCZOS)
    return _png(picture)


def _matrix_pixels(share: NDArray[np.float64], strongest: float) -> str:
    """RGBA pixels whose opacity is the share (square root for the wrong ones), so that they suit any background."""
    from PIL import Image

    n = len(share)
    right = np.eye(n, dtype=bool)
    opacity = np.where(right, share, np.sqrt(np.minimum(share / strongest, 1.0)))
    pixels = np.empty((n, n, 4), np.uint8)
    pixels[..., :3] = np.where(right[..., None], np.array(_BLUE), np.array(_ORANGE))
    pixels[..., 3] = np.round(255 * 0.85 * opacity)
    return _png(Image.fromarray(pixels))


def _png(picture: PIL.Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
