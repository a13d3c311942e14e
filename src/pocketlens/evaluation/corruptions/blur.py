"""Blur: defocus, frosted glass, motion, zoom."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pocketlens.evaluation.corruptions.sampling import smeared, zoomed

Images = NDArray[np.float32]  # (B, H, W, C) in 0..1


def defocus_blur(images: Images, severity: int, random: np.random.Generator) -> Images:  # noqa: ARG001 - one signature
    """Every point becomes a disk; the table gives (radius, softness of the edge) in px."""
    from scipy.ndimage import convolve, gaussian_filter

    radius, softness = ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1.0, 0.2), (1.5, 0.1))[severity - 1]
    y, x = np.mgrid[-8:9, -8:9]
    disk = (x**2 + y**2 <= radius**2).astype(np.float64)
    disk = gaussian_filter(disk / disk.sum(), softness, radius=1)  # a kernel of 3 x 3, as in the source
    kernel = disk[5:12, 5:12]  # the rest is zero
    return np.asarray(convolve(images, kernel[None, :, :, None], mode="mirror"), np.float32)


def glass_blur(images: Images, severity: int, random: np.random.Generator) -> Images:
    """Pixels are swapped with nearby ones; the table gives (sigma of the blur before and after, px, rounds)."""
    from scipy.ndimage import gaussian_filter

    sigma, reach, rounds = ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2))[severity - 1]
    blurred = gaussian_filter(images, (0, sigma, sigma, 0), mode="nearest")
    blurred = np.rint(blurred * 255) / np.float32(255)
    batch, height, width, _ = images.shape
    every = np.arange(batch)
    for _ in range(rounds):
        for row in range(height - reach - 1, reach - 1, -1):
            for column in range(width - reach - 1, reach - 1, -1):
                down, right = random.integers(-reach, reach, (2, batch))
                here, there = (every, row, column), (every, row + down, column + right)
                swapped = blurred[there].copy()
                blurred[there] = blurred[here]
                blurred[here] = swapped
    return np.asarray(gaussian_filter(blurred, (0, sigma, sigma, 0), mode="nearest"), np.float32)


def motion_blur(images: Images, severity: int, random: np.random.Generator) -> Images:
    """Blurred along a line of up to 45 degrees; the table gives (length, sigma) in px."""
    radius, sigma = ((6, 1.0), (6, 1.5), (6, 2.0), (8, 2.0), (9, 2.5))[severity - 1]
    return smeared(images, 2 * radius + 1, sigma, random.uniform(-45, 45, len(images)))


def zoom_blur(images: Images, severity: int, random: np.random.Generator) -> Images:  # noqa: ARG001 - one signature
    """The mean of the image and its enlargements in steps of 1 %."""
    factors = 1 + 0.01 * np.arange((6, 11, 16, 21, 26)[severity - 1])
    total = images.copy()
    for factor in factors:
        total += zoomed(images, float(factor))
    return total / np.float32(len(factors) + 1)
