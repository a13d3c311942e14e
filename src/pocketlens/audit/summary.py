"""A short summary of a data set: images of each class, repeated images, and a sheet of samples."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np

from pocketlens.data.dataset import Dataset, SealedTest
from pocketlens.data.split import Split
from pocketlens.text import counted

N_SAMPLES = 10  # images of each class on the sheet of samples
MOST_CLASSES = 100  # classes on the sheet of samples


@dataclass(frozen=True)
class DataSummary:
    """What is in a data set."""

    text: str
    shape: tuple[int, int, int]  # (height, width, channels)
    counts: dict[str, int]  # development images of each class
    n_train: int
    n_val: int
    n_test: int
    n_repeated: int  # development images that are identical to an earlier one
    notes: tuple[str, ...]

    def lines(self) -> list[str]:
        """The facts as lines of text."""
        height, width, channels = self.shape
        few, many = min(self.counts, key=lambda name: self.counts[name]), max(self.counts.values())
        each = f"{many:,} in each" if self.counts[few] == many else f"{self.counts[few]:,} ({few}) to {many:,}"
        what = f"{height} x {width} x {channels}, {counted(len(self.counts), 'class')}"
        lines = [
            f"{self.text}: {counted(sum(self.counts.values()), 'image')} of {what}",
            f"images per class: {each}",
            f"{self.n_train:,} training, {self.n_val:,} validation and {counted(self.n_test, 'test image')} (sealed)",
        ]
        if self.n_repeated:
            lines.append(
                f"{counted(self.n_repeated, 'development image repeats', 'development images repeat')} "
                "another one; the split keeps them together"
            )
        return [*lines, *self.notes]

    def to_dict(self) -> dict[str, Any]:
        """All facts, as JSON holds them."""
        return dict(vars(self))


def summarize(dataset: Dataset, sealed: SealedTest, split: Split) -> DataSummary:
    """Counts what there is; of the test part it only counts the images."""
    counts = np.bincount(dataset.labels, minlength=len(dataset.classes))
    return DataSummary(
        text=dataset.text,
        shape=dataset.shape,
        counts={name: int(count) for name, count in zip(dataset.classes, counts, strict=True)},
        n_train=len(split.train),
        n_val=len(split.val),
        n_test=len(sealed),
        n_repeated=len(dataset) - len({image_hash.tobytes() for image_hash in dataset.hashes}),
        notes=(*dataset.notes, *split.notes),
    )


def sample_sheet(dataset: Dataset, split: Split) -> bytes:
    """A PNG with one row of training images for each class, the first ones of the source."""
    from PIL import Image

    height, width, channels = dataset.shape
    scale = max(1, 32 // min(height, width))
    n_rows = min(len(dataset.classes), MOST_CLASSES)
    tile_height, tile_width = height * scale + 2, width * scale + 2
    sheet = np.full((n_rows * tile_height, N_SAMPLES * tile_width, 3), 255, np.uint8)
    labels = dataset.labels[split.train]
    for label in range(n_rows):
        for column, row in enumerate(split.train[labels == label][:N_SAMPLES]):
            image = np.repeat(np.repeat(dataset.images[row], scale, axis=0), scale, axis=1)  # (H, W, C) uint8
            top, left = label * tile_height + 1, column * tile_width + 1
            sheet[top : top + image.shape[0], left : left + image.shape[1]] = (
                image if channels == 3 else image[:, :, :1]
            )
    file = io.BytesIO()
    Image.fromarray(sheet).save(file, "PNG")
    return file.getvalue()
