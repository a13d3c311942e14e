"""Reads named arrays from an `.npz` file or from a folder of `.npy` files, a piece at a time and without pickles."""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from pocketlens.errors import PocketlensError
from pocketlens.text import printable

_RATIO, _RATIO_ABOVE = 1100, 256 * 2**20  # deflate packs 1032 times at most


@dataclass(frozen=True)
class Array:
    """An array in a file: its header was read and fits the length of the file."""

    path: Path  # the .npz or the .npy
    member: str | None  # the name inside the .npz
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def name(self) -> str:
        """The file, and the array in it, for messages."""
        return printable(str(self.path) if self.member is None else f"{self.path}:{self.member.removesuffix('.npy')}")


def arrays(path: Path) -> dict[str, Array]:
    """The arrays of an `.npz`, or of the `.npy` files in a folder, by name.

    Raises:
        PocketlensError: the file is damaged, or an array is not plain numbers or texts in C order.
    """
    if path.is_dir():
        return {file.stem: _open(file, None, file.stat().st_size) for file in sorted(path.glob("*.npy"))}
    try:
        with zipfile.ZipFile(path) as bundle:
            members = bundle.infolist()
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise PocketlensError(f"{path} must be a complete .npz file; it cannot be read ({_brief(error)}).") from None
    packed = max(1, path.stat().st_size)
    for member in members:
        if member.file_size > _RATIO_ABOVE and member.file_size > _RATIO * packed:
            raise PocketlensError(
                f"{path}: {printable(member.filename)} claims {member.file_size} bytes, which is refused."
            )
    names = [member.filename for member in members if member.filename.endswith(".npy")]
    if len(set(names)) < len(names):
        raise PocketlensError(f"{path} must hold each array once.")
    sizes = {member.filename: member.file_size for member in members}
    return {name.removesuffix(".npy"): _open(path, name, sizes[name]) for name in names}


def read_chunks(array: Array, n_rows: int) -> Iterator[NDArray[Any]]:
    """The array along its first axis, at most `n_rows` at a time."""
    n_row = math.prod(array.shape[1:]) * array.dtype.itemsize
    with _stream(array) as file:
        _header(file)
        for start in range(0, array.shape[0], n_rows):
            n = min(n_rows, array.shape[0] - start)
            data = file.read(n * n_row)
            if len(data) < n * n_row:
                raise PocketlensError(
                    f"{array.name} is cut short: row {start + len(data) // max(1, n_row)} is missing."
                )
            yield np.frombuffer(data, array.dtype).reshape(n, *array.shape[1:])
        if file.read(1):
            raise PocketlensError(f"{array.name} is longer than its header says.")


def read_all(array: Array) -> NDArray[Any]:
    """A small array as a whole."""
    if not array.shape or array.shape[0] == 0:
        return np.empty(array.shape, array.dtype)
    return np.concatenate(list(read_chunks(array, 1 << 16)))


@dataclass(frozen=True)
class _Header:
    """The header of a .npy: whether the values are in the order of Fortran, columns first, and not of C."""

    shape: tuple[int, ...]
    fortran_order: bool
    dtype: np.dtype[Any]


def _open(path: Path, member: str | None, size: int) -> Array:
    array = Array(path, member, (), np.dtype("u1"))
    with _stream(array) as file:
        header = _header(file)
        n_header = file.tell()
    shape, dtype = header.shape, header.dtype
    if dtype.hasobject or dtype.names is not None or dtype.subdtype is not None or dtype.kind not in "uifbUS":
        raise PocketlensError(f"{array.name} must hold numbers or strings, its type is {printable(str(dtype))[:80]}.")
    if header.fortran_order and len(shape) > 1:
        raise PocketlensError(f"{array.name} must be stored in C order; save it with numpy.ascontiguousarray.")
    wanted = n_header + math.prod(shape) * dtype.itemsize
    if wanted != size or 0 in shape[1:] or any(side < 0 for side in shape) or dtype.itemsize == 0:
        raise PocketlensError(f"{array.name} must have {wanted} bytes for its shape {shape}, it has {size}.")
    return Array(path, member, shape, dtype)


def _header(file: IO[bytes]) -> _Header:
    version = npy_format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"its version {version} is unknown")
    read = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
    shape, fortran_order, dtype = read(file)
    return _Header(tuple(map(int, shape)), bool(fortran_order), dtype)


@contextmanager
def _stream(array: Array) -> Iterator[IO[bytes]]:
    try:
        if array.member is None:
            with open(array.path, "rb") as file:
                yield file
        else:
            with zipfile.ZipFile(array.path) as bundle, bundle.open(array.member) as member:
                yield io.BufferedReader(member)  # type: ignore[type-var]
    except PocketlensError:
        raise
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise PocketlensError(f"{array.name} is damaged ({_brief(error)}).") from None
    except Exception as error:  # numpy's header reader raises anything on a damaged header
        raise PocketlensError(f"{array.name} must be a .npy array; it cannot be read ({_brief(error)}).") from None


def _brief(error: Exception) -> str:
    return printable(" ".join(str(error).split()))[:160] or type(error).__name__
