"""The whole look at a data set, part by part; what cannot be done is left out with the reason in words."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pocketlens.audit import cross_validation as short_models
from pocketlens.audit import distribution_shift as two_parts
from pocketlens.audit.augmentation_effect import Augmented, judge_of, look_at_augmentations
from pocketlens.audit.class_difficulty import ClassEase, measure_ease
from pocketlens.audit.cross_validation import Folds, train_folds
from pocketlens.audit.distribution_shift import PartsTest, compare_parts
from pocketlens.audit.facts import Facts, measure_facts
from pocketlens.audit.label_issues import DoubtfulLabels, find_doubtful, need_cleanlab
from pocketlens.audit.near_duplicates import find_duplicates
from pocketlens.audit.outliers import (
    LEAST_ROWS,
    Agreement,
    Scores,
    agreement,
    autoencoder_errors,
    neighbour_distances,
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

SKIPPABLE = ("duplicates", "classes", "outliers", "labels", "parts", "augment")


@dataclass(frozen=True)
class Asked:
    """How to look.

    Attributes:
        quick: the plain facts and duplicates with equal pixels only; nothing is trained.
        skip: the parts to leave out, of SKIPPABLE.
        run: a finished run whose body gives the features for outliers, instead of short models.
        augment: the augmentation of which a sheet is drawn; "all" of them, or None for the usual recipe's.
    """

    quick: bool = False
    skip: frozenset[str] = frozenset()
    run: Run | None = None
    augment: str | None = None
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        unknown = sorted(self.skip - set(SKIPPABLE))
        if unknown:
            raise PocketlensError(f"what is skipped must be of {', '.join(SKIPPABLE)}; got {unknown[0]!r}.")

    def wants(self, part: str) -> bool:
        """Whether the part is asked for."""
        return part not in self.skip and not (self.quick and part != "duplicates")


@dataclass(frozen=True, eq=False)
class Outliers:
    """How odd every development row is, by two judges, each (N,) float32; `neighbours` is None where not computed."""

    errors: Scores
    neighbours: Scores | None
    space: str  # whose features the neighbours are measured in, in words
    agreement: Agreement | None


@dataclass(frozen=True, eq=False)
class Looked:
    """Everything that was found. A part that is None stands in `left_out` with the reason."""

    dataset: Dataset
    sealed: SealedTest
    split: Split
    facts: Facts
    duplicates: Duplicates | None = None
    ease: tuple[ClassEase, ...] | None = None
    outliers: Outliers | None = None
    labels: DoubtfulLabels | None = None
    parts: PartsTest | None = None
    augmented: Augmented | None = None
    recipe: str = ""  # of the short models, in words
    left_out: dict[str, str] = field(default_factory=dict)


def plan(asked: Asked) -> tuple[str, ...]:
    """What will be done, in order, a line for each step."""
    steps = ["count what there is: classes, sizes, pixels, mean and sample images"]
    if asked.wants("duplicates"):
        steps.append(f"find duplicates{' with equal pixels' if asked.quick else ', exact and near'}, in both parts")
    if _needs_folds(asked):
        steps.append(f"train {short_models.N_FOLDS} short models, each judging the rows it has not seen")
    if asked.wants("classes"):
        steps.append("measure which classes are easy and which are hard")
    if asked.wants("outliers"):
        steps.append("rank odd images: by an autoencoder and by their neighbours")
    if asked.wants("labels"):
        steps.append("rank doubtful labels")
    if asked.wants("parts"):
        steps.append("ask a classifier whether training and test images are alike (the test labels stay sealed)")
    if asked.wants("augment"):
        steps.append("draw what augmentations do, and ask a model whether it still sees the class")
    return (*steps, "write the page, look.json and the CSV files")


def look(dataset: Dataset, sealed: SealedTest, asked: Asked) -> Work[Looked]:
    """Looks at the development rows, and at the test images without their labels.

    Raises:
        PocketlensError: the run's model cannot take these images.
    """
    split = make_split(dataset)
    classifier = _classifier_of(asked.run, dataset)
    facts = yield from measure_facts(dataset, sealed, split)
    left_out = {part: _why_skipped(part, asked) for part in SKIPPABLE if not asked.wants(part)}
    duplicates = None
    if asked.wants("duplicates"):
        duplicates = exact_pairs(dataset, sealed) if asked.quick else (yield from find_duplicates(dataset, sealed))
    folds = yield from _folds(dataset, asked, left_out)
    ease = None
    if folds is not None and asked.wants("classes"):
        ease = yield from measure_ease(dataset, folds)
    outliers = None
    if asked.wants("outliers"):
        outliers = yield from _outliers(dataset, asked, folds, classifier, left_out)
    labels = None
    if folds is not None and asked.wants("labels"):
        labels = yield from _labels(dataset, folds, left_out)
    parts = None
    if asked.wants("parts"):
        reason = two_parts.why_not(len(dataset), len(sealed))
        if reason is None:
            parts = yield from compare_parts(dataset, sealed, _fair(folds), seed=asked.seed)
        else:
            left_out["parts"] = reason
    augmented = None
    if asked.wants("augment"):
        judge = judge_of(dataset, asked.run, classifier, folds)
        augmented = yield from look_at_augmentations(
            dataset, asked.augment, judge, seed=asked.seed, device=asked.device
        )
    recipe = "" if folds is None else _say_recipe(folds)
    found = (duplicates, ease, outliers, labels, parts, augmented)
    return Looked(dataset, sealed, split, facts, *found, recipe=recipe, left_out=left_out)


def _needs_folds(asked: Asked) -> bool:
    return asked.wants("classes") or asked.wants("labels") or (asked.wants("outliers") and asked.run is None)


def _why_skipped(part: str, asked: Asked) -> str:
    return "it was skipped, as was asked" if part in asked.skip else "a quick look leaves it out"


def _folds(dataset: Dataset, asked: Asked, left_out: dict[str, str]) -> Work[Folds | None]:
    if not _needs_folds(asked):
        return None
    reason = short_models.why_not(dataset)
    if reason is not None:
        left_out.update({part: reason for part in ("classes", "labels") if asked.wants(part)})
        return None
    return (yield from train_folds(dataset, seed=asked.seed, device=asked.device))


def _fair(folds: Folds | None) -> Folds | None:
    """The short models where each has enough rows that it has not seen."""
    return folds if folds is not None and int((folds.fold == 0).sum()) >= two_parts.LEAST_ROWS else None


def _outliers(
    dataset: Dataset, asked: Asked, folds: Folds | None, classifier: Classifier | None, left_out: dict[str, str]
) -> Work[Outliers | None]:
    if len(dataset) < LEAST_ROWS:
        left_out["outliers"] = f"there are {len(dataset)} images, and at least {LEAST_ROWS} are needed to see a crowd"
        return None
    errors = yield from autoencoder_errors(dataset, seed=asked.seed, device=asked.device)
    if classifier is not None and asked.run is not None:
        features = yield from _features(classifier, dataset, asked.device)
        space = np.zeros(len(dataset), np.int64)
        words = f"the body of run {asked.run.id}"
    elif folds is not None:
        features, space = folds.features, folds.fold
        words = "the body of a short model that had not seen the image"
    else:
        return Outliers(errors, None, "", None)
    neighbours = yield from neighbour_distances(features, space)
    return Outliers(errors, neighbours, words, agreement(errors, neighbours))


def _labels(dataset: Dataset, folds: Folds, left_out: dict[str, str]) -> Work[DoubtfulLabels | None]:
    try:
        need_cleanlab()
    except PocketlensError as error:
        left_out["labels"] = str(error)
        return None
    yield Step("judging labels", 0, len(dataset))
    found = find_doubtful(dataset, folds)
    yield Step("judging labels", len(dataset), len(dataset))
    return found


def _features(classifier: Classifier, dataset: Dataset, device: str) -> Work[NDArray[np.float32]]:
    rows, n = DeviceImages(dataset.images, classifier.prepare, device, limit=0), len(dataset)
    pieces = []
    for start in range(0, n, 2000):
        pieces.append(extract_features(classifier, rows, np.arange(start, min(start + 2000, n)), device=device)[1])
        yield Step("looking through the run's body", min(start + 2000, n), n)
    return np.concatenate(pieces)


def _classifier_of(run: Run | None, dataset: Dataset) -> Classifier | None:
    if run is None:
        return None
    from pocketlens.training.classifier import load_classifier

    classifier = load_classifier(run)
    shape = DeviceImages(dataset.images[:1], classifier.prepare, "cpu", limit=0).shape
    if shape != classifier.shape:
        raise PocketlensError(
            f"run {run.id} must take images of this data; it takes {classifier.shape}, they are {shape}: name another "
            "run, or leave --run out."
        )
    return classifier


def _say_recipe(folds: Folds) -> str:
    recipe = folds.recipe
    return (
        f"{len(folds.models)} models {recipe.model}, each trained for {recipe.epochs:g} passes over the rows outside "
        f"its fold (recipe {recipe.id})"
    )
