"""The files of CIFAR-10 and CIFAR-100: pickled or binary batches of 32x32 images as red, green and blue planes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketlens.data.dataset import Images
from pocketlens.data.sources.pickles import as_array, read_pickle
from pocketlens.errors import PocketlensError
from pocketlens.text import printable

N_PIXELS = 3 * 32 * 32


def read_batch(path: Path, labels: tuple[str, ...]) -> dict[str, Any]:
    """The content of a pickled batch by its keys, which hold `data`, (N, 3072) uint8, and (N,) whole `labels`.

    Raises:
        PocketlensError: the file is damaged, or holds something else.
    """
    content = read_pickle(path)
    if not isinstance(content, dict):
        raise PocketlensError(f"{path} must hold a dict, it holds a {type(content).__name__}.")
    values = {key.decode("latin1") if isinstance(key, bytes) else key: value for key, value in content.items()}
    for name in ("data", *labels):
        if name not in values:
            raise PocketlensError(f"{path} must hold the key {name!r}; it holds {printable(str(list(values)))[:120]}.")
        values[name] = as_array(values[name], path, name)
    pixels = values["data"]
    if pixels.dtype != np.uint8 or pixels.ndim != 2 or pixels.shape[1] != N_PIXELS:
        raise PocketlensError(f"{path}: 'data' must be uint8 (N, {N_PIXELS}), it is {pixels.dtype} {pixels.shape}.")
    return values


def file_names(values: dict[str, Any]) -> tuple[str, ...] | None:
    """The name of each image of a pickled batch, or None where it does not hold them."""
    names = values.get("filenames")
    n = len(values["data"])
    if not isinstance(names, list) or len(names) != n or not all(isinstance(name, (bytes, str)) for name in names):
        return None
    return tuple(
        printable(name.decode("utf-8", "surrogateescape") if isinstance(name, bytes) else name) for name in names
    )


def read_binary(path: Path, n_labels: int) -> NDArray[np.uint8]:
    """(N, n_labels + 3072) uint8, memory-mapped: the rows of a binary file, labels first.

    Raises:
        PocketlensError: the length of the file is not a multiple of a row.
    """
    size, row = path.stat().st_size, n_labels + N_PIXELS
    if size == 0 or size % row:
        raise PocketlensError(f"{path} must have a multiple of {row} bytes, it has {size} ({size % row} too many).")
    return np.memmap(path, np.uint8, "r").reshape(-1, row)


def image_chunks(batches: Iterable[NDArray[np.uint8]]) -> Iterator[Images]:
    """(n, 32, 32, 3) images of batches of planes, (N, 3072)."""
    for batch in batches:
        for start in range(0, len(batch), 2048):
            planes = batch[start : start + 2048].reshape(-1, 3, 32, 32)
            yield np.ascontiguousarray(planes.transpose(0, 2, 3, 1))
