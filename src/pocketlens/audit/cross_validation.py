"""Short models, each trained without a part of the rows: what they say about that part is said without having seen it.

Their probabilities judge labels, their features judge how odd an image is and how easily classes are told apart.
Everything is a pure function of the images, the labels and the seed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pocketlens.data.dataset import Dataset
from pocketlens.data.split import Split, hold_out
from pocketlens.errors import PocketlensError
from pocketlens.events import Progress, Step, Work
from pocketlens.recipe import SMALL, Experiment, Recipe
from pocketlens.training.classifier import Classifier, extract_features
from pocketlens.training.fit import Diverged, fit
from pocketlens.training.state import State

N_FOLDS = 3
LEAST_ROWS = 60  # with fewer, a model learns nothing worth asking
LEAST_OF_A_CLASS = 2  # a class with one image is never seen where that image is judged
_SIDE = 20  # px to which the shorter side of larger images is brought
_PASSES = 40_000  # images that a model sees where there are few


@dataclass(frozen=True, eq=False)
class Folds:
    """What the models said about the rows that they had not seen.

    Attributes:
        fold: (N,) int64, which model judged each row.
        logits: (N, K) float32.
        features: (N, D) float32, what the head of that model saw; spaces of different models are not comparable.
        models: the models, in the order of their numbers.
        recipe: how they were trained.
    """

    fold: NDArray[np.int64]
    logits: NDArray[np.float32]
    features: NDArray[np.float32]
    models: tuple[Classifier, ...]
    recipe: Recipe


def why_not(dataset: Dataset) -> str | None:
    """Why such models cannot be trained on this data, or None where they can."""
    counts = np.bincount(dataset.labels, minlength=len(dataset.classes))
    if int((counts > 0).sum()) < 2:
        return "there is only one class with images, so there is nothing to tell apart"
    if len(dataset) < LEAST_ROWS:
        return f"there are {len(dataset)} images, and at least {LEAST_ROWS} are needed to train a short model"
    if int((counts >= LEAST_OF_A_CLASS).sum()) < 2:
        return f"fewer than two classes have {LEAST_OF_A_CLASS} images or more"
    return None


def train_folds(dataset: Dataset, *, n_folds: int = N_FOLDS, seed: int = 0, device: str = "cpu") -> Work[Folds]:
    """Trains `n_folds` short models, each on the rows outside its fold, and asks each about its fold.

    Raises:
        PocketlensError: the data has too few images or classes, or a training diverged.
    """
    reason = why_not(dataset)
    if reason is not None:
        raise PocketlensError(f"{dataset.text}: {reason}.")
    recipe = short_recipe(dataset)
    fold = fold_rows(dataset, n_folds, seed)
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
                    yield Step(f"training {n_folds} short models", done, n_folds * event.n_steps)
        except Diverged as error:
            raise PocketlensError(f"{dataset.text}: a short model of the audit diverged: {error}.") from None
        classifier = state.classifier.eval()
        logits[held], seen = extract_features(classifier, state.images, held, device=device)
        features = np.zeros((len(dataset), seen.shape[1]), np.float32) if features is None else features
        features[held] = seen
        models.append(classifier)
    assert features is not None
    return Folds(fold, logits, features, tuple(models), recipe)


def short_recipe(dataset: Dataset) -> Recipe:
    """How the short models are trained: a narrow `lens` on small images, for ten passes at most and four at least."""
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


def fold_rows(dataset: Dataset, n_folds: int, seed: int) -> NDArray[np.int64]:
    """(N,) int64: the fold of each row; stratified, decided by image hash, groups and equal images kept together."""
    fold = np.full(len(dataset), n_folds - 1, np.int64)
    left = np.arange(len(dataset), dtype=np.int64)
    blank = np.broadcast_to(np.uint8(0), (len(dataset), 1, 1, 1))  # the hashes decide, the pixels do not matter
    bare = Dataset(
        dataset.text, blank, dataset.labels, dataset.classes, dataset.hashes, None, None, dataset.strata, dataset.groups
    )
    for number in range(n_folds - 1):
        held = hold_out(bare.take(left), fraction=1 / (n_folds - number), seed=seed, salt=f"fold {number}")
        fold[left[held]] = number
        left = left[~held]
    return fold
