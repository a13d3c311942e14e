"""Folds for cross-validation: stratified, decided by image hash, with whole groups; equal images stay together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pocketlens.data.dataset import Dataset
from pocketlens.data.split import Rows, hold_out


def assign_folds(dataset: Dataset, n_folds: int, seed: int) -> NDArray[np.int64]:
    """(N,) int64: the fold of each row; stratified, decided by image hash, with groups and equal images together."""
    fold = np.full(len(dataset), n_folds - 1, np.int64)
    left = np.arange(len(dataset), dtype=np.int64)
    bare = _without_pixels(dataset)
    for number in range(n_folds - 1):
        held = hold_out(bare.take(left), fraction=1 / (n_folds - number), seed=seed, salt=f"fold {number}")
        fold[left[held]] = number
        left = left[~held]
    return fold


def folds_of_rows(dataset: Dataset, rows: Rows, n_folds: int, seed: int = 0) -> NDArray[np.int64]:
    """(n,) int64: the fold of each of some rows of a data set, as `assign_folds` gives them to these rows alone."""
    return assign_folds(_without_pixels(dataset).take(rows), n_folds, seed)


def _without_pixels(dataset: Dataset) -> Dataset:
    """The data set with blank images of one pixel: the hashes decide, the pixels do not matter."""
    return replace(dataset, images=np.broadcast_to(np.uint8(0), (len(dataset), 1, 1, 1)), files=None)
