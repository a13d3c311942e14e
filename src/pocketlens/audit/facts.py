"""The basic facts of a data set: class counts, image sizes and kinds, pixel statistics, mean and sample images."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketlens.components import parse_one
from pocketlens.data.dataset import Dataset, Images, SealedTest, rows_by_class
from pocketlens.data.images import BadImage, map_images, read_header
from pocketlens.data.split import Split
from pocketlens.events import Step, Work

N_SAMPLES = 10  # images of each class
IMBALANCE = 3.0  # ratio of the largest to the smallest class from which to warn
FEW = 20  # images of a class below which a metric for it is hardly more than a guess
_CHUNK = 2048


@dataclass(frozen=True)
class FileKind:
    """How many files have the same size and mode."""

    name: str  # such as "32 x 32 px, RGB"
    n: int


@dataclass(frozen=True)
class Files:
    """The files of a data set: their kinds, the most frequent first, and their smallest, median and largest size."""

    kinds: tuple[FileKind, ...]
    smallest: int  # bytes
    median: int
    largest: int


@dataclass(frozen=True, eq=False)
class Facts:
    """What a data set holds.

    Attributes:
        n_test: how many test images there are.
        counts: (K, 2) int64, the training and validation images of each class, under the default split.
        mean: (C,) of each channel over the development rows, 0..1.
        std: (C,) the standard deviation, likewise.
        histogram: (C, 32) int64, how many pixels of each channel have each brightness, from dark to bright.
        class_means: (K, H, W, C) uint8, the mean image of each class; black for a class without images.
        superclass_means: (S, H, W, C) uint8, or None if there are no superclasses.
        samples: for each class the rows of its sample images, evenly spread over its rows.
        n_bytes: the size of all decoded development images.
        files: the files, if the data set is a folder of them; otherwise None.
    """

    n_test: int
    counts: NDArray[np.int64]
    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    histogram: NDArray[np.int64]
    class_means: Images
    superclass_means: Images | None
    samples: tuple[NDArray[np.int64], ...]
    n_bytes: int
    files: Files | None

    @property
    def n_of_class(self) -> NDArray[np.int64]:
        """(K,) development images of each class."""
        return np.asarray(self.counts.sum(axis=1), np.int64)


def measure_facts(dataset: Dataset, sealed: SealedTest, split: Split) -> Work[Facts]:
    """Reads the development images once; of the test part it only counts the images."""
    n, k = len(dataset), len(dataset.classes)
    shape = dataset.shape
    sums = np.zeros((k, *shape), np.float64)
    histogram = np.zeros((shape[2], 256), np.int64)
    for start in range(0, n, _CHUNK):
        images = np.asarray(dataset.images[start : start + _CHUNK])  # (<= _CHUNK, H, W, C) uint8
        labels = dataset.labels[start : start + _CHUNK]
        for label in np.unique(labels):
            sums[label] += images[labels == label].sum(axis=0, dtype=np.int64)
        for channel in range(shape[2]):
            histogram[channel] += np.bincount(images[..., channel].reshape(-1), minlength=256)
        yield Step("reading pixels", min(start + _CHUNK, n), n)
    counts = np.stack([np.bincount(dataset.labels[rows], minlength=k) for rows in (split.train, split.val)], axis=1)
    mean, std = _moments(histogram)
    files = yield from _files(dataset)
    return Facts(
        n_test=len(sealed),
        counts=counts,
        mean=mean,
        std=std,
        histogram=histogram.reshape(shape[2], 32, 8).sum(axis=2),
        class_means=_means(sums, counts.sum(axis=1)),
        superclass_means=_superclass_means(dataset, sums, counts.sum(axis=1)),
        samples=tuple(_spread(rows, N_SAMPLES) for rows in rows_by_class(dataset.labels, k)),
        n_bytes=int(n * np.prod(shape)),
        files=files,
    )


def imbalance(counts: NDArray[np.int64]) -> float | None:
    """The ratio of the largest class to the smallest that has images; None with fewer than two such classes."""
    there = counts[counts > 0]
    return float(there.max() / there.min()) if len(there) > 1 else None


def _moments(histogram: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of each channel from its (C, 256) counts, in 0..1."""
    values = np.arange(256) / 255
    total = histogram.sum(axis=1)
    mean = (histogram * values).sum(axis=1) / total
    variance = (histogram * (values - mean[:, None]) ** 2).sum(axis=1) / total
    return mean, np.sqrt(variance)


def _means(sums: NDArray[np.float64], counts: NDArray[np.int64]) -> Images:
    return np.round(sums / np.maximum(counts, 1)[:, None, None, None]).astype(np.uint8)


def _superclass_means(dataset: Dataset, sums: NDArray[np.float64], counts: NDArray[np.int64]) -> Images | None:
    if dataset.superclasses is None or dataset.superclass_of is None:
        return None
    above = np.asarray(dataset.superclass_of)
    groups = range(len(dataset.superclasses))
    joined = np.stack([sums[above == group].sum(axis=0) for group in groups])
    return _means(joined, np.array([counts[above == group].sum() for group in groups]))


def _spread(rows: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """At most `most` of the rows, evenly spread, because neighbouring rows are often alike."""
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]


def _files(dataset: Dataset) -> Work[Files | None]:
    """The files of a data set that is a folder of them, from their headers, without decoding."""
    component = parse_one(dataset.text, "datasets") if dataset.text.startswith("folder(") else None
    options: dict[str, Any] = {} if component is None else dict(component.options)
    root = Path(str(options.get("path", "")))
    if component is None or dataset.files is None or not root.is_dir():
        return None
    paths = [path for path in (root / name for name in dataset.files) if path.is_file()]
    if not paths:
        return None
    names: Counter[str] = Counter()
    for done, header in enumerate(map_images(read_header, paths), 1):
        if not isinstance(header, BadImage):
            names[f"{header.width} x {header.height} px, {header.mode}"] += 1
        if done % _CHUNK == 0 or done == len(paths):
            yield Step("reading headers", done, len(paths))
    kinds = tuple(FileKind(name, n) for name, n in names.most_common())
    sizes = sorted(path.stat().st_size for path in paths)
    return Files(kinds, sizes[0], sizes[len(sizes) // 2], sizes[-1])
