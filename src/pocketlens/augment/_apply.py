"""Operations on a part of a batch: on the images that a draw has chosen, or another one on each image."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def apply_where(images: Tensor, chosen: Tensor, operation: Callable[..., Tensor], *strengths: Tensor) -> Tensor:
    """`operation(images, *strengths)` on the images where `chosen`, (B,) bool, is true; strengths are (B, ..)."""
    rows = chosen.nonzero()[:, 0]
    if len(rows) == len(images):
        return operation(images, *strengths)
    out = images.clone(memory_format=torch.contiguous_format)
    _replace(out, rows, operation, *(strength[rows] for strength in strengths))
    return out


def apply_each(
    images: Tensor, choice: Tensor, strength: Tensor, operations: Sequence[Callable[[Tensor, Tensor], Tensor] | None]
) -> Tensor:
    """Each image through its own operations, one after the other: `operations[choice](image, strength)`.

    In each step every operation works once, on all the images that chose it; None leaves them as they are. `choice`
    is (B, n_steps) int64, `strength` (B, n_steps) float32.
    """
    out = images.clone(memory_format=torch.contiguous_format)
    for chosen, by in zip(choice.unbind(1), strength.unbind(1), strict=True):
        order = torch.argsort(chosen, stable=True)
        ends = torch.bincount(chosen, minlength=len(operations)).cumsum(0).tolist()
        for operation, start, end in zip(operations, [0, *ends], ends, strict=False):
            if operation is not None and start < end:
                rows = order[start:end]
                _replace(out, rows, operation, by[rows])
    return out


def _replace(images: Tensor, rows: Tensor, operation: Callable[..., Tensor], *strengths: Tensor) -> None:
    """Changes some of the images in place, which are contiguous: as lines of numbers they are copied twice as fast."""
    lines, shape = images.flatten(1), images.shape[1:]
    part = lines.index_select(0, rows).view(-1, *shape)
    lines.index_copy_(0, rows, operation(part, *strengths).contiguous().flatten(1))
