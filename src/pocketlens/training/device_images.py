"""DeviceImages: the images of a data set as prepared uint8 batches on the device, by row number.

If the prepared images fit into the device's memory, they are copied there once; otherwise each batch is read from the
memory map. Both give the same numbers.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pocketlens.components import parse_pipe, resolve
from pocketlens.data.dataset import Images

CHUNK = 1024
MAPPED = 1 << 30  # bytes from which the images of a file are not copied into memory on a CPU


class DeviceImages:
    """Prepared images by row number.

    Attributes:
        shape: (height, width, channels) of the prepared images.
        resident: whether all of them are in the device's memory.
    """

    def __init__(self, images: Images, prepare: str, device: str, *, limit: float | None = None) -> None:
        """`limit` is how many bytes the images may take on the device; None allows 40 % of its memory."""
        self._images, self._device = images, device
        self._operations = operations(prepare)
        first = apply_operations(self._operations, torch.from_numpy(np.array(images[:1])))
        self.shape = (first.shape[1], first.shape[2], first.shape[3])
        limit = 0.4 * _memory(device) if limit is None else limit
        self.resident = len(images) * first[0].numel() <= limit
        self._all: Tensor | None = self._prepared_all() if self.resident else None

    def take(self, rows: Tensor) -> Tensor:
        """(B, H, W, C) uint8 on the device; `rows` is (B,) int64."""
        if self._all is not None:
            return self._all[rows.to(self._all.device)]
        wanted = rows.cpu().numpy()
        ascending = np.argsort(wanted, kind="stable")  # read the file forwards
        batch = np.empty((len(wanted), *self._images.shape[1:]), np.uint8)
        batch[ascending] = self._images[wanted[ascending]]
        return apply_operations(self._operations, torch.from_numpy(batch).to(self._device))

    def _prepared_all(self) -> Tensor:
        if not self._operations and self._device == "cpu" and _is_large_map(self._images):
            with warnings.catch_warnings():  # of an array that cannot be written: nothing writes to it
                warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)
                return torch.from_numpy(self._images)
        if not self._operations and isinstance(self._images, np.ndarray) and not isinstance(self._images, np.memmap):
            return torch.from_numpy(np.ascontiguousarray(self._images)).to(self._device)
        whole = torch.empty((len(self._images), *self.shape), dtype=torch.uint8, device=self._device)
        for start in range(0, len(self._images), CHUNK):
            chunk = torch.from_numpy(np.array(self._images[start : start + CHUNK])).to(self._device)
            whole[start : start + CHUNK] = apply_operations(self._operations, chunk)
        return whole


def prepared_shape(prepare: str, shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """(height, width, channels) of an image of `shape` after the operations of a `prepare` text."""
    blank = apply_operations(operations(prepare), torch.zeros((1, *shape), dtype=torch.uint8))
    return blank.shape[1], blank.shape[2], blank.shape[3]


def _is_large_map(images: Images) -> bool:
    """Whether images are mapped from a file and so many that a copy would take the memory that training needs."""
    return isinstance(images, np.memmap) and images.nbytes >= MAPPED


class Operation(NamedTuple):
    """A function on images (B, C, H, W) float32 in 0..1, and its options."""

    function: Callable[..., Tensor]
    options: dict[str, Any]


def operations(prepare: str) -> list[Operation]:
    """The functions of a `prepare` text with their options."""
    return [Operation(resolve(part, "operations"), dict(part.options)) for part in parse_pipe(prepare, "operations")]


def apply_operations(parts: Sequence[Operation], batch: Tensor) -> Tensor:
    """(B, H, W, C) uint8 to (B, H', W', C) uint8."""
    if not parts:
        return batch
    images = batch.permute(0, 3, 1, 2).float() / 255  # (B, C, H, W) float32
    for function, options in parts:
        images = function(images, **options)
    return (images * 255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def channel_statistics(images: DeviceImages, rows: NDArray[np.int64]) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel over some rows, in 0..1, from exact sums of integers."""
    channels = images.shape[2]
    total, squares, count = np.zeros(channels), np.zeros(channels), 0
    for start in range(0, len(rows), CHUNK):
        batch = images.take(torch.from_numpy(rows[start : start + CHUNK])).reshape(-1, channels).double()
        total += batch.sum(0).cpu().numpy()
        squares += batch.square().sum(0).cpu().numpy()
        count += len(batch)
    mean = total / count
    deviation = np.sqrt(np.maximum(squares / count - mean**2, 0))
    return (mean / 255).tolist(), (np.maximum(deviation, 1e-3) / 255).tolist()


def _memory(device: str) -> float:
    if device.startswith("cuda"):
        return float(torch.cuda.mem_get_info()[0])
    import psutil

    return float(psutil.virtual_memory().total)
