"""The check for outliers: by the autoencoder, and by neighbours in the feature space of the models that are at hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pocketlens.audit.options import AuditOptions, Skipped
from pocketlens.audit.outliers import (
    LEAST_ROWS,
    Outliers,
    OutlierScores,
    autoencoder_errors,
    neighbour_distances,
    rank_agreement,
)
from pocketlens.audit.phases import Arrays, Phases
from pocketlens.audit.run_features import run_features

if TYPE_CHECKING:
    from pocketlens.audit.cross_validation import CrossValidation
    from pocketlens.data.dataset import Dataset
    from pocketlens.events import Work
    from pocketlens.training.classifier import Classifier


@dataclass(frozen=True, eq=False)
class FeatureSources:
    """What gives features: the models of the cross-validation, the classifier of a run; and where phases are kept."""

    folds: CrossValidation | Skipped
    classifier: Classifier | None
    phases: Phases


def check_outliers(dataset: Dataset, models: FeatureSources, options: AuditOptions) -> Work[Outliers | Skipped]:
    """The outliers among the development rows, or why they are not looked for."""
    if (skipped := options.skipped("outliers")) is not None:
        return skipped
    if len(dataset) < LEAST_ROWS:
        return Skipped(f"to tell what is unusual, at least {LEAST_ROWS} images are needed, and {len(dataset)} given")
    phases, folds = models.phases, models.folds
    (errors,) = yield from phases.once(
        "autoencoder", _single(autoencoder_errors(dataset, seed=options.seed, device=options.device))
    )
    if models.classifier is not None and options.run is not None:
        features = yield from run_features(models.classifier, dataset, options.device)
        space, name = np.zeros(len(dataset), np.int64), f"the features of run {options.run.id}"
        phases = Phases()  # what is kept does not depend on a run
    elif not isinstance(folds, Skipped):
        features, space = folds.features, folds.fold
        name = "the features of a cross-validation model that was not trained on the image"
    else:
        return Outliers(errors, None, "", None)
    (distances,) = yield from phases.once("distances", _single(neighbour_distances(features, space)))
    return Outliers(errors, distances, name, rank_agreement(errors, distances))


def _single(work: Work[OutlierScores]) -> Work[Arrays]:
    return [(yield from work)]
