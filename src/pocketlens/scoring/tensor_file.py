"""Safetensors files that are larger than memory: written block by block, and mapped when they are read.

The format (https://huggingface.co/docs/safetensors): eight bytes with the length of the header, the header as JSON with
the type, shape and place of each tensor, then the tensors, without gaps. `safetensors` itself writes and reads whole
arrays; the files written here are equal to its own to the byte.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from pocketlens import files
from pocketlens.text import counted

_TYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "I64": np.dtype("<i8")}
_NAMES = {kind: name for name, kind in _TYPES.items()}


def write_tensors(
    path: Path,
    arrays: dict[str, NDArray[np.int64]],
    large: str,
    shape: tuple[int, ...],
    blocks: Iterable[NDArray[np.float32]],
    notes: dict[str, str],
) -> None:
    """Writes arrays and, behind them, the float32 tensor `large`, of this shape and in blocks along its first axis.

    Raises:
        ValueError: the blocks are not of the shape; the file is as it was.
    """
    header: dict[str, Any] = {"__metadata__": notes}
    end = 0
    kinds = {name: (_TYPES["I64"], arrays[name].shape) for name in sorted(arrays)} | {large: (_TYPES["F32"], shape)}
    for name, (kind, sides) in kinds.items():
        start, end = end, end + kind.itemsize * int(np.prod(sides))
        header[name] = {"dtype": _NAMES[kind], "shape": list(sides), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)

    def fill(file: BinaryIO) -> None:
        file.write(struct.pack("<Q", len(text)) + text)
        for name in sorted(arrays):
            file.write(np.ascontiguousarray(arrays[name], _TYPES["I64"]).data)
        n = 0
        for block in blocks:
            file.write(np.ascontiguousarray(block, _TYPES["F32"]).data)
            n += len(block)
        if n != shape[0]:
            raise ValueError(f"{large} must have {counted(shape[0], 'row')}, got {counted(n, 'row')}")

    files.write_with(path, fill)


def mapped_tensor(path: Path, name: str) -> NDArray[Any]:
    """A tensor of a file that `safetensors` can open, mapped from it, read-only.

    Raises:
        OSError: it is of another type than those that are written here.
    """
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        found = json.loads(file.read(length))[name]
    if found["dtype"] not in _TYPES:
        raise OSError(f"{name} is of type {found['dtype']}")
    start = 8 + length + found["data_offsets"][0]
    return np.memmap(path, _TYPES[found["dtype"]], "r", start, tuple(found["shape"]))
