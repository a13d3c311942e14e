"""Contrast of the images among which duplicates are searched: more of it for faint ones, and which are too faint."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from pocketlens.audit.alignment import half_grey
from pocketlens.data.scratch import scratch_array

LEAST_GAIN, LARGEST_GAIN = 2.0, 8.0  # factors on grey levels
OUTSIDE = 0.5  # % of pixels that may be clipped on each side
_FAINT, _NOISE = 16.0, 4.0  # grey levels of contrast, stretched and as they are, below which copies are not found


def stretched(images: Tensor) -> Tensor:
    """Images, uint8, whose grey levels all lie close together, with more contrast; others as they are.

    One factor for all images, so that darker ones stay darker: what brings nearly all pixels to 255 grey levels,
    at most LARGEST_GAIN, because noise grows with it.
    """
    sample = images[:: max(1, len(images) // 2000)].flatten().numpy()
    if not sample.size:
        return images
    low, high = np.percentile(sample, (OUTSIDE, 100 - OUTSIDE))
    gain = min(LARGEST_GAIN, 255 / max(1.0, float(high - low)))
    if gain < LEAST_GAIN:
        return images
    middle = float(low + high) / 2
    result = torch.from_numpy(scratch_array(tuple(images.shape), np.uint8))
    for start in range(0, len(images), 4096):
        part = (images[start : start + 4096].float() - middle) * gain + 127.5
        result[start : start + 4096] = part.round().clamp(0, 255).byte()
    return result


def faint_share(plain: Tensor, images: Tensor) -> float:
    """The share of images, 0..1, with too little contrast to tell copies from noise, as they are or stretched."""
    if not len(plain):
        return 0.0
    faint = _contrast(images) < _FAINT
    if images is not plain:  # else the first bound holds the second
        faint |= _contrast(plain) < _NOISE
    return float(faint.float().mean())


def _contrast(images: Tensor) -> Tensor:
    """(N,) float32: the standard deviation of each image's grey values, in grey levels."""
    parts = [half_grey(images[start : start + 4096]) for start in range(0, len(images), 4096)]
    return torch.cat([part.flatten(1).std(1, correction=0) for part in parts])
