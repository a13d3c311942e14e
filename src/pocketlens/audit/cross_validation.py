"""Cross-validation: small models, each trained without one fold of the rows, predict that fold.

The predictions find label issues and hard classes, the features find outliers. Everything is a pure function of the
images, the labels and the seed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pocketlens.audit.out_of_fold import OutOfFold, obstacle
from pocketlens.data.dataset import Dataset
from pocketlens.data.folds import assign_folds
from pocketlens.data.split import Split
from pocketlens.errors import PocketlensError
from pocketlens.events import Progress, Step, Work
from pocketlens.recipe import SMALL, Experiment, Recipe
from pocketlens.training.classifier import Classifier, extract_features
from pocketlens.training.fit import Diverged, fit
from pocketlens.training.state import State

N_FOLDS = 3
_SIDE = 20  # px to which the shorter side of larger images is resized
_PASSES = 40_000  # images that a model sees on a small data set


@dataclass(frozen=True, eq=False)
class CrossValidation(OutOfFold):
    """Predictions and features by small models; the features of different models are not comparable.

    Attributes:
        models: one model for each fold; the features are the input of its head.
        recipe: how they were trained.
    """

    models: tuple[Classifier, ...]
    recipe: Recipe

    @property
    def short_name(self) -> str:
        """What predicts, in two words."""
        return "cross-validation models"

    @property
    def description(self) -> str:
        """What predicts, and how it was trained."""
        return (
            f"the cross-validation models, one for each fold ({len(self.models)}), trained on the rows outside it "
            f"({self.recipe.model}, recipe {self.recipe.id}, epochs: {self.recipe.epochs:g})"
        )

    @property
    def feature_space(self) -> str:
        """Whose features they are."""
        return "the features of a cross-validation model that was not trained on the image"


def cross_validate(
    dataset: Dataset, *, n_folds: int = N_FOLDS, n_models: int = N_FOLDS, seed: int = 0, device: str = "cpu"
) -> Work[CrossValidation]:
    """Trains `n_folds` small models, each on the rows outside its fold, and predicts the fold with it.

    Of these only the first `n_models`; the rows of the other folds then have the logits and features 0.

    Raises:
        PocketlensError: the data has too few images or classes, or training diverged.
    """
    reason = obstacle(dataset)
    if reason is not None:
        raise PocketlensError(f"{dataset.text}: {reason}.")
    recipe = fold_recipe(dataset)
    fold = assign_folds(dataset, n_folds, seed)
    logits = np.zeros((len(dataset), len(dataset.classes)), np.float32)
    features: NDArray[np.float32] | None = None
    models: list[Classifier] = []
    n_models = min(n_folds, n_models)
    for number in range(n_models):
        held, kept = np.flatnonzero(fold == number), np.flatnonzero(fold != number)
        experiment = Experiment(dataset.text, recipe, seed=seed, data_fingerprint=dataset.fingerprint)
        state = State(experiment, dataset, Split(kept, held[:0], seed, 0.0), device)
        try:
            for event in fit(state):
                if isinstance(event, Progress):
                    done = number * event.n_steps + event.step
                    yield Step("cross-validating", done, n_models * event.n_steps)
        except Diverged as error:
            raise PocketlensError(f"{dataset.text}: a cross-validation model diverged: {error}.") from None
        classifier = state.classifier.eval()
        logits[held], seen = extract_features(classifier, state.images, held, device=device)
        features = np.zeros((len(dataset), seen.shape[1]), np.float32) if features is None else features
        features[held] = seen
        models.append(classifier)
    assert features is not None
    return CrossValidation(fold, logits, features, tuple(models), recipe)


def fold_recipe(dataset: Dataset) -> Recipe:
    """How the models are trained: a narrow `lens` on small images, for four to ten epochs."""
    height, width, _ = dataset.shape
    few = len(dataset) < SMALL
    scale = min(1.0, _SIDE / min(height, width))
    sides = tuple(max(8, round(side * scale)) for side in (height, width))
    return Recipe(
        model="lens(width=0.25)",
        prepare="none" if sides == (height, width) else f"resize(size={sides!r})",
        augment="crop(pad=1)",
        sizes="100%",
        loss="cross_entropy(smoothing=0.1)",
        optimizer="muon(rest_lr=0.3)" if few else "muon(momentum=0.6, rest_lr=1.38)",
        lr=0.06 if few else 0.18,
        batch_size=128 if few else 512,
        epochs=float(np.clip(round(_PASSES / len(dataset)), 4, 10)),
    )
