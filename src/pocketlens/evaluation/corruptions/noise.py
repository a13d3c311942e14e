"""Noise: Gaussian (little light), shot (few photons), impulse (bit errors)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.float32]  # (B, H, W, C) in 0..1


def gaussian_noise(images: Images, severity: int, random: np.random.Generator) -> Images:
    """Normal noise for each value."""
    deviation = (0.04, 0.06, 0.08, 0.09, 0.10)[severity - 1]
    return images + deviation * random.standard_normal(images.shape, np.float32)


def shot_noise(images: Images, severity: int, random: np.random.Generator) -> Images:
    """Poisson noise; the table gives the number of photons of a white pixel."""
    photons = (500, 250, 100, 75, 50)[severity - 1]
    return np.asarray(random.poisson(images.astype(np.float64) * photons) / photons, np.float32)


def impulse_noise(images: Images, severity: int, random: np.random.Generator) -> Images:
    """A share of the values is black or white."""
    share = (0.01, 0.02, 0.03, 0.05, 0.07)[severity - 1]
    hit = random.random(images.shape, np.float32) < share
    value = random.random(images.shape, np.float32) < 0.5
    return np.where(hit, value.astype(np.float32), images)
