"""The pictures of the rows that were scored: from the data where that is there, else the few that the run keeps.

Test pictures come from the sealed part only where this run has opened it, on the record, and without their labels:
those are in the run's predictions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pocketlens.data.dataset import Dataset, Images, SealedTest
from pocketlens.report.run.sheets import Sheets, make_sheets
from pocketlens.scoring.predictions import Mistakes, Pictures

if TYPE_CHECKING:
    from pocketlens.scoring.scores import Scores

Rows = NDArray[np.int64]
SMALL = 64  # px of the longer side of a small picture
_AT_A_TIME = 1024


class Chunk(NamedTuple):
    """Some rows and their pictures."""

    rows: Rows
    images: Images


@dataclass(frozen=True, eq=False)
class RowPictures:
    """Where the pictures of the scored rows are.

    Attributes:
        dataset: the development rows, where these were scored and the data is there.
        sealed: the test part, where that was scored and the data is there.
        kept: what the run keeps of them.
    """

    dataset: Dataset | None
    sealed: SealedTest | None
    kept: tuple[Pictures, ...]

    @property
    def is_whole(self) -> bool:
        """Whether the data is there, and with it every picture."""
        return self.dataset is not None or self.sealed is not None

    def has(self, rows: Rows) -> NDArray[np.bool_]:
        """(N,) bool: which of the rows have a picture."""
        if self.is_whole:
            return np.ones(len(rows), bool)
        return np.isin(rows, [row for each in self.kept for row in each.rows.tolist()])

    def shape(self) -> tuple[int, int, int] | None:
        """(height, width, channels) of every picture; None where there are none."""
        if self.dataset is not None:
            return self.dataset.shape
        if self.sealed is not None and len(self.sealed):
            shape = next(self.sealed.images_without_labels(1)).shape[1:]
        else:
            shape = next((each.images.shape[1:] for each in self.kept if len(each.rows)), (0, 0, 0))
        height, width, channels = shape
        return (height, width, channels) if height else None

    def take(self, rows: Rows, height: int, width: int) -> Images:
        """(n, height, width, C) uint8: the pictures of rows that have one, scaled down to that size.

        Pictures are read some at a time, so that large ones need no more memory than they take when small.
        """
        shape = self.shape()
        if shape is None or not len(rows):
            return np.zeros((0, height, width, 3), np.uint8)
        found = np.zeros((len(rows), height, width, shape[2]), np.uint8)
        order = np.argsort(rows, kind="stable")
        ascending = rows[order]
        for chunk in self.chunks(ascending):
            places = order[np.searchsorted(ascending, chunk.rows)]
            if chunk.images.shape[1:3] == (height, width):
                found[places] = chunk.images
            else:
                found[places] = np.stack([_shrunk(image, height, width) for image in chunk.images])
        return found

    def chunks(self, ascending: Rows) -> Iterator[Chunk]:
        """The pictures of these rows as they are in the data, some at a time, in any order."""
        if self.dataset is not None:
            for start in range(0, len(ascending), _AT_A_TIME):
                rows = ascending[start : start + _AT_A_TIME]
                yield Chunk(rows, np.asarray(self.dataset.images[rows]))
        elif self.sealed is not None:
            start = 0
            for images in self.sealed.images_without_labels(_AT_A_TIME):
                rows = ascending[(ascending >= start) & (ascending < start + len(images))]
                if len(rows):
                    yield Chunk(rows, images[rows - start])
                start += len(images)
        else:
            for each in self.kept:
                known = np.isin(each.rows, ascending)
                if known.any():
                    yield Chunk(each.rows[known], each.images[known])


def small_sheets(dataset: Dataset, rows: Rows) -> Sheets:
    """Sheets of small pictures of development rows, in their order."""
    height, width, _ = dataset.shape
    scale = min(1.0, SMALL / max(height, width))
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    return make_sheets(RowPictures(dataset, None, ()).take(rows, *size), lossless=False)


def pictures_of(
    scores: Scores | None,
    dataset: Dataset | None,
    sealed: SealedTest | None,
    mistakes: Mistakes | None,
    right: Pictures | None,
) -> RowPictures:
    """Where the pictures of the scored part are.

    Args:
        scores: of the part; None where nothing was scored.
        dataset, sealed: the run's development rows and its test part, or None where they are not there.
        mistakes, right: the wrong and the right rows whose pictures the run keeps, or None.
    """
    kept = [] if right is None else [right]
    if mistakes is not None and mistakes.images is not None:
        kept.append(Pictures(mistakes.rows, mistakes.images))
    of_test = scores is not None and scores.part == "test"
    if not of_test:
        return RowPictures(dataset, None, tuple(kept))
    same = sealed is not None and scores is not None and len(sealed) == scores.n
    return RowPictures(None, sealed if same else None, tuple(kept))


def _shrunk(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    from PIL import Image

    picture = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
    small = np.asarray(picture.resize((width, height), Image.Resampling.BOX), np.uint8)
    return small.reshape(height, width, image.shape[2])
