"""The checks of an audit, one after the other. A check that cannot run is skipped, with the reason in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

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
from pocketlens.evaluation.feature_map import MOST_POINTS, make_map, spread
from pocketlens.events import Step

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
    from pocketlens.evaluation.feature_map import FeatureMap
    from pocketlens.events import Work
    from pocketlens.training.classifier import Classifier

MOST_DOUBTED = 200  # label issues on the map, the likeliest first


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


@dataclass(frozen=True, eq=False)
class RowsMap:
    """Development rows in two dimensions by their features.

    Attributes:
        map: its places are development rows; its `n` is of all that have comparable features.
        space: whose features they are, in words.
        marked: the rows on it that a person is asked to look at, as outliers.
    """

    map: FeatureMap
    space: str
    marked: NDArray[np.int64]


def find_map(
    among: FeatureSpace | None, dataset: Dataset, outliers: Outliers | Skipped, labels: LabelIssues | Skipped
) -> Work[RowsMap | None]:
    """The map of a sample of the rows, with the likeliest label issues and outliers; None without features.

    Where each fold has a model of its own, only the rows of one fold are comparable: of that with most of these.
    """
    if among is None:
        return None
    unusual = np.empty(0, np.int64) if isinstance(outliers, Skipped) else reviewed_outliers(outliers)
    doubted = np.empty(0, np.int64) if isinstance(labels, Skipped) else labels.rows[:MOST_DOUBTED]
    wanted = np.union1d(unusual, doubted)
    rows = np.flatnonzero(among.space == np.bincount(among.space[wanted], minlength=1).argmax())
    first = np.intersect1d(wanted, rows)
    rest = np.setdiff1d(rows, first)
    rest = rest[spread(dataset.labels[rest], np.zeros(len(rest), bool), max(0, MOST_POINTS - len(first)))]
    chosen = np.union1d(first, rest)
    yield Step("drawing the map", 0, 1)
    made = make_map(np.ascontiguousarray(among.features[chosen]), chosen, len(rows))
    return None if made is None else RowsMap(made, among.name, np.intersect1d(unusual, chosen))


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
