"""What augmentations do to this data: sheets to look at, and the stability of a model's predictions under each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pocketlens.audit.cross_validation import CrossValidation
from pocketlens.audit.label_stability import LabelStability, measure_label_stability
from pocketlens.audit.sheets import Sheet, all_sheets, sheet, takes_images
from pocketlens.data.dataset import Dataset
from pocketlens.draws import stream
from pocketlens.events import Work
from pocketlens.recipe import usual_recipe
from pocketlens.text import counted

if TYPE_CHECKING:
    from pocketlens.training.classifier import Classifier
    from pocketlens.training.run import Run

N_IMAGES, N_DRAWS = 4, 6  # rows and columns of a sheet
MOST_ROWS = 600  # images on which label stability is measured


@dataclass(frozen=True, eq=False)
class ReferenceModel:
    """The model whose predictions are followed: its rows were not used to train it, its name says which it is."""

    classifier: Classifier
    rows: NDArray[np.int64]
    name: str


@dataclass(frozen=True, eq=False)
class AugmentationEffect:
    """The effect of augmentations on images and on the predictions for them.

    Attributes:
        sheets: the given text, or every augmentation at three strengths.
        stability: of the same texts, the least stable first; None if there is no model to measure it with.
        model: which model it was measured with, in words.
    """

    sheets: tuple[Sheet, ...]
    stability: tuple[LabelStability, ...] | None
    model: str


def measure_augmentation_effect(
    dataset: Dataset, text: str | None, reference: ReferenceModel | None, *, seed: int = 0, device: str = "cpu"
) -> Work[AugmentationEffect]:
    """Draws the sheets of `text`, of every augmentation if it is "all", or of the usual recipe's if it is None.

    Label stability is measured for `text`, or for every augmentation if it is "all" or None.

    Raises:
        PocketlensError: the text is wrong.
    """
    random = np.random.default_rng(abs(stream(seed, "sheets")))
    rows = _one_of_each(dataset, random)
    images, names = np.asarray(dataset.images[rows]), [dataset.classes[dataset.labels[row]] for row in rows]
    recipe = usual_recipe(len(dataset), dataset.shape[2]).recipe
    usual = recipe.augment if takes_images(recipe.augment, images) else "flip"
    shown: tuple[Sheet, ...] = (
        sheet(images, names, text if text not in (None, "all") else usual, n_draws=N_DRAWS, seed=seed),
    )
    if text == "all":
        shown = (*shown, *(yield from all_sheets(images, names, n_draws=N_DRAWS, seed=seed)))
    if reference is None:
        return AugmentationEffect(shown, None, "")
    tested = np.sort(random.permutation(reference.rows)[:MOST_ROWS])
    texts = None if text in (None, "all") else (text,)
    found = yield from measure_label_stability(reference.classifier, dataset, tested, texts, seed=seed, device=device)
    ordered = sorted(found, key=lambda each: 2.0 if each.kept.value is None else each.kept.value)
    model = f"{reference.name}, on {counted(len(tested), 'image')} that it was not trained on"
    return AugmentationEffect(shown, tuple(ordered), model)


def choose_reference_model(
    dataset: Dataset, run: Run | None, classifier: Classifier | None, cross_validation: CrossValidation | None
) -> ReferenceModel | None:
    """The run's model with its validation rows, else a cross-validation model with its fold, else None."""
    is_of_this_data = run is not None and run.experiment.data_fingerprint == dataset.fingerprint
    fits = classifier is not None and classifier.image_shape == dataset.shape
    if run is not None and classifier is not None and is_of_this_data and fits and len(run.split.val):
        return ReferenceModel(classifier, run.split.val, f"the model of run {run.id}")
    if cross_validation is None:
        return None
    rows = np.flatnonzero(cross_validation.fold == 0)
    return ReferenceModel(cross_validation.models[0], rows, "a cross-validation model")


def _one_of_each(dataset: Dataset, random: np.random.Generator) -> NDArray[np.int64]:
    """At most N_IMAGES rows, of different classes as far as possible."""
    there = np.flatnonzero(np.bincount(dataset.labels, minlength=len(dataset.classes)))
    chosen = there[np.linspace(0, len(there) - 1, min(N_IMAGES, len(there))).astype(np.int64)]
    return np.array([random.choice(np.flatnonzero(dataset.labels == label)) for label in chosen], np.int64)
