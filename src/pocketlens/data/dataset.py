"""Dataset: the development rows. SealedTest: the test rows, sealed until they are opened on the record.

An image is its row number, from the disk to the gallery of worst mistakes. Rows keep the order of the source.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pocketlens.data.identity import hash_pixels
from pocketlens.data.sizes import SourceSizes
from pocketlens.errors import PocketlensError
from pocketlens.text import counted

Images = NDArray[np.uint8]  # (N, H, W, C)
Labels = NDArray[np.int64]  # (N,)
Hashes = NDArray[np.uint8]  # (N, 16): BLAKE2b of the shape and the pixels of each image in its source


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images with labels.

    Attributes:
        text: the component text that loads it, such as `cifar100(labels='coarse')`.
        images: (N, H, W, C) uint8, in memory or memory-mapped; C is 1 or 3.
        labels: (N,) int64, each an index into `classes`.
        classes: the names of the classes, in the order of their labels.
        hashes: (N, 16) uint8, a hash of each image's pixels in its source, whatever the size it was brought to.
        superclasses: names of the superclasses, or None.
        superclass_of: for each class the index of its superclass, or None.
        strata: (N,) int64, what splits are stratified by instead of `labels`, such as fine labels; or None.
        groups: (N,) int64; rows with the same number (slide, patient) are never split between parts; or None.
        files: for each row its file or its name in the source, or None.
        notes: what a person should know about loading, such as files that were ignored.
        levels: the values that became 0 and 255 if the source holds 16-bit images; or None.
        hold_out: the version of the rule by which its test rows were held out, where none are official.
        fit: how pictures of another shape are brought to that of the images, one of `data.fit.FITS`.
        sizes: the sizes of the source's pictures where these are encoded; or None.
        val: (N,) bool, the validation rows that the source gives, such as those of a folder `val/`; or None.
        folds: (N,) int64, the number of the given fold (`fold3/`: 3) that each row is in; or None.
    """

    text: str
    images: Images
    labels: Labels
    classes: tuple[str, ...]
    hashes: Hashes
    superclasses: tuple[str, ...] | None = None
    superclass_of: tuple[int, ...] | None = None
    strata: Labels | None = None
    groups: NDArray[np.int64] | None = None
    files: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()
    levels: tuple[float, float] | None = None
    hold_out: int = 2  # split.HOLD_OUT_VERSION
    fit: str = "crop"
    sizes: SourceSizes | None = None
    val: NDArray[np.bool_] | None = None
    folds: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        n, c = len(self.labels), len(self.classes)
        if self.images.ndim != 4 or self.images.dtype != np.uint8 or self.images.shape[3] not in (1, 3):
            raise PocketlensError(
                f"{self.text}: images must be uint8 of shape (N, H, W, 1 or 3), got {self.images.dtype} "
                f"{self.images.shape}."
            )
        if len(self.images) != n or len(self.hashes) != n:
            raise PocketlensError(
                f"{self.text}: {counted(len(self.images), 'image')}, {counted(n, 'label')}; the counts must be equal."
            )
        if n and (self.labels.min() < 0 or self.labels.max() >= c):
            bad = int(np.flatnonzero((self.labels < 0) | (self.labels >= c))[0])
            raise PocketlensError(f"{self.text}: labels must be 0..{c - 1}, row {bad} has {self.labels[bad]}.")

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of every image."""
        _, height, width, channels = self.images.shape
        return height, width, channels

    @property
    def fingerprint(self) -> str:
        """A hash of all images in their order, their labels and the class names; 16 hexadecimal digits."""
        return fingerprint(self.hashes, self.labels, self.classes)

    @property
    def is_resized(self) -> bool:
        """Whether its images have another size than the pictures of the source."""
        sizes = self.sizes
        return sizes is not None and (sizes.n_sizes > 1 or sizes.largest != self.shape[:2])

    def take(self, rows: NDArray[np.int64], text: str | None = None) -> Dataset:
        """The data set of some rows, which are renumbered from 0: for making parts, not for training."""
        return replace(
            self,
            text=text or self.text,
            images=self.images[rows],
            labels=self.labels[rows],
            hashes=self.hashes[rows],
            strata=None if self.strata is None else self.strata[rows],
            groups=None if self.groups is None else self.groups[rows],
            files=None if self.files is None else tuple(self.files[row] for row in rows),
            val=None if self.val is None else self.val[rows],
            folds=None if self.folds is None else self.folds[rows],
        )

    def _repr_html_(self) -> str:
        from html import escape

        height, width, channels = self.shape
        rows = [("rows", len(self)), ("image", f"{height} x {width} x {channels}"), ("classes", len(self.classes))]
        cells = "".join(f"<tr><th>{escape(key)}</th><td>{escape(str(value))}</td></tr>" for key, value in rows)
        return f"<table><caption>{escape(self.text)}</caption>{cells}</table>"


@dataclass(frozen=True, eq=False)
class SealedTest:
    """The test part of a data set. It yields images without labels; only `open_test` gets everything.

    The content is in a closure and not in an attribute, so no field can be read by accident, and nothing in `load`,
    `fit`, `train` or a Run takes or returns it.
    """

    text: str
    n: int
    classes: tuple[str, ...]
    fingerprint: str  # of the images only, in any order: the ledger matches openings by it, whatever the file format
    hashes: Hashes
    _open: Callable[[], Dataset] = field(repr=False)

    def __len__(self) -> int:
        return self.n

    def images_without_labels(self, chunk: int = 1024) -> Iterator[Images]:
        """The test images in chunks of (<= chunk, H, W, C) uint8, for the audit."""
        images = self._open().images
        for start in range(0, self.n, chunk):
            yield np.array(images[start : start + chunk])


class Loaded(NamedTuple):
    """A data set that was loaded: the development rows and the sealed test part, as `dataset, sealed = load(...)`."""

    dataset: Dataset
    sealed: SealedTest


def seal(part: Dataset) -> SealedTest:
    """Seals a test part."""
    return SealedTest(part.text, len(part), part.classes, images_fingerprint(part.hashes), part.hashes, lambda: part)


def rows_by_class(labels: Labels, n_classes: int) -> list[NDArray[np.int64]]:
    """The rows of each class, ascending; in one pass, however many classes there are."""
    order = np.argsort(labels, kind="stable")
    return np.split(order, np.searchsorted(labels[order], np.arange(1, n_classes)))


def hash_images(images: Images) -> Hashes:
    """(N, 16) uint8: BLAKE2b of each image's (height, width, channels) and pixels."""
    hashes = np.empty((len(images), 16), np.uint8)
    for start in range(0, len(images), 4096):
        for i, image in enumerate(images[start : start + 4096]):
            hashes[start + i] = np.frombuffer(hash_pixels(image), np.uint8)
    return hashes


def fingerprint(hashes: Hashes, labels: Labels, classes: tuple[str, ...]) -> str:
    """A hash of a data set, 16 hexadecimal digits: image hashes and labels in their order, and the class names."""
    digest = hashlib.blake2b(digest_size=8)
    for part in (hashes.tobytes(), labels.astype("<i8").tobytes(), "\0".join(classes).encode()):
        digest.update(part)
    return digest.hexdigest()


def images_fingerprint(hashes: Hashes) -> str:
    """A hash of a set of images in any order, 16 hexadecimal digits."""
    ordered = hashes[np.lexsort(hashes.T[::-1])]
    return hashlib.blake2b(ordered.tobytes(), digest_size=8).hexdigest()
