"""Reading images at other places than their pixels, a whole batch at once: for blurs, zooms and warps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.float32]  # (B, H, W, C) in 0..1


def sample(images: Images, y: NDArray[np.float64], x: NDArray[np.float64], padding: str = "border") -> Images:
    """Images at (B or 1, H, W) places in px, bilinear; beyond the edge `border` repeats it, `reflection` mirrors."""
    import torch
    import torch.nn.functional as F

    batch, height, width, _ = images.shape
    pixels = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))  # (B, C, H, W)
    grid = np.stack([2 * x / max(width - 1, 1) - 1, 2 * y / max(height - 1, 1) - 1], axis=-1).astype(np.float32)
    places = torch.from_numpy(np.broadcast_to(grid, (batch, *grid.shape[1:])).copy())  # (B, H, W, 2)
    read = F.grid_sample(pixels, places, mode="bilinear", padding_mode=padding, align_corners=True)
    return np.ascontiguousarray(read.numpy().transpose(0, 2, 3, 1))


def grid(images: Images) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(1, H, W) rows and columns of the pixels."""
    y, x = np.mgrid[: images.shape[1], : images.shape[2]].astype(np.float64)
    return y[None], x[None]


def zoomed(images: Images, factor: float) -> Images:
    """The middle of each image, enlarged."""
    y, x = grid(images)
    middle_y, middle_x = (images.shape[1] - 1) / 2, (images.shape[2] - 1) / 2
    return sample(images, middle_y + (y - middle_y) / factor, middle_x + (x - middle_x) / factor)


def smeared(images: Images, length: int, sigma: float, angles: NDArray[np.float64]) -> Images:
    """One-sided Gaussian blur of `length` px along an angle for each image, in degrees: what motion leaves behind."""
    weights = np.exp(-(np.arange(length) ** 2) / (2 * sigma**2))
    weights /= weights.sum()
    y, x = grid(images)
    down, right = (np.sin(np.deg2rad(angles))[:, None, None], np.cos(np.deg2rad(angles))[:, None, None])
    total = np.zeros_like(images)
    for step, weight in enumerate(weights):
        total += np.float32(weight) * sample(images, y + step * down, x + step * right)
    return total
