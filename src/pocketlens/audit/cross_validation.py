"""Cross-validation: small models, each trained without one fold of the rows, predict that fold.

The predictions find label issues and hard classes, the features find outliers. Everything is a pure function of the
images, the labels and the seed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pocketlens.data.dataset import Dataset
from pocketlens.data.folds import assign_folds
from pocketlens.data.split import Split
from pocketlens.errors import PocketlensError
from pocketlens.events import Progress, Step, Work
from pocketlens.recipe import SMALL, Experiment, Recipe
from pocketlens.text import counted
from pocketlens.training.classifier import Classifier, extract_features
from pocketlens.training.fit import Diverged, fit
from pocketlens.training.state import State

N_FOLDS = 3
LEAST_ROWS = 60  # with fewer, a model does not learn enough
MOST_BYTES = 1_000_000_000  # of out-of-fold logits, from which label issues and hard classes are computed
LEAST_OF_A_CLASS = 2  # the model that predicts the only image of a class has never seen that class
_SIDE = 20  # px to which the shorter side of larger images is resized
_PASSES = 40_000  # images that a model sees on a small data set


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """Out-of-fold predictions: every row is predicted by the model that was not trained on it.

    Attributes:
        fold: (N,) int64, the fold of each row, which is also the number of the model that predicts it.
        logits: (N, K) float32.
        features: (N, D) float32, the input of that model's head; features of different models are not comparable.
        models: one model for each fold.
        recipe: how they were trained.
    """

    fold: NDArray[np.int64]
    logits: NDArray[np.float32]
    features: NDArray[np.float32]
    models: tuple[Classifier, ...]
    recipe: Recipe


def obstacle(dataset: Dataset) -> str | None:
    """Why this data cannot be cross-validated, or None if it can."""
    counts = np.bincount(dataset.labels, minlength=len(dataset.classes))
    if int((counts > 0).sum()) < 2:
        return "only one class has images, so there is nothing to classify"
    if len(dataset) < LEAST_ROWS:
        return f"there are {counted(len(dataset), 'image')}, and at least {LEAST_ROWS} are needed for cross-validation"
    if int((counts >= LEAST_OF_A_CLASS).sum()) < 2:
        return f"fewer than two classes have at least {LEAST_OF_A_CLASS} images"
    n_bytes = 4 * len(dataset) * len(dataset.classes)
    if n_bytes > MOST_BYTES:
        return (
            f"the predictions for {counted(len(dataset), 'image')} and {counted(len(dataset.classes), 'class')} take "
            f"{n_bytes / 1e9:.1f} GB, and at most {MOST_BYTES / 1e9:g} GB are kept"
        )
    return None


def cross_validate(
    dataset: Dataset, *, n_folds: int = N_FOLDS, seed: int = 0, device: str = "cpu"
) -> Work[CrossValidation]:
    """Trains `n_folds` small models, each on the rows outside its fold, and predicts the fold with it.

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
    for number in range(n_folds):
        held, kept = np.flatnonzero(fold == number), np.flatnonzero(fold != number)
        experiment = Experiment(dataset.text, recipe, seed=seed, data_fingerprint=dataset.fingerprint)
        state = State(experiment, dataset, Split(kept, held[:0], seed, 0.0), device)
        try:
            for event in fit(state):
                if isinstance(event, Progress):
                    done = number * event.n_steps + event.step
                    yield Step("cross-validating", done, n_folds * event.n_steps)
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
