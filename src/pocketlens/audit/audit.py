"""The audit of a data set, check by check. A check that cannot run is skipped, with the reason in words."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from pocketlens.audit.augmentation_effect import (
    AugmentationEffect,
    choose_reference_model,
    measure_augmentation_effect,
)
from pocketlens.audit.class_difficulty import ClassDifficulty, measure_class_difficulty
from pocketlens.audit.distribution_shift import LEAST_ROWS as LEAST_SHIFT_ROWS
from pocketlens.audit.distribution_shift import DistributionShift, measure_distribution_shift
from pocketlens.audit.distribution_shift import obstacle as shift_obstacle
from pocketlens.audit.facts import Facts, measure_facts
from pocketlens.audit.label_issues import LabelIssues, check_label_issues, distrust
from pocketlens.audit.label_issues import obstacle as label_issues_obstacle
from pocketlens.audit.near_duplicates import find_duplicates
from pocketlens.audit.options import CHECKS, AuditOptions, Distrust, Skipped
from pocketlens.audit.outliers import LEAST_ROWS, Outliers, autoencoder_errors, neighbour_distances, rank_agreement
from pocketlens.audit.predictors import feature_steps, find_features, find_predictors, predictor_steps
from pocketlens.audit.run_features import load_for, run_features
from pocketlens.data.duplicates import Duplicates, exact_pairs
from pocketlens.data.split import Split, make_split

if TYPE_CHECKING:
    from pocketlens.audit.body import BodyFeatures, BodyView
    from pocketlens.audit.cross_validation import CrossValidation
    from pocketlens.audit.out_of_fold import OutOfFold
    from pocketlens.data.dataset import Dataset, SealedTest
    from pocketlens.events import Work
    from pocketlens.training.classifier import Classifier

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class AuditReport:
    """Everything that was found. A check that did not run is None, and `skipped` has the reason."""

    dataset: Dataset
    sealed: SealedTest
    split: Split
    facts: Facts
    duplicates: Duplicates | None = None
    classes: tuple[ClassDifficulty, ...] | None = None
    outliers: Outliers | None = None
    labels: LabelIssues | None = None
    shift: DistributionShift | None = None
    augmentation: AugmentationEffect | None = None
    models: str = ""  # what predicts every image, in words
    predictor: str = ""  # the same, in two words
    sight: str = ""  # whether a pretrained body is used, and why
    distrust: str = ""  # why no label is doubted, where what predicts is wrong too often
    skipped: dict[str, str] = field(default_factory=dict)  # the reason by check


def plan(options: AuditOptions, body: BodyView | None = None) -> tuple[str, ...]:
    """What `audit` will do, in order, a line for each step."""
    steps = ["measure the basics: classes, image sizes, pixel statistics, mean and sample images"]
    steps += feature_steps(options, body is not None)
    if options.skipped("duplicates") is None:
        kind = "duplicates with equal pixels" if options.quick else "exact and near duplicates"
        steps.append(f"find {kind}, within and across development and test images")
    steps += predictor_steps(options, body is not None)
    if options.skipped("classes") is None:
        steps.append("measure how difficult each class is")
    if options.skipped("outliers") is None:
        steps.append("rank outliers, by an autoencoder and by nearest neighbours")
    if options.skipped("labels") is None:
        steps.append("find label issues")
    if options.skipped("shift") is None:
        steps.append("measure the distribution shift between development and test images (test labels stay sealed)")
    if options.skipped("augment") is None:
        steps.append("draw augmentations, and test whether a model still recognises augmented images")
    return (*steps, "write the page, look.json and the CSV files")


def audit(
    dataset: Dataset, sealed: SealedTest, options: AuditOptions, body: BodyView | None = None
) -> Work[AuditReport]:
    """Runs every check on the development rows, and on the test images without their labels.

    Args:
        dataset: the development rows.
        sealed: the test images.
        options: what to check.
        body: the same rows for a pretrained body, where one sees more than small models (`body.py` says where).

    Raises:
        PocketlensError: the run's model cannot take these images, or the features of the body find no room.
    """
    split = make_split(dataset)
    classifier = load_for(options.run, dataset)
    facts = yield from measure_facts(dataset, sealed, split)
    features = yield from find_features(body, options)
    duplicates = yield from _duplicates(dataset, sealed, features, options)
    predictors = yield from find_predictors(dataset, features, options)
    classes = yield from _classes(dataset, predictors.rows, options)
    outliers = yield from _outliers(dataset, predictors.models, classifier, options)
    labels = yield from _labels(dataset, predictors.rows, options)
    shift = yield from _shift(dataset, sealed, predictors.models, options)
    augmentation = yield from _augmentation(dataset, predictors.models, classifier, options)
    found = zip(CHECKS, (duplicates, classes, outliers, labels, shift, augmentation), strict=True)
    return AuditReport(
        dataset,
        sealed,
        split,
        facts,
        _result(duplicates),
        _result(classes),
        _result(outliers),
        _result(labels),
        _result(shift),
        _result(augmentation),
        models="" if isinstance(predictors.rows, Skipped) else predictors.rows.description,
        predictor="" if isinstance(predictors.rows, Skipped) else predictors.rows.short_name,
        distrust=labels.reason if isinstance(labels, Distrust) else "",
        skipped={check: result.reason for check, result in found if isinstance(result, Skipped)},
    )


def _result(found: T | Skipped) -> T | None:
    return None if isinstance(found, Skipped) else found


def _duplicates(
    dataset: Dataset, sealed: SealedTest, features: BodyFeatures | None, options: AuditOptions
) -> Work[Duplicates | Skipped]:
    if (skipped := options.skipped("duplicates")) is not None:
        return skipped
    if options.quick:
        return exact_pairs(dataset, sealed)
    return (yield from find_duplicates(dataset, sealed, features=None if features is None else features.all_rows))


def _classes(
    dataset: Dataset, rows: OutOfFold | Skipped, options: AuditOptions
) -> Work[tuple[ClassDifficulty, ...] | Skipped]:
    if (skipped := options.skipped("classes")) is not None:
        return skipped
    return rows if isinstance(rows, Skipped) else (yield from measure_class_difficulty(dataset, rows))


def _outliers(
    dataset: Dataset, models: CrossValidation | Skipped, classifier: Classifier | None, options: AuditOptions
) -> Work[Outliers | Skipped]:
    if (skipped := options.skipped("outliers")) is not None:
        return skipped
    if len(dataset) < LEAST_ROWS:
        return Skipped(f"to tell what is unusual, at least {LEAST_ROWS} images are needed, and {len(dataset)} given")
    errors = yield from autoencoder_errors(dataset, seed=options.seed, device=options.device)
    if classifier is not None and options.run is not None:
        features = yield from run_features(classifier, dataset, options.device)
        space, name = np.zeros(len(dataset), np.int64), f"the features of run {options.run.id}"
    elif not isinstance(models, Skipped):
        features, space, name = models.features, models.fold, models.feature_space
    else:
        return Outliers(errors, None, "", None)
    distances = yield from neighbour_distances(features, space)
    return Outliers(errors, distances, name, rank_agreement(errors, distances))


def _labels(dataset: Dataset, rows: OutOfFold | Skipped, options: AuditOptions) -> Work[LabelIssues | Skipped]:
    if (skipped := options.skipped("labels")) is not None:
        return skipped
    if isinstance(rows, Skipped):
        return rows
    if (reason := label_issues_obstacle()) is not None:
        return Skipped(reason)
    if (reason := distrust(dataset, rows)) is not None:
        return Distrust(reason)
    return (yield from check_label_issues(dataset, rows))


def _shift(
    dataset: Dataset, sealed: SealedTest, models: CrossValidation | Skipped, options: AuditOptions
) -> Work[DistributionShift | Skipped]:
    if (skipped := options.skipped("shift")) is not None:
        return skipped
    if (reason := shift_obstacle(len(dataset), len(sealed))) is not None:
        return Skipped(reason)
    enough = not isinstance(models, Skipped) and int((models.fold == 0).sum()) >= LEAST_SHIFT_ROWS
    used = None if isinstance(models, Skipped) or not enough else models
    return (yield from measure_distribution_shift(dataset, sealed, used, seed=options.seed))


def _augmentation(
    dataset: Dataset, models: CrossValidation | Skipped, classifier: Classifier | None, options: AuditOptions
) -> Work[AugmentationEffect | Skipped]:
    if (skipped := options.skipped("augment")) is not None:
        return skipped
    reference = choose_reference_model(dataset, options.run, classifier, _result(models))
    work = measure_augmentation_effect(dataset, options.augment, reference, seed=options.seed, device=options.device)
    return (yield from work)
