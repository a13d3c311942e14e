"""The basic facts of a data set: class counts, image sizes and kinds, pixel statistics, mean and sample images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
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
MOST_SHOWN = 300  # classes with a mean image, and superclasses
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
        shown: (M,) the classes that are shown in pictures, ascending; of more than 300, those with the fewest images.
        class_means: (M, H, W, C) uint8, the mean image of each of them; black for a class without images.
        superclass_means: (S, H, W, C) uint8 of the first 300 superclasses, or None if there are none.
        samples: for each class the rows of its sample images, evenly spread over its rows.
        n_bytes: the size of all decoded development images.
        files: the files, if the data set is a folder of them; otherwise None.
    """

    n_test: int
    counts: NDArray[np.int64]
    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    histogram: NDArray[np.int64]
    shown: NDArray[np.int64]
    class_means: Images
    superclass_means: Images | None
    samples: tuple[NDArray[np.int64], ...]
    n_bytes: int
    files: Files | None

    @property
    def n_of_class(self) -> NDArray[np.int64]:
        """(K,) development images of each class."""
        return np.asarray(self.counts.sum(axis=1), np.int64)


@dataclass(frozen=True, eq=False)
class _Means:
    """The mean images of some groups of classes.

    Attributes:
        group: (K,) int64, the group of each class; -1 for a class of none.
        sums: (G, H, W, C) float64.
        counts: (G,) int64.
    """

    group: NDArray[np.int64]
    sums: NDArray[np.float64]
    counts: NDArray[np.int64]

    @staticmethod
    def of(classes: NDArray[np.int64], n_classes: int, shape: Sequence[int]) -> _Means:
        """Those of single classes."""
        group = np.full(n_classes, -1)
        group[classes] = np.arange(len(classes))
        return _Means(group, np.zeros((len(classes), *shape)), np.zeros(len(classes), np.int64))

    def add(self, images: Images, labels: NDArray[np.int64]) -> None:
        """Counts images (N, H, W, C) with their classes (N,) in."""
        groups = self.group[labels]
        for group in np.unique(groups[groups >= 0]):
            own = groups == group
            self.sums[group] += images[own].sum(axis=0, dtype=np.int64)
            self.counts[group] += int(own.sum())

    def images(self) -> Images:
        """(G, H, W, C) uint8, black for a group without images."""
        return np.round(self.sums / np.maximum(self.counts, 1)[:, None, None, None]).astype(np.uint8)


def _means_of_superclasses(dataset: Dataset) -> _Means | None:
    if dataset.superclasses is None or dataset.superclass_of is None:
        return None
    n = min(len(dataset.superclasses), MOST_SHOWN)
    above = np.asarray(dataset.superclass_of)
    return _Means(np.where(above < n, above, -1), np.zeros((n, *dataset.shape)), np.zeros(n, np.int64))


def measure_facts(dataset: Dataset, sealed: SealedTest, split: Split) -> Work[Facts]:
    """Reads the development images once; of the test part it only counts the images."""
    n, k = len(dataset), len(dataset.classes)
    shape = dataset.shape
    counts = np.stack([np.bincount(dataset.labels[rows], minlength=k) for rows in (split.train, split.val)], axis=1)
    shown = np.sort(np.argsort(counts.sum(axis=1), kind="stable")[:MOST_SHOWN])
    classes, superclasses = _Means.of(shown, k, shape), _means_of_superclasses(dataset)
    histogram = np.zeros((shape[2], 256), np.int64)
    for start in range(0, n, _CHUNK):
        images = np.asarray(dataset.images[start : start + _CHUNK])  # (<= _CHUNK, H, W, C) uint8
        labels = dataset.labels[start : start + _CHUNK]
        for means in (classes, superclasses):
            if means is not None:
                means.add(images, labels)
        for channel in range(shape[2]):
            histogram[channel] += np.bincount(images[..., channel].reshape(-1), minlength=256)
        yield Step("reading pixels", min(start + _CHUNK, n), n)
    mean, std = _moments(histogram)
    files = yield from _files(dataset)
    return Facts(
        n_test=len(sealed),
        counts=counts,
        mean=mean,
        std=std,
        histogram=histogram.reshape(shape[2], 32, 8).sum(axis=2),
        shown=shown,
        class_means=classes.images(),
        superclass_means=None if superclasses is None else superclasses.images(),
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
