"""Cross-validation: small models, each trained without one fold of the rows, predict that fold.

The predictions find label issues and hard classes, the features find outliers. Everything is a pure function of the
images, the labels and the seed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray

from pocketlens.audit.phases import Arrays, Phases
from pocketlens.data.folds import assign_folds
from pocketlens.data.scratch import scratch_array
from pocketlens.data.split import Split
from pocketlens.errors import PocketlensError
from pocketlens.events import Progress, Step, Work
from pocketlens.recipe import SMALL, Experiment, Recipe
from pocketlens.text import counted
from pocketlens.training.classifier import Classifier, extract_features
from pocketlens.training.fit import Diverged, fit
from pocketlens.training.model_facts import ModelFacts
from pocketlens.training.state import State

if TYPE_CHECKING:
    from pocketlens.data.dataset import Dataset

N_FOLDS = 3
LEAST_ROWS = 60  # with fewer, a model does not learn enough
MOST_BYTES = 1_000_000_000  # of out-of-fold logits, from which label issues and hard classes are computed
LEAST_OF_A_CLASS = 2  # the model that predicts the only image of a class has never seen that class
_SIDE = 20  # px to which the shorter side of larger images is resized
_PASSES = 40_000  # images that a model sees on a small data set
_MANY = 100_000  # images up to which a model is trained for four epochs; on more, it has seen enough earlier


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
    dataset: Dataset, *, n_folds: int = N_FOLDS, seed: int = 0, device: str = "cpu", phases: Phases | None = None
) -> Work[CrossValidation]:
    """Trains `n_folds` small models, each on the rows outside its fold, and predicts the fold with it.

    Folds that are kept in `phases` are not trained again.

    Raises:
        PocketlensError: the data has too few images or classes, or training diverged.
    """
    reason = obstacle(dataset)
    if reason is not None:
        raise PocketlensError(f"{dataset.text}: {reason}.")
    phases = Phases() if phases is None else phases
    recipe = fold_recipe(dataset)
    fold = assign_folds(dataset, n_folds, seed)
    logits = scratch_array((len(dataset), len(dataset.classes)), np.float32)
    features: NDArray[np.float32] | None = None
    models: list[Classifier] = []
    for number in range(n_folds):
        held, kept = np.flatnonzero(fold == number), np.flatnonzero(fold != number)
        experiment = Experiment(dataset.text, recipe, seed=seed, data_fingerprint=dataset.fingerprint)
        task = _Fold(number, n_folds, experiment, Split(kept, held, seed, 0.0), device)
        arrays = yield from phases.once(f"fold {number} of {n_folds}", _train_fold(dataset, task))
        logits[held], seen, facts, weights = arrays
        features = scratch_array((len(dataset), seen.shape[1]), np.float32) if features is None else features
        features[held] = seen
        models.append(_model(facts, weights))
    assert features is not None
    return CrossValidation(fold, logits, features, tuple(models), recipe)


@dataclass(frozen=True, eq=False)
class _Fold:
    """What one of the models is trained on and predicts: the rows `split.train` and `split.val`."""

    number: int
    n_folds: int
    experiment: Experiment
    split: Split
    device: str


def _train_fold(dataset: Dataset, task: _Fold) -> Work[Arrays]:
    """The logits and features of the rows of a fold, and the facts and weights of the model that predicts them."""
    held = task.split.val
    state = State(task.experiment, dataset, replace(task.split, val=held[:0]), task.device)
    try:
        for event in fit(state):
            if isinstance(event, Progress):
                done = task.number * event.n_steps + event.step
                yield Step("cross-validating", done, task.n_folds * event.n_steps)
    except Diverged as error:
        raise PocketlensError(f"{dataset.text}: a cross-validation model diverged: {error}.") from None
    classifier = state.classifier.eval()
    logits, seen = extract_features(classifier, state.images, held, device=task.device)
    facts = json.dumps(classifier.facts.to_dict()).encode()
    weights = {name: tensor.cpu().contiguous() for name, tensor in classifier.state_dict().items()}
    return [logits, seen, _bytes(facts), _bytes(safetensors.torch.save(weights))]


def _bytes(data: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(data, np.uint8)


def _model(facts: NDArray[np.uint8], weights: NDArray[np.uint8]) -> Classifier:
    """The model of a fold, in eval mode on the CPU."""
    classifier = Classifier(ModelFacts.from_dict(json.loads(facts.tobytes()), "a fold"))
    classifier.load_state_dict(safetensors.torch.load(weights.tobytes()))
    return classifier.eval().to(memory_format=torch.channels_last)


def fold_recipe(dataset: Dataset) -> Recipe:
    """How the models are trained: a narrow `lens` on small images, for four to ten epochs; for fewer on very many."""
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
        epochs=float(np.clip(round(_PASSES / len(dataset)), 4, 10)) if len(dataset) <= _MANY else _few_epochs(dataset),
    )


def _few_epochs(dataset: Dataset) -> float:
    """As many passes over very many images as take the time of four over _MANY, but one at least."""
    return max(1.0, round(4 * _MANY / len(dataset), 2))
