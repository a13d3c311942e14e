"""What a run leaves at its end: predictions and scores on its validation rows, and a few of its pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pocketlens.scoring.predictions import PICTURES, Pictures, Predictions, write_pictures
from pocketlens.scoring.scores import score
from pocketlens.training.classifier import load_classifier, predict_logits
from pocketlens.training.run import Run, store

if TYPE_CHECKING:
    from pocketlens.data.dataset import Dataset


N_PICTURES, PICTURE_BYTES = 16, 1_000_000  # that a run keeps, at most; one in any case


def leave_scores(run: Run, dataset: Dataset, device: str, logits: NDArray[np.float32] | None = None) -> None:
    """Stores the run's predictions and scores on its validation rows, where it has any, and a few of its pictures.

    `logits` (N, K) are those of the weights that count, where they are known; otherwise they are computed.
    """
    leave_pictures(run, dataset)
    rows = run.split.val
    if not len(rows):
        return
    if logits is None:
        logits = predict_logits(load_classifier(run), dataset.images, rows, device=device)
    groups = None if dataset.groups is None else dataset.groups[rows]
    predictions = Predictions("val", rows, dataset.labels[rows], logits, groups)
    store(run, predictions, score(predictions, dataset.classes, dataset.superclasses, dataset.superclass_of))


def leave_pictures(run: Run, dataset: Dataset) -> None:
    """Stores a few validation images, or training images where there are none, in pictures.safetensors.

    They are (n, H, W, C) uint8 as in the data set, before `prepare`; where the data is gone, an export is checked on
    them.
    """
    most = max(1, min(N_PICTURES, PICTURE_BYTES // int(np.prod(dataset.shape))))
    rows = chosen_rows(run, most)
    write_pictures(run.file(PICTURES), Pictures(rows, np.ascontiguousarray(dataset.images[rows])))


def chosen_rows(run: Run, most: int) -> NDArray[np.int64]:
    """At most so many rows, evenly chosen from the validation rows, or from the training rows where there are none."""
    rows = run.split.val if len(run.split.val) else run.split.train
    return rows[np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(np.int64)]
