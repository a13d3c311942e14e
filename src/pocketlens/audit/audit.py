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
from pocketlens.audit.cross_validation import CrossValidation, cross_validate
from pocketlens.audit.cross_validation import obstacle as cross_validation_obstacle
from pocketlens.audit.distribution_shift import LEAST_ROWS as LEAST_SHIFT_ROWS
from pocketlens.audit.distribution_shift import DistributionShift, measure_distribution_shift
from pocketlens.audit.distribution_shift import obstacle as shift_obstacle
from pocketlens.audit.facts import Facts, measure_facts
from pocketlens.audit.label_issues import LabelIssues, check_label_issues, distrust
from pocketlens.audit.label_issues import obstacle as label_issues_obstacle
from pocketlens.audit.near_duplicates import find_duplicates
from pocketlens.audit.options import CHECKS, AuditOptions, Skipped
from pocketlens.audit.outlier_check import FeatureSources, check_outliers, feature_space
from pocketlens.audit.outliers import FeatureSpace, Nearest, Outliers, nearest_rows, reviewed_outliers
from pocketlens.audit.phases import Phases
from pocketlens.audit.run_features import load_for
from pocketlens.data.duplicates import Duplicates, exact_pairs
from pocketlens.data.split import Split, make_split

if TYPE_CHECKING:
    from pocketlens.audit.outliers import Outliers
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
    nearest: Nearest | None = None  # of the label issues and the outliers; None without features
    models: str = ""  # the cross-validation models, in words
    skipped: dict[str, str] = field(default_factory=dict)  # the reason by check
    phases: Phases = field(default_factory=Phases)  # to be forgotten once the report is written


def audit(dataset: Dataset, sealed: SealedTest, options: AuditOptions) -> Work[AuditReport]:
    """Runs every check on the development rows, and on the test images without their labels.

    Raises:
        PocketlensError: the run's model cannot take these images.
    """
    split = make_split(dataset)
    classifier = load_for(options.run, dataset)
    phases = Phases() if options.quick else Phases.of(dataset, sealed, options.seed, options.device)
    facts = yield from measure_facts(dataset, sealed, split)
    duplicates = yield from _duplicates(dataset, sealed, options, phases)
    models = yield from _cross_validate(dataset, options, phases)
    classes = yield from _classes(dataset, models, options, phases)
    space = yield from feature_space(dataset, FeatureSources(models, classifier), options)
    outliers = yield from check_outliers(dataset, space, options, phases)
    labels = yield from _labels(dataset, models, options)
    nearest = yield from _nearest(space, _result(outliers), _result(labels))
    shift = yield from _shift(dataset, sealed, models, options)
    augmentation = yield from _augmentation(dataset, models, classifier, options)
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
        nearest=nearest,
        models="" if isinstance(models, Skipped) else _describe(models),
        skipped={check: result.reason for check, result in found if isinstance(result, Skipped)},
        phases=phases,
    )


def _result(found: T | Skipped) -> T | None:
    return None if isinstance(found, Skipped) else found


def _duplicates(
    dataset: Dataset, sealed: SealedTest, options: AuditOptions, phases: Phases
) -> Work[Duplicates | Skipped]:
    if (skipped := options.skipped("duplicates")) is not None:
        return skipped
    if options.quick:
        return exact_pairs(dataset, sealed)
    return (yield from find_duplicates(dataset, sealed, phases=phases))


def _cross_validate(dataset: Dataset, options: AuditOptions, phases: Phases) -> Work[CrossValidation | Skipped]:
    if not options.needs_cross_validation:
        return Skipped("no check needs it")
    if (reason := cross_validation_obstacle(dataset)) is not None:
        return Skipped(reason)
    return (yield from cross_validate(dataset, seed=options.seed, device=options.device, phases=phases))


def _classes(
    dataset: Dataset, models: CrossValidation | Skipped, options: AuditOptions, phases: Phases
) -> Work[tuple[ClassDifficulty, ...] | Skipped]:
    if (skipped := options.skipped("classes")) is not None:
        return skipped
    if isinstance(models, Skipped):
        return models
    return (yield from measure_class_difficulty(dataset, models, phases))


def _nearest(space: FeatureSpace | None, outliers: Outliers | None, labels: LabelIssues | None) -> Work[Nearest | None]:
    rows = [np.empty(0, np.int64)]
    rows += [] if outliers is None else [reviewed_outliers(outliers)]
    rows += [] if labels is None else [labels.rows]
    wanted = np.concatenate(rows)
    return None if space is None or not len(wanted) else (yield from nearest_rows(space, wanted))


def _labels(dataset: Dataset, models: CrossValidation | Skipped, options: AuditOptions) -> Work[LabelIssues | Skipped]:
    if (skipped := options.skipped("labels")) is not None:
        return skipped
    if isinstance(models, Skipped):
        return models
    if (reason := label_issues_obstacle()) is not None:
        return Skipped(reason)
    if (reason := distrust(dataset, models)) is not None:
        return Skipped(reason)
    return (yield from check_label_issues(dataset, models))


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


def _describe(models: CrossValidation) -> str:
    recipe = models.recipe
    return (
        f"the cross-validation models, one for each fold ({len(models.models)}), trained on the rows outside it "
        f"({recipe.model}, recipe {recipe.id}, epochs: {recipe.epochs:g})"
    )
