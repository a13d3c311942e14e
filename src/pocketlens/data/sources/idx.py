"""IDX files, plain or gzipped: a magic number, the sizes, then bytes (LeCun, Cortes, Burges, the MNIST database)."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from pocketlens.errors import PocketlensError
from pocketlens.text import counted

_MAX_DEFLATE = 1032  # times that deflate can compress at most


@dataclass(frozen=True)
class Idx:
    """An IDX file of bytes whose header was read."""

    path: Path
    shape: tuple[int, ...]


def open_idx(path: Path, n_dimensions: int) -> Idx:
    """Reads and checks the header of a file of bytes with so many dimensions.

    Raises:
        PocketlensError: magic number or length are wrong; the message names what was expected and what was found.
    """
    n_header = 4 + 4 * n_dimensions
    try:
        with _stream(path) as file:
            header = file.read(n_header)
        size = path.stat().st_size
    except (OSError, EOFError, zlib.error) as error:
        raise PocketlensError(f"{path} must be an IDX file, plain or gzipped; it cannot be read ({error}).") from None
    expected = bytes((0, 0, 8, n_dimensions))
    if len(header) < n_header or header[:4] != expected:
        raise PocketlensError(
            f"{path} must begin with {expected.hex()} (IDX, bytes), it begins with {header[:4].hex()!r}."
        )
    shape = struct.unpack(f">{n_dimensions}I", header[4:])
    if 0 in shape:
        raise PocketlensError(f"{path} must not be empty, its sizes are {shape}.")
    wanted = n_header + math.prod(shape)
    most = size * _MAX_DEFLATE if _is_packed(path) else size
    if wanted > most or (wanted != size and not _is_packed(path)):
        raise PocketlensError(
            f"{path} must have {wanted} bytes for its sizes {shape}, it has {'at most ' * _is_packed(path)}{most}."
        )
    return Idx(path, shape)


def read_chunks(idx: Idx, n_rows: int) -> Iterator[NDArray[np.uint8]]:
    """The rows of the file, at most `n_rows` at a time, uint8.

    Raises:
        PocketlensError: the file is shorter or longer than its header says.
    """
    row = math.prod(idx.shape[1:])
    try:
        with _stream(idx.path) as file:
            file.read(4 + 4 * len(idx.shape))
            for start in range(0, idx.shape[0], n_rows):
                n = min(n_rows, idx.shape[0] - start)
                data = file.read(n * row)
                if len(data) < n * row:
                    found = start * row + len(data)
                    raise PocketlensError(f"{idx.path} must hold {idx.shape[0] * row} bytes of data, it holds {found}.")
                yield np.frombuffer(data, np.uint8).reshape(n, *idx.shape[1:])
            if file.read(1):
                raise PocketlensError(f"{idx.path} must hold {idx.shape[0] * row} bytes of data, it holds more.")
    except (OSError, EOFError, zlib.error) as error:
        raise PocketlensError(f"{idx.path} is damaged ({error}).") from None


def read_labels(path: Path, n_images: int, n_classes: int) -> NDArray[np.int64]:
    """(n_images,) int64 labels in 0..n_classes - 1.

    Raises:
        PocketlensError: the count or a label is wrong.
    """
    idx = open_idx(path, 1)
    if idx.shape[0] != n_images:
        raise PocketlensError(
            f"{path} must hold {counted(n_images, 'label')}, one for each image, it holds {idx.shape[0]}."
        )
    labels = np.concatenate([np.empty(0, np.uint8), *read_chunks(idx, 1 << 20)]).astype(np.int64)
    check_labels(labels, n_classes, path)
    return labels


def check_labels(labels: NDArray[Any], n_classes: int, path: Path, first: int = 0) -> None:
    """Refuses labels outside first..first + n_classes - 1; the error names the row."""
    bad = np.flatnonzero((labels < first) | (labels >= first + n_classes))
    if len(bad):
        last = first + n_classes - 1
        raise PocketlensError(f"{path}: labels must be {first}..{last}, row {bad[0]} has {int(labels[bad[0]])}.")


def _stream(path: Path) -> IO[bytes]:
    return gzip.open(path) if _is_packed(path) else open(path, "rb")  # type: ignore[return-value]


def _is_packed(path: Path) -> bool:
    return path.name.endswith(".gz")
