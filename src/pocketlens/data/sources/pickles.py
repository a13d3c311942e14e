"""Reads pickled batches of numbers and texts, such as CIFAR's, without running anything that stands in them.

Two gates. First the operations of the pickle are walked and only harmless ones pass. Then it is read by an unpickler
that knows three names (an array, its dtype, an encoded text) and has stand-ins for them, so that not even numpy's own
code sees the file; the stand-ins are turned into arrays after dtype, shape and length were checked.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketlens.errors import PocketlensError
from pocketlens.text import printable

_MAX_BYTES = 2**30
_ARRAYS = ("numpy.core.multiarray", "numpy._core.multiarray")
_ALLOWED = {
    **{(module, "_reconstruct"): "array" for module in _ARRAYS},
    ("numpy", "ndarray"): "type",
    ("numpy", "dtype"): "dtype",
    ("_codecs", "encode"): "encode",
}
_REFUSED_OPERATIONS = frozenset("INST OBJ NEWOBJ NEWOBJ_EX PERSID BINPERSID EXT1 EXT2 EXT4 NEXT_BUFFER".split())


def read_pickle(path: Path) -> Any:
    """The content of a pickle of dicts, lists, tuples, numbers, texts and uint8 or int64 arrays; its texts stay bytes
    where Python 2 wrote them. Arrays come back through `as_array`.

    Raises:
        PocketlensError: the file holds anything else, or is damaged.
    """
    try:
        size = path.stat().st_size
        data = path.read_bytes() if size <= _MAX_BYTES else b""
    except OSError as error:
        raise PocketlensError(f"{path} must be a file that can be read: {error.strerror}.") from None
    if not data:
        raise PocketlensError(f"{path} must hold 1 byte to 1 GiB, it holds {size} bytes.")
    try:
        _walk(data, path)
        return _Unpickler(data, path).load()
    except PocketlensError:
        raise
    except Exception as error:  # a damaged pickle raises anything
        reason = printable(" ".join(str(error).split()))[:120] or type(error).__name__
        raise PocketlensError(f"{path} must be a complete pickle of arrays, numbers and strings ({reason}).") from None


def as_array(value: Any, path: Path, name: str) -> NDArray[Any]:
    """The checked numpy array behind a value of `read_pickle`: an array of uint8 or int64, or a list of numbers."""
    if isinstance(value, list) and all(type(item) is int and -(2**63) <= item < 2**63 for item in value):
        return np.array(value, np.int64)
    array = value.array() if isinstance(value, _Array) else None
    if array is None:
        raise PocketlensError(f"{path}: {name!r} must be an array of uint8 or int64, or a list of whole numbers.")
    return array


def _walk(data: bytes, path: Path) -> None:
    """Passes over the operations without executing any."""
    n_memo = 0
    for operation, argument, _ in pickletools.genops(data):
        name = operation.name
        n_memo += name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE")
        if name in _REFUSED_OPERATIONS:
            raise PocketlensError(f"{path} is refused: a data file must not hold the pickle operation {name}.")
        if name == "GLOBAL":
            module, _, attribute = str(argument).partition(" ")
            _allowed(module, attribute, path)
        if name in ("PUT", "BINPUT", "LONG_BINPUT") and int(argument or 0) > 10 * n_memo + 1000:
            raise PocketlensError(f"{path} is refused: its memo index {argument} would fill the memory.")


def _allowed(module: str, name: str, path: Path) -> str:
    kind = _ALLOWED.get((module, name))
    if kind is None:
        raise PocketlensError(
            f"{path} is refused: a data file must not name '{printable(module)}.{printable(name)}', which could "
            "run code."
        )
    return kind


class _Unpickler(pickle.Unpickler):
    def __init__(self, data: bytes, path: Path) -> None:
        super().__init__(io.BytesIO(data), encoding="bytes")
        self.path = path

    def find_class(self, module: str, name: str) -> Any:
        return _Maker(_allowed(module, name, self.path))


class _Maker:
    """Stands in for what a pickle names; a new one each time, without attributes that the pickle could set."""

    __slots__ = ("_kind",)

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def __call__(self, *arguments: Any) -> Any:
        if self._kind == "encode":
            text, encoding = arguments
            if encoding not in ("latin1", b"latin1"):
                raise ValueError("texts must be encoded as latin1")
            return str(text).encode("latin1")
        if self._kind in ("array", "dtype"):
            return _Array() if self._kind == "array" else _Dtype(arguments)
        raise ValueError(f"{self._kind} must not be called")

    def __setstate__(self, state: Any) -> None:
        raise ValueError("a name has no state")


class _Dtype:
    __slots__ = ("code",)

    def __init__(self, arguments: tuple[Any, ...]) -> None:
        code = arguments[0] if arguments else None
        self.code = code.decode("latin1") if isinstance(code, bytes) else code

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) < 2 or state[1] not in ("<", "|", "=", b"<", b"|", b"="):
            raise ValueError("an array must be little-endian")


class _Array:
    __slots__ = ("_state",)

    def __setstate__(self, state: Any) -> None:
        self._state = state

    def array(self) -> NDArray[Any] | None:
        """The array, or None where the state is not that of a plain array of uint8 or int64."""
        match getattr(self, "_state", None):
            case (_, tuple() as shape, _Dtype() as dtype, fortran, bytes() as raw) if dtype.code in ("u1", "i8"):
                pass
            case _:
                return None
        kind = np.dtype("|u1" if dtype.code == "u1" else "<i8")
        if not all(type(side) is int and side >= 0 for side in shape) or len(shape) > 4:
            return None
        if math.prod(shape) * kind.itemsize != len(raw):
            return None
        return np.frombuffer(raw, kind).reshape(shape, order="F" if fortran else "C")
