"""The checks of an audit, one after the other. A check that cannot run is skipped, with the reason in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pocketlens.audit.augmentation_effect import choose_reference_model, measure_augmentation_effect
from pocketlens.audit.class_difficulty import measure_class_difficulty
from pocketlens.audit.distribution_shift import LEAST_ROWS as LEAST_SHIFT_ROWS
from pocketlens.audit.distribution_shift import measure_distribution_shift
from pocketlens.audit.distribution_shift import obstacle as shift_obstacle
from pocketlens.audit.label_issues import check_label_issues, distrust
from pocketlens.audit.label_issues import obstacle as label_issues_obstacle
from pocketlens.audit.near_duplicates import find_duplicates
from pocketlens.audit.options import AuditOptions, Distrust, Skipped
from pocketlens.audit.outliers import nearest_rows, reviewed_outliers
from pocketlens.data.duplicates import exact_pairs

if TYPE_CHECKING:
    from pocketlens.audit.augmentation_effect import AugmentationEffect
    from pocketlens.audit.body import BodyFeatures
    from pocketlens.audit.class_difficulty import ClassDifficulty
    from pocketlens.audit.cross_validation import CrossValidation
    from pocketlens.audit.distribution_shift import DistributionShift
    from pocketlens.audit.label_issues import LabelIssues
    from pocketlens.audit.out_of_fold import OutOfFold
    from pocketlens.audit.outliers import FeatureSpace, Nearest, Outliers
    from pocketlens.audit.phases import Phases
    from pocketlens.audit.predictors import Predictors
    from pocketlens.data.dataset import Dataset, Loaded
    from pocketlens.data.duplicates import Duplicates
    from pocketlens.events import Work
    from pocketlens.training.classifier import Classifier


def check_duplicates(
    looked_at: Loaded, features: BodyFeatures | None, options: AuditOptions, phases: Phases
) -> Work[Duplicates | Skipped]:
    """Exact and near duplicates, the latter also by the features of a body; in a quick audit, equal pixels alone."""
    if (skipped := options.skipped("duplicates")) is not None:
        return skipped
    if options.quick:
        return exact_pairs(*looked_at)
    all_rows = None if features is None else features.all_rows
    return (yield from find_duplicates(*looked_at, phases=phases, features=all_rows))


def check_classes(
    dataset: Dataset, predictors: Predictors, options: AuditOptions, phases: Phases
) -> Work[tuple[ClassDifficulty, ...] | Skipped]:
    """How difficult each class is."""
    if (skipped := options.skipped("classes")) is not None:
        return skipped
    if isinstance(predictors.rows, Skipped):
        return predictors.rows
    return (yield from measure_class_difficulty(dataset, predictors.rows, predictors.kept_in(phases)))


def check_labels(dataset: Dataset, rows: OutOfFold | Skipped, options: AuditOptions) -> Work[LabelIssues | Skipped]:
    """The label issues, by what predicts every row."""
    if (skipped := options.skipped("labels")) is not None:
        return skipped
    if isinstance(rows, Skipped):
        return rows
    if (reason := label_issues_obstacle()) is not None:
        return Skipped(reason)
    if (reason := distrust(dataset, rows)) is not None:
        return Distrust(reason)
    return (yield from check_label_issues(dataset, rows))


def find_nearest(
    space: FeatureSpace | None, outliers: Outliers | Skipped, labels: LabelIssues | Skipped
) -> Work[Nearest | None]:
    """The nearest neighbours of what a person reviews; None without features, or where there is nothing to review."""
    rows = [np.empty(0, np.int64)]
    rows += [] if isinstance(outliers, Skipped) else [reviewed_outliers(outliers)]
    rows += [] if isinstance(labels, Skipped) else [labels.rows]
    wanted = np.concatenate(rows)
    return None if space is None or not len(wanted) else (yield from nearest_rows(space, wanted))


def check_shift(
    looked_at: Loaded, models: CrossValidation | Skipped, options: AuditOptions
) -> Work[DistributionShift | Skipped]:
    """How far the test images differ from the development images, also as the first small model sees them."""
    if (skipped := options.skipped("shift")) is not None:
        return skipped
    dataset, sealed = looked_at
    if (reason := shift_obstacle(len(dataset), len(sealed))) is not None:
        return Skipped(reason)
    enough = not isinstance(models, Skipped) and int((models.fold == 0).sum()) >= LEAST_SHIFT_ROWS
    used = None if isinstance(models, Skipped) or not enough else models
    return (yield from measure_distribution_shift(dataset, sealed, used, seed=options.seed))


def check_augmentation(
    dataset: Dataset, models: CrossValidation | Skipped, classifier: Classifier | None, options: AuditOptions
) -> Work[AugmentationEffect | Skipped]:
    """Whether augmented images are still recognised, by the run's model or the first small one."""
    if (skipped := options.skipped("augment")) is not None:
        return skipped
    reference = choose_reference_model(
        dataset, options.run, classifier, None if isinstance(models, Skipped) else models
    )
    work = measure_augmentation_effect(dataset, options.augment, reference, seed=options.seed, device=options.device)
    return (yield from work)
