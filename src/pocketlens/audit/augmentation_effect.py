"""What augmentations do to this data: sheets to look at, and warnings where a model no longer sees the class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pocketlens.audit.agreement import Agreement, agreements
from pocketlens.audit.cross_validation import Folds
from pocketlens.audit.sheets import Sheet, all_sheets, sheet
from pocketlens.data.dataset import Dataset
from pocketlens.draws import stream
from pocketlens.events import Work
from pocketlens.recipe import usual_recipe

if TYPE_CHECKING:
    from pocketlens.training.classifier import Classifier
    from pocketlens.training.run import Run

N_IMAGES, N_DRAWS = 4, 6  # rows and columns of a sheet
MOST_ROWS = 600  # images on which a model's agreement is measured

Judge = tuple["Classifier", NDArray[np.int64], str]  # a model, rows it has not been trained on, the model in words


@dataclass(frozen=True, eq=False)
class Augmented:
    """Sheets of the asked augmentations, and how far a model agrees with itself after each; `agreements` may be None.

    Attributes:
        sheets: the asked text, or every augmentation at three strengths.
        agreements: of the same texts, the least kept first; None where no model could be asked.
        judge: which model was asked, in words.
    """

    sheets: tuple[Sheet, ...]
    agreements: tuple[Agreement, ...] | None
    judge: str


def look_at_augmentations(
    dataset: Dataset, text: str | None, judge: Judge | None, *, seed: int = 0, device: str = "cpu"
) -> Work[Augmented]:
    """Draws sheets of `text`, of every augmentation where it is "all", or of the usual recipe's where it is None.

    Raises:
        PocketlensError: the text is wrong.
    """
    random = np.random.default_rng(abs(stream(seed, "sheets")))
    rows = _one_of_each(dataset, random)
    images, names = np.asarray(dataset.images[rows]), [dataset.classes[dataset.labels[row]] for row in rows]
    usual = usual_recipe(len(dataset), dataset.shape[2]).recipe.augment
    shown: tuple[Sheet, ...] = (
        sheet(images, names, text if text not in (None, "all") else usual, n_draws=N_DRAWS, seed=seed),
    )
    if text == "all":
        shown = (*shown, *(yield from all_sheets(images, names, n_draws=N_DRAWS, seed=seed)))
    if judge is None:
        return Augmented(shown, None, "")
    classifier, unseen, words = judge
    asked = np.sort(random.permutation(unseen)[:MOST_ROWS])
    texts = None if text in (None, "all") else (text,)
    found = yield from agreements(classifier, dataset, asked, texts, seed=seed, device=device)
    ordered = sorted(found, key=lambda each: 2.0 if each.kept.value is None else each.kept.value)
    return Augmented(shown, tuple(ordered), f"{words}, on {len(asked):,} images that it had not seen")


def judge_of(dataset: Dataset, run: Run | None, classifier: Classifier | None, folds: Folds | None) -> Judge | None:
    """The run's model with its validation rows, else a short model with the rows of its fold, else None."""
    is_of_this_data = run is not None and run.experiment.data_fingerprint == dataset.fingerprint
    if run is not None and classifier is not None and is_of_this_data and len(run.split.val):
        return classifier, run.split.val, f"the model of run {run.id}"
    if folds is None:
        return None
    return folds.models[0], np.flatnonzero(folds.fold == 0), "a short model"


def _one_of_each(dataset: Dataset, random: np.random.Generator) -> NDArray[np.int64]:
    """At most N_IMAGES rows, of different classes where there are so many."""
    there = np.flatnonzero(np.bincount(dataset.labels, minlength=len(dataset.classes)))
    chosen = there[np.linspace(0, len(there) - 1, min(N_IMAGES, len(there))).astype(np.int64)]
    return np.array([random.choice(np.flatnonzero(dataset.labels == label)) for label in chosen], np.int64)
