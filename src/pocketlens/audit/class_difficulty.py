"""Class difficulty: how often images of a class are recognised by models that were not trained on them.

Two classifiers on the same features: the linear head, and the five nearest neighbours.
A class is hard if both fail; if only the head fails, longer training should help.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from pocketlens.audit.nearest import within
from pocketlens.audit.out_of_fold import OutOfFold
from pocketlens.audit.phases import Arrays, Phases
from pocketlens.data.dataset import Dataset, rows_by_class
from pocketlens.events import Step, Work
from pocketlens.scoring.metrics import Estimate, proportion
from pocketlens.scoring.row_blocks import most_likely

N_NEIGHBOURS = 5


@dataclass(frozen=True)
class ClassDifficulty:
    """How well one class is recognised.

    Attributes:
        label: the class.
        model_recall: the share of its images that the models recognise.
        neighbour_recall: the share that the nearest neighbours recognise.
        confused_with: the class that the models predict most often for its other images; None if they make no mistake.
        n_confused: for how many images they do.
    """

    label: int
    model_recall: Estimate
    neighbour_recall: Estimate
    confused_with: int | None
    n_confused: int


def measure_class_difficulty(
    dataset: Dataset, found: OutOfFold, phases: Phases | None = None
) -> Work[tuple[ClassDifficulty, ...]]:
    """Every class that has images, the hardest for the models first; votes that are kept are not counted again."""
    predicted = most_likely(found.logits)
    (voted,) = yield from (phases or Phases()).once("votes", _vote(dataset.labels, found))
    k = len(dataset.classes)
    result = []
    for label, rows in enumerate(rows_by_class(dataset.labels, k)):
        if not len(rows):
            continue
        wrong = np.bincount(predicted[rows][predicted[rows] != label], minlength=k)
        n_confused = int(wrong.max(initial=0))
        result.append(
            ClassDifficulty(
                label,
                proportion(int((predicted[rows] == label).sum()), len(rows)),
                proportion(int((voted[rows] == label).sum()), len(rows)),
                int(wrong.argmax()) if n_confused else None,
                n_confused,
            )
        )
    return tuple(sorted(result, key=lambda each: (each.model_recall.value or 0.0, each.label)))


def _vote(labels: NDArray[np.int64], found: OutOfFold) -> Work[Arrays]:
    """One array, (N,) int64: the most frequent class of the nearest neighbours in the same space; of equally frequent
    ones that of the nearer ones.
    """
    voted = np.full(len(labels), -1, np.int64)
    done = 0
    for number in np.unique(found.space):
        rows = np.flatnonzero(found.space == number)
        unit = F.normalize(torch.from_numpy(found.features[rows]), dim=1)
        own_labels = torch.from_numpy(labels[rows])
        count = min(N_NEIGHBOURS, len(rows) - 1)
        if count > 0:
            step = Step("classifying by nearest neighbours", done, 0)
            nearest = yield from within(unit, count, len(labels), step)
            for start in range(0, len(rows), 1024):
                part = slice(start, start + 1024)
                votes = torch.zeros((len(nearest.rows[part]), found.logits.shape[1]))
                weights = torch.where(nearest.there[part], 1 + 1e-3 * nearest.similarity[part], 0.0)
                votes.scatter_add_(1, own_labels[nearest.rows[part]], weights)
                voted[rows[part]] = votes.argmax(1).numpy()
        done += len(rows)
    return [voted]
