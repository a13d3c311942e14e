"""Whether a classifier is right often enough that its disagreement says something about a label.

Where it is wrong more often than labels can be, most labels that it doubts are its own mistakes, and a list of them
would send a person to look at right labels. So there is none unless the classifier is right for at least half of the
labels that are left once one class, the most frequent, is always guessed: Cohen's kappa against that guess is 0.5.
"""

from __future__ import annotations

import numpy as np

from pocketlens.scoring.metrics import Counts

LEAST_SKILL = 0.5
MOST_DOUBTED = 0.1  # share of the labels: a longer list says more about the classifier than about the labels


def too_often_wrong(labels: Counts, predicted: Counts) -> str | None:
    """Why there is no list of doubtful labels (N,) by predictions (N,); None where there may be one."""
    guess = float(np.bincount(labels).max()) / len(labels)
    needed, right = guess + LEAST_SKILL * (1 - guess), float((labels == predicted).mean())
    if right >= needed - 1e-9:
        return None
    return (
        f"the models are right for {100 * right:.1f} % of the labels, and below {100 * needed:.1f} % most labels that "
        "they doubt are their own mistakes"
    )


def too_many_doubted(n_doubted: int, n: int) -> bool:
    """Whether so many of `n` labels are doubted that most doubts must be mistakes of the classifier."""
    return n_doubted > MOST_DOUBTED * n
