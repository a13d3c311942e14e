"""The predictions and scores that a run leaves on its validation rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pocketlens.scoring.predictions import Predictions
from pocketlens.scoring.scores import score
from pocketlens.training.classifier import load_classifier, predict_logits
from pocketlens.training.run import Run, store

if TYPE_CHECKING:
    from pocketlens.data.dataset import Dataset


def leave_scores(run: Run, dataset: Dataset, device: str, logits: NDArray[np.float32] | None = None) -> None:
    """Stores the run's predictions and scores on its validation rows, where it has any.

    `logits` (N, K) are those of the weights that count, where they are known; otherwise they are computed.
    """
    rows = run.split.val
    if not len(rows):
        return
    if logits is None:
        logits = predict_logits(load_classifier(run), dataset.images, rows, device=device)
    predictions = Predictions("val", rows, dataset.labels[rows], logits)
    store(run, predictions, score(predictions, dataset.classes, dataset.superclasses, dataset.superclass_of))
