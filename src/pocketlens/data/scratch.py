"""Scratch arrays: from a quarter of a gigabyte on they lie in a file without a name, so that they take no memory.

The system keeps as much of such a file in memory as there is room for, and forgets it when the array is dropped or the
process ends, however it ends.
"""

from __future__ import annotations

import math
import os
import tempfile
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from pocketlens.files import cache_folder

LARGE = 1 << 28  # bytes from which an array lies in a file


def scratch_array(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """An array of this shape whose content is not defined; in a file of the cache's disk where it is large.

    Where there is no room for the file, it is in memory after all.
    """
    n_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    if n_bytes < LARGE:
        return np.empty(shape, dtype)
    try:
        cache_folder().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=cache_folder()) as file:
            if hasattr(os, "posix_fallocate"):  # else a disk that is full would only be noticed by a crash
                os.posix_fallocate(file.fileno(), 0, n_bytes)
            return np.memmap(file, dtype, "w+", shape=shape)
    except OSError:
        return np.empty(shape, dtype)
