"""Random crop of a padded image: every image is shifted by up to `pad` pixels in both directions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from pocketlens.draws import Draws
from pocketlens.errors import PocketlensError


def crop(
    images: Tensor, targets: Tensor, draws: Draws, *, pad: int = 2, mode: str = "reflect"
) -> tuple[Tensor, Tensor]:
    """Pads by `pad` pixels on every side (`mode` reflect, replicate or zero) and cuts the old size out at random.

    Raises:
        PocketlensError: the mode is unknown, or the images are too small to be padded by reflection.
    """
    height, width = images.shape[2:]
    if mode not in ("reflect", "replicate", "zero") or pad < 0:
        raise PocketlensError(f"crop: mode must be reflect, replicate or zero and pad 0 or more, got {mode!r}, {pad}.")
    if mode == "reflect" and pad >= min(height, width):
        raise PocketlensError(
            f"crop: pad must be below the image size {min(height, width)} px, got {pad}; give a smaller pad, or "
            "another augmentation such as --augment flip."
        )
    shifts = draws.integers("shift", 0, 2 * pad, 2)  # (B, 2) int64
    return _cut(images.permute(0, 2, 3, 1), shifts, pad, mode).permute(0, 3, 1, 2), targets


def _cut(images: Tensor, shifts: Tensor, pad: int, mode: str) -> Tensor:
    """(B, H, W, C) in and out. Images are padded sideways alone; which line stands where is a matter of numbers."""
    n, height, width, channels = images.shape
    device = images.device
    lines = _sources(height, pad, mode, device)
    if mode == "zero":
        padded = F.pad(images, (0, 0, pad, pad, pad, pad))  # (B, H + 2 pad, W + 2 pad, C) float32
    else:
        values = _sources(width, pad, mode, device)[:, None] * channels + torch.arange(channels, device=device)
        flat = images.reshape(n * height, width * channels)
        padded = flat.index_select(1, values.flatten()).view(n, height, -1, channels)  # (B, H, W + 2 pad, C) float32
    n_lines, wide = padded.shape[1:3]
    # every run of `width` pixels in memory is a line that may be cut out: they overlap, and nothing is copied for them
    runs = padded.as_strided((n * n_lines * wide - width + 1, width * channels), (channels, 1))
    line = lines[shifts[:, :1] + torch.arange(height, device=device)]  # (B, H) int64
    first = (torch.arange(n, device=device)[:, None] * n_lines + line) * wide + shifts[:, 1:]  # (B, H) pixels
    return runs.index_select(0, first.flatten()).view(n, height, width, channels)


def _sources(n: int, pad: int, mode: str, device: torch.device) -> Tensor:
    """(n + 2 pad,) int64: which of `n` pixels stands at each place of a padded line; all of them if it is padded."""
    place = torch.arange(-pad, n + pad, device=device)
    if mode == "zero":
        return place + pad
    return place.clamp(0, n - 1) if mode == "replicate" else n - 1 - (n - 1 - place.abs()).abs()
