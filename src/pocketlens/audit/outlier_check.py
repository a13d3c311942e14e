"""The check for outliers: by the autoencoder, and by neighbours in the feature space of the models that are at hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pocketlens.audit.options import AuditOptions, Skipped
from pocketlens.audit.outliers import (
    LEAST_ROWS,
    FeatureSpace,
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
    from pocketlens.audit.out_of_fold import OutOfFold
    from pocketlens.data.dataset import Dataset
    from pocketlens.events import Work
    from pocketlens.training.classifier import Classifier


@dataclass(frozen=True, eq=False)
class FeatureSources:
    """What gives features for outliers: the models of the cross-validation, and the classifier of a run."""

    folds: CrossValidation | Skipped
    classifier: Classifier | None


def outlier_space(dataset: Dataset, models: FeatureSources, options: AuditOptions) -> Work[FeatureSpace | None]:
    """Where outliers are asked for, the run's features, else those of the cross-validation models; None without any."""
    if options.skipped("outliers") is not None or len(dataset) < LEAST_ROWS:
        return None
    if models.classifier is not None and options.run is not None:
        features = yield from run_features(models.classifier, dataset, options.device)
        name = f"the features of run {options.run.id}"
        return FeatureSpace(features, np.zeros(len(dataset), np.int64), name, is_of_run=True)
    if isinstance(models.folds, Skipped):
        return None
    return _space(models.folds)


def review_space(outliers: FeatureSpace | None, predictions: OutOfFold | Skipped) -> FeatureSpace | None:
    """Where a person sees the nearest neighbours: in the run's features, else in those that predict the labels."""
    if isinstance(predictions, Skipped) or (outliers is not None and outliers.is_of_run):
        return outliers
    return _space(predictions)


def _space(found: OutOfFold) -> FeatureSpace:
    return FeatureSpace(found.features, found.space, found.feature_space)


def check_outliers(
    dataset: Dataset, space: FeatureSpace | None, options: AuditOptions, phases: Phases
) -> Work[Outliers | Skipped]:
    """The outliers among the development rows, or why they are not looked for; `phases` keeps what is done."""
    if (skipped := options.skipped("outliers")) is not None:
        return skipped
    if len(dataset) < LEAST_ROWS:
        return Skipped(f"to tell what is unusual, at least {LEAST_ROWS} images are needed, and {len(dataset)} given")
    (errors,) = yield from phases.once(
        "autoencoder", _single(autoencoder_errors(dataset, seed=options.seed, device=options.device))
    )
    if space is None:
        return Outliers(errors, None, "", None)
    kept = Phases() if space.is_of_run else phases  # what is kept does not depend on a run
    (distances,) = yield from kept.once("distances", _single(neighbour_distances(space)))
    return Outliers(errors, distances, space.name, rank_agreement(errors, distances))


def _single(work: Work[OutlierScores]) -> Work[Arrays]:
    return [(yield from work)]
