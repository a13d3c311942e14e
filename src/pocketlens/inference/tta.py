"""Test-time augmentation: the mean answer to several views of an image, always reported apart from the plain score.

2 views are the image and its mirror image; 3 are the image and it shifted by one px along the diagonal, up and down; 6
are all of them with their mirror images. Source: Krizhevsky, Sutskever, Hinton 2012 (crops and reflections at test
time); the six views are those that the CIFAR speed records report.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pocketlens.data.dataset import Images
from pocketlens.errors import PocketlensError
from pocketlens.scoring.metrics import log_probabilities
from pocketlens.training.classifier import Classifier, predict_logits

N_VIEWS = (2, 3, 6)
_SHIFTS = ((0, 0), (-1, -1), (1, 1))


def predict_views(classifier: Classifier, images: Images, n_views: int, *, device: str = "cpu") -> NDArray[np.float32]:
    """(N, K) float32: logarithms of the mean probabilities over the views of images (N, H, W, C) uint8.

    Raises:
        PocketlensError: there is no such number of views.
    """
    mirrors, shifts = plan(n_views)
    total = np.zeros((len(images), len(classifier.classes)))
    for mirror in mirrors:
        for shift in shifts:
            total += np.exp(log_probabilities(predict_logits(classifier, view(images, mirror, shift), device=device)))
    return np.log(np.maximum(total / n_views, 1e-30)).astype(np.float32)


def plan(n_views: int) -> tuple[tuple[bool, ...], tuple[tuple[int, int], ...]]:
    """Whether to mirror, and by how much to shift, (down, right) px."""
    if n_views not in N_VIEWS:
        raise PocketlensError(f"the number of views must be 2, 3 or 6, got {n_views}.")
    return ((False, True) if n_views != 3 else (False,)), (_SHIFTS if n_views != 2 else _SHIFTS[:1])


def view(images: Images, mirror: bool, shift: tuple[int, int]) -> Images:
    """(N, H, W, C) uint8, mirrored and shifted; at the edge the image is reflected."""
    height, width = images.shape[1:3]
    padded = np.pad(
        np.asarray(images), ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect" if min(height, width) > 1 else "edge"
    )
    down, right = shift
    padded = padded[:, 1 - down : 1 - down + height, 1 - right : 1 - right + width]
    return np.ascontiguousarray(padded[:, :, ::-1] if mirror else padded)
