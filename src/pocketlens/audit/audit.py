"""The audit of a data set, check by check. A check that cannot run is skipped, with the reason in words."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from pocketlens.audit import cross_validation, distribution_shift
from pocketlens.audit.augmentation_effect import (
    AugmentationEffect,
    choose_reference_model,
    measure_augmentation_effect,
)
from pocketlens.audit.class_difficulty import ClassDifficulty, measure_class_difficulty
from pocketlens.audit.cross_validation import CrossValidation, cross_validate
from pocketlens.audit.distribution_shift import DistributionShift, measure_distribution_shift
from pocketlens.audit.facts import Facts, measure_facts
from pocketlens.audit.label_issues import LabelIssues, find_label_issues, require_cleanlab
from pocketlens.audit.near_duplicates import find_duplicates
from pocketlens.audit.outliers import (
    LEAST_ROWS,
    Outliers,
    autoencoder_errors,
    neighbour_distances,
    rank_agreement,
)
from pocketlens.data.dataset import Dataset, SealedTest
from pocketlens.data.duplicates import Duplicates, exact_pairs
from pocketlens.data.split import Split, make_split
from pocketlens.errors import PocketlensError
from pocketlens.events import Step, Work
from pocketlens.training.classifier import extract_features
from pocketlens.training.device_images import DeviceImages

if TYPE_CHECKING:
    from pocketlens.training.classifier import Classifier
    from pocketlens.training.run import Run

CHECKS = ("duplicates", "classes", "outliers", "labels", "shift", "augment")
_FORMER_NAMES = {"parts": "shift"}
T = TypeVar("T")


@dataclass(frozen=True)
class Skipped:
    """A check that did not run, and why."""

    reason: str


@dataclass(frozen=True)
class AuditOptions:
    """What to check, and how.

    Attributes:
        quick: only basic facts and duplicates with equal pixels; nothing is trained.
        skip: the checks to skip, of CHECKS.
        run: a finished run whose model provides the features for outliers, instead of cross-validation models.
        augment: the augmentation to draw and test; "all" for every one, None for the usual recipe's.
        seed: of everything that is trained or drawn.
        device: where to compute.
    """

    quick: bool = False
    skip: frozenset[str] = frozenset()
    run: Run | None = None
    augment: str | None = None
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        unknown = sorted(self.skip - set(CHECKS))
        if unknown:
            raise PocketlensError(f"the checks to skip must be among {', '.join(CHECKS)}; got {unknown[0]!r}.")

    def skipped(self, check: str) -> Skipped | None:
        """Why these options exclude a check, or None if they do not."""
        if check in self.skip:
            return Skipped("as requested")
        return Skipped("not part of a quick audit") if self.quick and check != "duplicates" else None


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
    models: str = ""  # the cross-validation models, in words
    skipped: dict[str, str] = field(default_factory=dict)  # the reason by check


def read_checks(text: str) -> frozenset[str]:
    """The checks in a text such as `labels,shift`; `parts`, the former name of `shift`, is still read."""
    names = (word.strip() for word in text.split(","))
    return frozenset(_FORMER_NAMES.get(name, name) for name in names if name)


def plan(options: AuditOptions) -> tuple[str, ...]:
    """What `audit` will do, in order, a line for each step."""
    steps = ["measure the basics: classes, image sizes, pixel statistics, mean and sample images"]
    if options.skipped("duplicates") is None:
        kind = "duplicates with equal pixels" if options.quick else "exact and near duplicates"
        steps.append(f"find {kind}, within and across development and test images")
    if _needs_cross_validation(options):
        steps.append(f"cross-validate a small model in {cross_validation.N_FOLDS} folds, to predict every image")
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


def audit(dataset: Dataset, sealed: SealedTest, options: AuditOptions) -> Work[AuditReport]:
    """Runs every check on the development rows, and on the test images without their labels.

    Raises:
        PocketlensError: the run's model cannot take these images.
    """
    split = make_split(dataset)
    classifier = _load_classifier(options.run, dataset)
    facts = yield from measure_facts(dataset, sealed, split)
    duplicates = yield from _duplicates(dataset, sealed, options)
    models = yield from _cross_validate(dataset, options)
    classes = yield from _classes(dataset, models, options)
    outliers = yield from _outliers(dataset, models, classifier, options)
    labels = yield from _labels(dataset, models, options)
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
        models="" if isinstance(models, Skipped) else _describe(models),
        skipped={check: result.reason for check, result in found if isinstance(result, Skipped)},
    )


def _result(found: T | Skipped) -> T | None:
    return None if isinstance(found, Skipped) else found


def _duplicates(dataset: Dataset, sealed: SealedTest, options: AuditOptions) -> Work[Duplicates | Skipped]:
    if (skipped := options.skipped("duplicates")) is not None:
        return skipped
    return exact_pairs(dataset, sealed) if options.quick else (yield from find_duplicates(dataset, sealed))


def _needs_cross_validation(options: AuditOptions) -> bool:
    wanted = [check for check in ("classes", "labels", "outliers") if options.skipped(check) is None]
    return bool(wanted) and not (wanted == ["outliers"] and options.run is not None)


def _cross_validate(dataset: Dataset, options: AuditOptions) -> Work[CrossValidation | Skipped]:
    if not _needs_cross_validation(options):
        return Skipped("no check needs it")
    if (reason := cross_validation.obstacle(dataset)) is not None:
        return Skipped(reason)
    return (yield from cross_validate(dataset, seed=options.seed, device=options.device))


def _classes(
    dataset: Dataset, models: CrossValidation | Skipped, options: AuditOptions
) -> Work[tuple[ClassDifficulty, ...] | Skipped]:
    if (skipped := options.skipped("classes")) is not None:
        return skipped
    return models if isinstance(models, Skipped) else (yield from measure_class_difficulty(dataset, models))


def _outliers(
    dataset: Dataset, models: CrossValidation | Skipped, classifier: Classifier | None, options: AuditOptions
) -> Work[Outliers | Skipped]:
    if (skipped := options.skipped("outliers")) is not None:
        return skipped
    if len(dataset) < LEAST_ROWS:
        return Skipped(f"there are {len(dataset)} images, and at least {LEAST_ROWS} are needed to tell what is unusual")
    errors = yield from autoencoder_errors(dataset, seed=options.seed, device=options.device)
    if classifier is not None and options.run is not None:
        features = yield from _features(classifier, dataset, options.device)
        space, name = np.zeros(len(dataset), np.int64), f"the features of run {options.run.id}"
    elif not isinstance(models, Skipped):
        features, space = models.features, models.fold
        name = "the features of a cross-validation model that was not trained on the image"
    else:
        return Outliers(errors, None, "", None)
    distances = yield from neighbour_distances(features, space)
    return Outliers(errors, distances, name, rank_agreement(errors, distances))


def _labels(dataset: Dataset, models: CrossValidation | Skipped, options: AuditOptions) -> Work[LabelIssues | Skipped]:
    if (skipped := options.skipped("labels")) is not None:
        return skipped
    if isinstance(models, Skipped):
        return models
    try:
        require_cleanlab()
    except PocketlensError as error:
        return Skipped(str(error).removesuffix("."))
    yield Step("finding label issues", 0, len(dataset))
    found = find_label_issues(dataset, models)
    yield Step("finding label issues", len(dataset), len(dataset))
    return found


def _shift(
    dataset: Dataset, sealed: SealedTest, models: CrossValidation | Skipped, options: AuditOptions
) -> Work[DistributionShift | Skipped]:
    if (skipped := options.skipped("shift")) is not None:
        return skipped
    if (reason := distribution_shift.obstacle(len(dataset), len(sealed))) is not None:
        return Skipped(reason)
    enough = not isinstance(models, Skipped) and int((models.fold == 0).sum()) >= distribution_shift.LEAST_ROWS
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


def _features(classifier: Classifier, dataset: Dataset, device: str) -> Work[NDArray[np.float32]]:
    rows, n = DeviceImages(dataset.images, classifier.prepare, device, limit=0), len(dataset)
    pieces = []
    for start in range(0, n, 2000):
        pieces.append(extract_features(classifier, rows, np.arange(start, min(start + 2000, n)), device=device)[1])
        yield Step("extracting features", min(start + 2000, n), n)
    return np.concatenate(pieces)


def _load_classifier(run: Run | None, dataset: Dataset) -> Classifier | None:
    if run is None:
        return None
    from pocketlens.training.classifier import load_classifier

    classifier = load_classifier(run)
    shape = DeviceImages(dataset.images[:1], classifier.prepare, "cpu", limit=0).shape
    if shape != classifier.shape:
        raise PocketlensError(
            f"run {run.id} must take the images of this data set, which are {shape}; it takes {classifier.shape}: name "
            "another run, or omit --run."
        )
    return classifier


def _describe(models: CrossValidation) -> str:
    recipe = models.recipe
    return (
        f"{len(models.models)} cross-validation models ({recipe.model}), each trained for {recipe.epochs:g} epochs on "
        f"the rows outside its fold (recipe {recipe.id})"
    )
