"""Easy and hard classes: how often an image of a class is told from all others, without having been trained on.

Two judges: the short models themselves (a linear head on their features), and the five nearest neighbours in the same
features. A class is hard where both fail, and only the head's fault where the neighbours do not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from pocketlens.audit.cross_validation import Folds
from pocketlens.data.dataset import Dataset
from pocketlens.events import Step, Work
from pocketlens.scoring.metrics import Estimate, proportion

N_NEIGHBOURS = 5


@dataclass(frozen=True)
class ClassEase:
    """One class: the share of its images that each judge got right, and what the short models took it for most."""

    label: int
    head: Estimate
    neighbours: Estimate
    taken_for: int | None
    taken: int


def measure_ease(dataset: Dataset, folds: Folds) -> Work[tuple[ClassEase, ...]]:
    """Every class that has images, the hardest for the short models first."""
    said = folds.logits.argmax(axis=1)
    voted = yield from _vote(dataset.labels, folds)
    k = len(dataset.classes)
    result = []
    for label in range(k):
        rows = np.flatnonzero(dataset.labels == label)
        if not len(rows):
            continue
        wrong = np.bincount(said[rows][said[rows] != label], minlength=k)
        taken = int(wrong.max(initial=0))
        result.append(
            ClassEase(
                label,
                proportion(int((said[rows] == label).sum()), len(rows)),
                proportion(int((voted[rows] == label).sum()), len(rows)),
                int(wrong.argmax()) if taken else None,
                taken,
            )
        )
    return tuple(sorted(result, key=lambda ease: (ease.head.value or 0.0, ease.label)))


def _vote(labels: NDArray[np.int64], folds: Folds) -> Work[NDArray[np.int64]]:
    """(N,) int64: the most frequent class of the nearest neighbours of the same fold; ties go to the nearer ones."""
    voted = np.full(len(labels), -1, np.int64)
    done = 0
    for number in range(len(folds.models)):
        rows = np.flatnonzero(folds.fold == number)
        unit = F.normalize(torch.from_numpy(folds.features[rows]), dim=1)
        own_labels = torch.from_numpy(labels[rows])
        count = min(N_NEIGHBOURS, len(rows) - 1)
        for start in range(0, len(rows), 1024):
            similarity = unit[start : start + 1024] @ unit.T
            own = torch.arange(len(similarity))
            similarity[own, start + own] = -2.0
            if count > 0:
                nearest = similarity.topk(count, dim=1)
                votes = torch.zeros((len(similarity), folds.logits.shape[1]))
                weights = 1 + 1e-3 * nearest.values
                votes.scatter_add_(1, own_labels[nearest.indices], weights)
                voted[rows[start : start + 1024]] = votes.argmax(1).numpy()
            done += len(similarity)
            yield Step("asking neighbours", done, len(labels))
    return voted
