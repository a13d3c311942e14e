"""The audit of a data set: what it is made of, and the report of everything that was found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from pocketlens.audit.checks import (
    check_augmentation,
    check_classes,
    check_duplicates,
    check_labels,
    check_shift,
    find_map,
    find_nearest,
)
from pocketlens.audit.facts import Facts, measure_facts
from pocketlens.audit.options import CHECKS, AuditOptions, Distrust, Skipped
from pocketlens.audit.outlier_check import FeatureSources, check_outliers, outlier_space, review_space
from pocketlens.audit.phases import Phases
from pocketlens.audit.predictors import find_features, find_predictors
from pocketlens.audit.run_features import load_for
from pocketlens.data.dataset import Dataset, Loaded, SealedTest
from pocketlens.data.split import Split, make_split

if TYPE_CHECKING:
    from pocketlens.audit.augmentation_effect import AugmentationEffect
    from pocketlens.audit.body import BodyView
    from pocketlens.audit.checks import RowsMap
    from pocketlens.audit.class_difficulty import ClassDifficulty
    from pocketlens.audit.distribution_shift import DistributionShift
    from pocketlens.audit.label_issues import LabelIssues
    from pocketlens.audit.outliers import Nearest, Outliers
    from pocketlens.data.duplicates import Duplicates
    from pocketlens.events import Work

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
    map: RowsMap | None = None  # of the rows by their features
    models: str = ""  # what predicts every image, in words
    predictor: str = ""  # the same, in two words
    sight: str = ""  # whether a pretrained body is used, and why
    distrust: str = ""  # why no label is doubted, where what predicts is wrong too often
    skipped: dict[str, str] = field(default_factory=dict)  # the reason by check
    phases: Phases = field(default_factory=Phases)  # to be forgotten once the report is written


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
    looked_at, split = Loaded(dataset, sealed), make_split(dataset)
    classifier = load_for(options.run, dataset)
    phases = Phases() if options.quick else Phases.of(dataset, sealed, options.seed, options.device)
    facts = yield from measure_facts(dataset, sealed, split)
    features = yield from find_features(body, options)
    duplicates = yield from check_duplicates(looked_at, features, options, phases)
    predictors = yield from find_predictors(dataset, features, options, phases)
    rows, models = predictors.rows, predictors.models
    classes = yield from check_classes(dataset, predictors, options, phases)
    space = yield from outlier_space(dataset, FeatureSources(models, classifier), options)
    outliers = yield from check_outliers(dataset, space, options, phases)
    labels = yield from check_labels(dataset, rows, options)
    reviewed = review_space(space, rows)
    nearest = yield from find_nearest(reviewed, outliers, labels)
    rows_map = yield from find_map(reviewed, dataset, outliers, labels)
    shift = yield from check_shift(looked_at, models, options)
    augmentation = yield from check_augmentation(dataset, models, classifier, options)
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
        map=rows_map,
        models="" if isinstance(rows, Skipped) else rows.description,
        predictor="" if isinstance(rows, Skipped) else rows.short_name,
        distrust=labels.reason if isinstance(labels, Distrust) else "",
        skipped={check: result.reason for check, result in found if isinstance(result, Skipped)},
        phases=phases,
    )


def _result(found: T | Skipped) -> T | None:
    return None if isinstance(found, Skipped) else found
