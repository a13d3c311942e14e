"""Weather: snow, frost, fog, bright light."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pocketlens.evaluation.corruptions.sampling import smeared, zoomed

Images = NDArray[np.float32]  # (B, H, W, C) in 0..1
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def snow(images: Images, severity: int, random: np.random.Generator) -> Images:
    """Flakes of noise, smeared by the wind, over a paler image."""
    mean, deviation, zoom, least, radius, sigma, kept = (
        (0.1, 0.2, 1.0, 0.6, 8, 3.0, 0.95),
        (0.1, 0.2, 1.0, 0.5, 10, 4.0, 0.9),
        (0.15, 0.3, 1.75, 0.55, 10, 4.0, 0.9),
        (0.25, 0.3, 2.25, 0.6, 12, 6.0, 0.85),
        (0.3, 0.3, 1.25, 0.65, 14, 12.0, 0.8),
    )[severity - 1]
    layer = random.normal(mean, deviation, (*images.shape[:3], 1)).astype(np.float32)
    layer = zoomed(layer, zoom)
    layer[layer < least] = 0
    layer = smeared(np.clip(layer, 0, 1), 2 * radius + 1, sigma, random.uniform(-135, -45, len(images)))
    pale = np.maximum(images, _grey(images) * 1.5 + 0.5)
    return np.asarray(kept * images + (1 - kept) * pale + layer + layer[:, ::-1, ::-1], np.float32)


def frost(images: Images, severity: int, random: np.random.Generator) -> Images:
    """Crystals over the image, (share of the image, share of the frost); the crystals are sharpened fractal noise."""
    kept, share = ((1.0, 0.2), (1.0, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45))[severity - 1]
    noise = _plasma(images, 2.0, random)
    ridges = 1 - np.abs(2 * noise - 1)  # bright along the lines where the noise is of middle height
    return np.asarray(kept * images + share * ridges[..., None] ** 2, np.float32)


def fog(images: Images, severity: int, random: np.random.Generator) -> Images:
    """A cloud of fractal noise, (how much, how fast its detail fades)."""
    amount, decay = ((0.2, 3.0), (0.5, 3.0), (0.75, 2.5), (1.0, 2.0), (1.5, 1.75))[severity - 1]
    brightest = images.max(axis=(1, 2, 3), keepdims=True)
    cloudy = images + amount * _plasma(images, decay, random)[..., None]
    return np.asarray(cloudy * brightest / (brightest + amount), np.float32)


def brightness(images: Images, severity: int, random: np.random.Generator) -> Images:  # noqa: ARG001 - one signature
    """Adds to the value of hue, saturation and value."""
    added = (0.05, 0.1, 0.15, 0.2, 0.3)[severity - 1]
    value = images.max(axis=3, keepdims=True)
    brighter = np.minimum(value + added, 1)
    return np.asarray(np.where(value > 0, images * brighter / np.maximum(value, 1e-9), brighter), np.float32)


def _grey(images: Images) -> Images:
    return images if images.shape[3] == 1 else np.asarray((images @ _LUMA)[..., None], np.float32)


def _plasma(images: Images, decay: float, random: np.random.Generator) -> Images:
    """(B, H, W) fractal noise in 0..1 by the diamond-square rule, whose detail fades by `decay` at each halving."""
    batch, height, width, _ = images.shape
    size = 1 << max(1, int(np.ceil(np.log2(max(height, width)))))
    maps = np.zeros((batch, size, size))
    step, wobble = size, 100.0

    def near(mean: NDArray[np.float64]) -> NDArray[np.float64]:
        return mean / 4 + wobble * random.uniform(-wobble, wobble, mean.shape)

    while step >= 2:
        half = step // 2
        corners = maps[:, ::step, ::step]
        right = corners + np.roll(corners, -1, axis=2)
        maps[:, half::step, half::step] = near(right + np.roll(right, -1, axis=1))
        middles = maps[:, half::step, half::step]
        left = middles + np.roll(middles, 1, axis=1)
        maps[:, ::step, half::step] = near(left + corners + np.roll(corners, -1, axis=2))
        beside = middles + np.roll(middles, 1, axis=2)
        maps[:, half::step, ::step] = near(beside + corners + np.roll(corners, -1, axis=1))
        step, wobble = half, wobble / decay
    maps -= maps.min(axis=(1, 2), keepdims=True)
    maps /= np.maximum(maps.max(axis=(1, 2), keepdims=True), 1e-9)
    return np.asarray(maps[:, :height, :width], np.float32)
