"""The training images that a model sees as most alike to an image that it got wrong."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from pocketlens.audit.nearest import exact
from pocketlens.data.dataset import Dataset
from pocketlens.report.run.row_pictures import small_sheets
from pocketlens.report.run.sheets import Sheets
from pocketlens.text import printable

COUNT = 3  # training images beside each mistake
Numbers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class NearestTraining:
    """The nearest training images of the first M mistakes of the gallery.

    Attributes:
        nearest: (M, <= COUNT) int64 places in what follows, the nearest first.
        rows, labels: (T,) int64 of the training images.
        files: their files, printable, or None.
        sheets: their pictures, in this order.
    """

    nearest: Numbers
    rows: Numbers
    labels: Numbers
    files: tuple[str, ...] | None
    sheets: Sheets


def nearest_training(
    mistakes: NDArray[np.float32], training: NDArray[np.float32], rows: Numbers, dataset: Dataset
) -> NearestTraining:
    """By the cosine of features, less the mean of the training images'.

    Args:
        mistakes: (M, D) features of the mistakes.
        training: (N, D) of the training images.
        rows: (N,) their development rows.
        dataset: the development rows.
    """
    mean = training.mean(axis=0, dtype=np.float64).astype(np.float32)
    unit, asked = (torch.nn.functional.normalize(torch.from_numpy(each - mean)) for each in (training, mistakes))
    none = torch.full((len(asked),), -1)  # no mistake is a training image
    found = rows[exact(unit, asked, none, COUNT).rows.numpy()]
    shown, places = np.unique(found, return_inverse=True)
    sheets = small_sheets(dataset, shown)
    files = dataset.files
    names = None if files is None else tuple(printable(files[row]) for row in shown)
    return NearestTraining(places.reshape(found.shape), shown, dataset.labels[shown], names, sheets)
