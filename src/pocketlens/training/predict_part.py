"""The predictions of a run for the labelled rows of one part, written into its folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pocketlens.data.dataset import Images
from pocketlens.scoring.predictions import (
    IN_MEMORY,
    LabelledRows,
    Predictions,
    read_predictions,
    write_logits,
    write_predictions,
)

if TYPE_CHECKING:
    from pocketlens.training.classifier import Classifier


def predict_part(path: Path, classifier: Classifier, images: Images, known: LabelledRows, device: str) -> Predictions:
    """Predicts rows of images (N, H, W, C) uint8 and writes the predictions to `path`.

    Logits that are large go to the file batch by batch, and are mapped from there.

    Raises:
        PocketlensError: there are no rows, or logits that are not finite; the file is as it was.
    """
    n_classes = len(classifier.classes)
    if 4 * len(known.rows) * n_classes <= IN_MEMORY:
        from pocketlens.training.classifier import predict_logits

        logits = predict_logits(classifier, images, known.rows, device=device)
        predictions = Predictions(known.part, known.rows, known.labels, logits, known.groups)
        write_predictions(path, predictions)
        return predictions
    from pocketlens.training.classifier import logit_blocks

    write_logits(path, known, logit_blocks(classifier, images, known.rows, device=device), n_classes)
    return read_predictions(path)
