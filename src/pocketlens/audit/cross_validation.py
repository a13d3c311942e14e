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

from pocketlens.audit.out_of_fold import OutOfFold, obstacle
from pocketlens.audit.phases import Arrays, Phases
from pocketlens.data.folds import assign_folds
from pocketlens.data.scratch import scratch_array
from pocketlens.data.split import Split
from pocketlens.errors import PocketlensError
from pocketlens.events import Progress, Step, Work
from pocketlens.recipe import SMALL, Experiment, Recipe
from pocketlens.training.classifier import Classifier, extract_features
from pocketlens.training.fit import Diverged, fit
from pocketlens.training.model_facts import ModelFacts
from pocketlens.training.state import State

if TYPE_CHECKING:
    from pocketlens.data.dataset import Dataset

N_FOLDS = 3
_SIDE = 20  # px to which the shorter side of larger images is resized
_PASSES = 40_000  # images that a model sees on a small data set
_MANY = 100_000  # images up to which a model is trained for four epochs; on more, it has seen enough earlier


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
    dataset: Dataset,
    *,
    n_folds: int = N_FOLDS,
    n_models: int = N_FOLDS,
    seed: int = 0,
    device: str = "cpu",
    phases: Phases | None = None,
) -> Work[CrossValidation]:
    """Trains `n_folds` small models, each on the rows outside its fold, and predicts the fold with it.

    Of these only the first `n_models`; the rows of the other folds then have the logits and features 0. Folds that are
    kept in `phases` are not trained again.

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
    n_models = min(n_folds, n_models)
    logits[fold >= n_models] = 0.0
    for number in range(n_models):
        held, kept = np.flatnonzero(fold == number), np.flatnonzero(fold != number)
        experiment = Experiment(dataset.text, recipe, seed=seed, data_fingerprint=dataset.fingerprint)
        task = _Fold(number, n_models, experiment, Split(kept, held, seed, 0.0), device)
        arrays = yield from phases.once(f"fold {number} of {n_folds}", _train_fold(dataset, task))
        logits[held], seen, facts, weights = arrays
        if features is None:
            features = scratch_array((len(dataset), seen.shape[1]), np.float32)
            features[fold >= n_models] = 0.0
        features[held] = seen
        models.append(_model(facts, weights))
    assert features is not None
    return CrossValidation(fold, logits, features, tuple(models), recipe)


@dataclass(frozen=True, eq=False)
class _Fold:
    """What one of `n_models` models is trained on and predicts: the rows `split.train` and `split.val`."""

    number: int
    n_models: int
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
                yield Step("cross-validating", done, task.n_models * event.n_steps)
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
