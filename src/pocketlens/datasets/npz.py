"""Arrays of images and labels: an `.npz` file, or a folder of `.npy` files.

Names: `images`, `labels` (development), `test_images`, `test_labels`; or `x_train`, `y_train`, `x_test`, `y_test`; or
`train_images`, `train_labels`, `val_images`, …, as MedMNIST has them; `classes` may hold the names of the classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pocketlens.data.dataset import Images, Labels
from pocketlens.data.sources.cache import Entry, Key, Table, chunk_rows, find, store
from pocketlens.data.sources.folders import Folders
from pocketlens.data.sources.npy import Array, arrays, read_all, read_chunks
from pocketlens.data.split import Parts
from pocketlens.datasets._encoded import parts
from pocketlens.errors import PocketlensError
from pocketlens.text import printable

_DEVELOPMENT = (("images", "labels"), ("x_train", "y_train"), ("train_images", "train_labels"))
_VALIDATION = (("x_val", "y_val"), ("val_images", "val_labels"))
_TEST = (("test_images", "test_labels"), ("x_test", "y_test"))


def npz(folders: Folders, *, path: str | None = None) -> Parts:
    """Images uint8 (N, H, W), (N, H, W, 1) or (N, H, W, 3), and labels of whole numbers from 0, (N,) or (N, 1).

    Raises:
        PocketlensError: arrays are missing, damaged, or of another type or shape.
    """
    if path is None:
        raise PocketlensError("datasets: npz needs a path, such as npz('images.npz').")
    source = Path(path).expanduser()
    if not source.exists():
        raise PocketlensError(f"{printable(path)} must be an .npz file or a folder of .npy files that exists.")
    files = tuple(sorted(source.glob("*.npy"))) if source.is_dir() else (source,)
    if not files:
        raise PocketlensError(f"{printable(path)} must hold .npy files, it holds none.")
    key = Key(files, "npz" if folders.hold_out == 1 else f"npz, hold_out={folders.hold_out}")
    return parts(find(key) or _read(source, key, folders.hold_out), "npz")


def _read(source: Path, key: Key, hold_out: int) -> Entry:
    found = arrays(source)
    development = _pair(found, _DEVELOPMENT)
    if development is None:
        wanted = " or ".join(f"{images!r} with {labels!r}" for images, labels in _DEVELOPMENT)
        raise PocketlensError(
            f"{printable(str(source))} must hold the arrays {wanted}; it holds {printable(', '.join(found)) or 'none'}."
        )
    validation, test = _pair(found, _VALIDATION), _pair(found, _TEST)
    pairs = [pair for pair in (development, validation, test) if pair is not None]
    labels = [_labels(labels, images) for images, labels in pairs]
    shapes = {_shape(images) for images, _ in pairs}
    if len(shapes) > 1:
        raise PocketlensError(f"{printable(str(source))}: all images must have one shape, they have {sorted(shapes)}.")
    n_test = 0 if test is None else len(labels[-1])
    together = np.concatenate(labels)
    held = None if test is None else np.arange(len(together)) >= len(together) - n_test
    classes = _classes(found, together)
    notes = (
        () if validation is None else ("the validation images are added to the development set, which is split again",)
    )
    table = Table({"labels": together}, classes, held, None, notes, hold_out=hold_out)
    return store(key, _chunks([images for images, _ in pairs]), table)


def _pair(found: dict[str, Array], names: tuple[tuple[str, str], ...]) -> tuple[Array, Array] | None:
    for images, labels in names:
        if images in found and labels in found:
            return found[images], found[labels]
    return None


def _shape(images: Array) -> tuple[int, int, int]:
    shape = images.shape if len(images.shape) == 4 else (*images.shape, 1)
    if images.dtype != np.uint8 or len(shape) != 4 or shape[3] not in (1, 3):
        raise PocketlensError(
            f"{images.name} must be uint8 of shape (N, H, W), (N, H, W, 1) or (N, H, W, 3), it is {images.dtype} "
            f"{images.shape}."
        )
    return shape[1], shape[2], shape[3]


def _labels(labels: Array, images: Array) -> Labels:
    shape = labels.shape[:1] if len(labels.shape) == 2 and labels.shape[1] == 1 else labels.shape
    if labels.dtype.kind not in "ui" or len(shape) != 1:
        raise PocketlensError(
            f"{labels.name} must be whole numbers of shape (N,), it is {labels.dtype} {labels.shape}."
        )
    if not images.shape or shape[0] != images.shape[0]:
        raise PocketlensError(f"{labels.name} must have one label for each image {images.shape[:1]}, it is {shape}.")
    values = read_all(labels).reshape(-1)
    bad = np.flatnonzero((values < 0) | (values > 65_535))
    if len(bad):
        raise PocketlensError(f"{labels.name} must be 0..65535, row {bad[0]} has {values[bad[0]]}.")
    return values.astype(np.int64)


def _classes(found: dict[str, Array], labels: NDArray[np.int64]) -> tuple[str, ...]:
    n_classes = int(labels.max(initial=-1)) + 1
    if "classes" not in found:
        return tuple(map(str, range(n_classes)))
    names = found["classes"]
    if names.dtype.kind != "U" or len(names.shape) != 1 or names.shape[0] < n_classes:
        raise PocketlensError(
            f"{names.name} must hold at least {n_classes} strings, because labels go up to {n_classes - 1}; it is "
            f"{names.dtype} {names.shape}."
        )
    return tuple(printable(str(name)) for name in read_all(names))


def _chunks(images: list[Array]) -> Iterator[Images]:
    for array in images:
        height, width, channels = _shape(array)
        for chunk in read_chunks(array, chunk_rows((height, width, channels))):
            yield chunk.reshape(-1, height, width, channels)
