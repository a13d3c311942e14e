"""The features that a finished run's model computes for the images of a data set."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pocketlens.data.dataset import Dataset
from pocketlens.errors import PocketlensError
from pocketlens.events import Step, Work
from pocketlens.training.classifier import Classifier, extract_features, load_classifier
from pocketlens.training.device_images import DeviceImages
from pocketlens.training.run import Run


def run_features(classifier: Classifier, dataset: Dataset, device: str) -> Work[NDArray[np.float32]]:
    """(N, D) float32 features of every image, by the classifier's own preparation."""
    rows, n = DeviceImages(dataset.images, classifier.prepare, device, limit=0), len(dataset)
    pieces = []
    for start in range(0, n, 2000):
        pieces.append(extract_features(classifier, rows, np.arange(start, min(start + 2000, n)), device=device)[1])
        yield Step("extracting features", min(start + 2000, n), n)
    return np.concatenate(pieces)


def load_for(run: Run | None, dataset: Dataset) -> Classifier | None:
    """The classifier of a run, in eval mode; None where no run is named.

    Raises:
        PocketlensError: the run takes images of another size.
    """
    if run is None:
        return None

    classifier = load_classifier(run)
    shape = DeviceImages(dataset.images[:1], classifier.prepare, "cpu", limit=0).shape
    if shape != classifier.shape:
        raise PocketlensError(
            f"run {run.id} must take the images of this data set, which are {shape}; it takes {classifier.shape}: name "
            "another run, or omit --run."
        )
    return classifier
