"""Test-time augmentation: probabilities averaged over several views of an image; scored apart from plain predictions.

With 2 views, these are the image and its mirror image; with 3, the image and the image shifted by one px along the
diagonal, up and down; with 6, these three and their mirror images. Source: Krizhevsky, Sutskever, Hinton 2012 (crops
and reflections at test time); the six views are those of the CIFAR speed records.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pocketlens.data.dataset import Images
from pocketlens.errors import PocketlensError
from pocketlens.scoring.metrics import log_probabilities
from pocketlens.scoring.row_blocks import rows_in_block
from pocketlens.training.classifier import Classifier, predict_logits

N_VIEWS = (2, 3, 6)
_SHIFTS = (0, -1, 1)  # px along the diagonal


@dataclass(frozen=True)
class View:
    """How one view differs from the image: whether it is mirrored, and by how many px it is shifted down and right."""

    mirrored: bool
    down: int
    right: int


def predict_with_tta(
    classifier: Classifier, images: Images, n_views: int, *, device: str = "cpu"
) -> NDArray[np.float32]:
    """(N, K) float32: the logarithms of the mean probabilities over the views of images (N, H, W, C) uint8.

    Raises:
        PocketlensError: there is no such number of views.
    """
    total = np.zeros((len(images), len(classifier.classes)))
    for view in tta_views(n_views):
        total += np.exp(log_probabilities(predict_logits(classifier, apply_view(images, view), device=device)))
    return np.log(np.maximum(total / n_views, 1e-30)).astype(np.float32)


def blocks_with_tta(
    classifier: Classifier, images: Images, n_views: int, *, device: str = "cpu"
) -> Iterator[NDArray[np.float32]]:
    """The same in blocks of rows, (n, K) each, so that with many classes not all of them are in memory."""
    n, step = len(images), rows_in_block(len(classifier.classes))
    for start in range(0, n, step):
        yield predict_with_tta(classifier, images[start : start + step], n_views, device=device)


def tta_views(n_views: int) -> tuple[View, ...]:
    """The 2, 3 or 6 views.

    Raises:
        PocketlensError: there is no such number of views.
    """
    if n_views not in N_VIEWS:
        raise PocketlensError(f"the number of views must be 2, 3 or 6, got {n_views}.")
    shifts = _SHIFTS[:1] if n_views == 2 else _SHIFTS
    mirrors = (False,) if n_views == 3 else (False, True)
    return tuple(View(mirrored, shift, shift) for mirrored in mirrors for shift in shifts)


def apply_view(images: Images, view: View) -> Images:
    """(N, H, W, C) uint8: the images, shifted and mirrored; where a shift leaves a gap, the image is reflected."""
    height, width = images.shape[1:3]
    padded = np.pad(
        np.asarray(images), ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect" if min(height, width) > 1 else "edge"
    )
    top, left = 1 - view.down, 1 - view.right
    shifted = padded[:, top : top + height, left : left + width]
    return np.ascontiguousarray(shifted[:, :, ::-1] if view.mirrored else shifted)
