"""Out-of-fold predictions: what is said of each row by a model that was not trained on it.

They find label issues and hard classes, the features beside them find outliers. They come from small models that are
trained for it (`cross_validation.py`), or from a linear probe on a pretrained body (`body.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pocketlens.data.dataset import Dataset
from pocketlens.text import counted

LEAST_ROWS = 60  # with fewer, a model does not learn enough
MOST_BYTES = 1_000_000_000  # of out-of-fold logits, from which label issues and hard classes are computed
LEAST_OF_A_CLASS = 2  # the model that predicts the only image of a class has never seen that class


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """Predictions and features of every row.

    Attributes:
        fold: (N,) int64, the fold of each row, which is also the number of the model that predicts it.
        logits: (N, K) float32.
        features: (N, D) float32, of the network before its head.
    """

    fold: NDArray[np.int64]
    logits: NDArray[np.float32]
    features: NDArray[np.float32]

    @property
    def space(self) -> NDArray[np.int64]:
        """(N,) int64: rows with the same number have comparable features."""
        return self.fold

    @property
    def feature_space(self) -> str:
        """Whose features they are."""
        raise NotImplementedError

    @property
    def short_name(self) -> str:
        """What predicts, in two words."""
        raise NotImplementedError

    @property
    def description(self) -> str:
        """What predicts, and how it was trained."""
        raise NotImplementedError


def obstacle(dataset: Dataset) -> str | None:
    """Why this data cannot be cross-validated, or None if it can."""
    counts = np.bincount(dataset.labels, minlength=len(dataset.classes))
    if int((counts > 0).sum()) < 2:
        return "only one class has images, so there is nothing to classify"
    if len(dataset) < LEAST_ROWS:
        return f"there are {counted(len(dataset), 'image')}, and at least {LEAST_ROWS} are needed for cross-validation"
    if int((counts >= LEAST_OF_A_CLASS).sum()) < 2:
        return f"fewer than two classes have at least {LEAST_OF_A_CLASS} images"
    n_bytes = 4 * len(dataset) * len(dataset.classes)
    if n_bytes > MOST_BYTES:
        return (
            f"the predictions for {counted(len(dataset), 'image')} and {counted(len(dataset.classes), 'class')} take "
            f"{n_bytes / 1e9:.1f} GB, and at most {MOST_BYTES / 1e9:g} GB are kept"
        )
    return None


def has_seen_class(dataset: Dataset, fold: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(N,) bool: whether the model that predicts a row was trained on its class; one that was not cannot doubt it."""
    counts = np.zeros((int(fold.max(initial=0)) + 1, len(dataset.classes)), np.int64)
    np.add.at(counts, (fold, dataset.labels), 1)
    seen: NDArray[np.bool_] = (counts.sum(axis=0) - counts)[fold, dataset.labels] > 0
    return seen
