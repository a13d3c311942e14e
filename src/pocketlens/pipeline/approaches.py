"""The approaches that `auto` compares before its plan: linear probes on pretrained bodies, and training from scratch.

Each is a recipe with the images at the size that suits it. All are trained on the same rows and judged on the same
others: the validation rows or, where these are few, all development rows by cross-validation. The best one is taken,
and near ties go to the cheaper, see scoring/choice.py. One that is behind beyond chance after a fold is dropped.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pocketlens.data.dataset import Dataset, SealedTest
from pocketlens.data.folds import assign_folds
from pocketlens.data.split import Split
from pocketlens.pipeline.interpolations import read_curve, right_by_others
from pocketlens.recipe import Recipe
from pocketlens.scoring.choice import choose
from pocketlens.scoring.metrics import Estimate, proportion
from pocketlens.scoring.predictions import read_predictions
from pocketlens.text import counted
from pocketlens.training.model_facts import ModelFacts
from pocketlens.training.run import Run

if TYPE_CHECKING:
    from pocketlens.pipeline.task import Task

PROBE, LARGER = "probe", "larger probe"  # as a person reads them, the cheapest first
FINE_TUNED, SCRATCH = "fine-tuned", "from scratch"
LEAST_SIDE = 16  # px of the source's pictures, below which photos teach nothing about them
MANY, SMALL_SIDE = 20_000, 64  # training rows, and px, from which on training from scratch is known to be better
FEW_VAL, N_FOLDS = 500, 3  # validation rows below which all development rows are judged, and in how many folds


@dataclass(frozen=True, eq=False)
class Approach:
    """A way to a classifier: a recipe, and the data at the size that it wants."""

    name: str
    recipe: Recipe
    dataset: Dataset
    sealed: SealedTest


@dataclass(frozen=True, eq=False)
class Judged:
    """How an approach did: which of the judged rows it has right, in seconds; its network sees images of `side` px."""

    approach: Approach
    right: NDArray[np.bool_]
    seconds: float
    side: int
    pretraining: str | None = None  # what to say where its body may have seen the test images

    @property
    def accuracy(self) -> Estimate:
        """With its 95 % interval."""
        return proportion(int(self.right.sum()), len(self.right))


def at_its_size(task: Task, approach: Approach) -> Task:
    """The task with the data of an approach."""
    return replace(task, dataset=approach.dataset, sealed=approach.sealed)


def obstacle(approach: Approach, n_train: int) -> str | None:
    """Why a pretrained body is not tried on these images, or None where it is."""
    side = min(approach.dataset.shape[:2])
    if side < LEAST_SIDE:
        return f"images of {side} px are too small for what it has learned from photos"
    if n_train >= MANY and side <= SMALL_SIDE:
        return f"{counted(n_train, 'small image')} teach a network more than photos have taught it"
    return None


def judging_splits(dataset: Dataset, split: Split) -> tuple[Split, ...]:
    """The split itself, or folds over the development rows where it has few validation rows: as many as hold enough."""
    if len(split.val) >= FEW_VAL:
        return (split,)
    fold = assign_folds(dataset, N_FOLDS, seed=split.seed)
    rows = np.arange(len(dataset), dtype=np.int64)
    splits = (Split(rows[fold != number], rows[fold == number], split.seed, 1 / N_FOLDS) for number in range(N_FOLDS))
    usable = [each for each in splits if len(each.val) and len(np.unique(dataset.labels[each.train])) > 1]
    before = np.cumsum([0, *(len(each.val) for each in usable)])  # rows that the folds before each one hold
    return tuple(each for each, n in zip(usable, before, strict=False) if n < FEW_VAL)


def judge(approach: Approach, runs: list[Run], seconds: float) -> Judged:
    """Reads what the runs of an approach have right on their validation rows, which are sorted."""
    rows, right = [], []
    for run in runs:
        found = read_predictions(run.file("predictions-val.safetensors"))
        rows.append(found.rows)
        right.append(found.predicted == found.labels)
    curves = [curve for run in runs if (curve := read_curve(run)) is not None]
    if len(curves) == len(runs):
        right = right_by_others(curves)
    order = np.argsort(np.concatenate(rows), kind="stable")
    side = ModelFacts.of(runs[0].checkpoint(), f"run {runs[0].id}").shape[0]
    return Judged(approach, np.concatenate(right)[order], seconds, side, runs[0].pretraining_note)


def judged_rows(splits: tuple[Split, ...]) -> NDArray[np.int64]:
    """The rows on which approaches are judged, ascending."""
    return np.sort(np.concatenate([split.val for split in splits]))


def why_dropped(judged: Judged, best: Judged | None, splits: tuple[Split, ...], n: int) -> str | None:
    """Why an approach is not trained on the other splits after `n` of them, or None where it is.

    It is dropped where the best one so far is ahead of it beyond chance on the rows of the first `n`.
    """
    if best is None or n == len(splits):
        return None
    rows, groups = judged_rows(splits[:n]), judged.approach.dataset.groups
    ahead = best.right[np.isin(judged_rows(splits), rows)]
    choice = choose({"best": ahead, "other": judged.right}, None if groups is None else groups[rows])
    if choice.chosen == "other" or not choice.is_beyond_chance:
        return None
    return (
        f"{judged.approach.name}: dropped, {judged.right.mean():.2%} of {counted(len(rows), 'held-out image')}, "
        f"where {best.approach.name} has {ahead.mean():.2%}"
    )
