"""The 15 standard corruptions at 5 severities, with the parameters that CIFAR-10-C and CIFAR-100-C were made with.

Source: Hendrycks, Dietterich 2019, "Benchmarking neural network robustness to common corruptions and perturbations",
arXiv 1903.12261. Reimplemented in batches from the paper's description and its table of parameters. Lengths are in px
of 32 px images and are the same for other sizes. One corruption differs: `frost` overlays crystals of noise instead of
the paper's photographs of frost, which we do not ship.

Each takes images, float32 (B, H, W, C) in 0..1, a severity from 1 to 5 and a generator, and returns new images.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pocketlens.draws import stream
from pocketlens.evaluation.corruptions.blur import defocus_blur, glass_blur, motion_blur, zoom_blur
from pocketlens.evaluation.corruptions.digital import contrast, elastic_transform, jpeg_compression, pixelate
from pocketlens.evaluation.corruptions.noise import gaussian_noise, impulse_noise, shot_noise
from pocketlens.evaluation.corruptions.weather import brightness, fog, frost, snow

Corruption = Callable[[NDArray[np.float32], int, np.random.Generator], NDArray[np.float32]]

FAMILIES: dict[str, tuple[Corruption, ...]] = {
    "noise": (gaussian_noise, shot_noise, impulse_noise),
    "blur": (defocus_blur, glass_blur, motion_blur, zoom_blur),
    "weather": (snow, frost, fog, brightness),
    "digital": (contrast, elastic_transform, pixelate, jpeg_compression),
}
SEVERITIES = (1, 2, 3, 4, 5)


def corrupt(images: NDArray[np.uint8], corruption: Corruption, severity: int, seed: int = 0) -> NDArray[np.uint8]:
    """(B, H, W, C) uint8, corrupted; the same images in the same order are corrupted alike."""
    name = corruption.__name__
    random = np.random.default_rng(stream(seed, f"corruption {name} {severity}") % 2**63)
    result = corruption(images.astype(np.float32) / np.float32(255), severity, random)
    return np.asarray(np.rint(np.clip(result, 0, 1) * 255), np.uint8)
