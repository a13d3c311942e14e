"""When a classifier had better say nothing, or several classes: the reject option and conformal sets.

Both thresholds are fitted on validation rows. A conformal set holds the true class with the stated probability,
whatever the classifier, as long as new images come from where the validation rows came from and were not trained on.

Sources: El-Yaniv, Wiener 2010, "On the foundations of noise-free selective classification", JMLR 11 (coverage, risk);
Sadinle, Lei, Wasserman 2019, "Least ambiguous set-valued classifiers with bounded error levels", arXiv 1609.00451
(LAC); Romano, Sesia, Candes 2020, "Classification with valid and adaptive coverage", arXiv 2006.02544 (APS).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pocketlens.draws import stream
from pocketlens.scoring.metrics import Counts, Estimate, Floats, log_probabilities, proportion

Method = Literal["lac", "aps"]


@dataclass(frozen=True)
class Selective:
    """Answering only where the probability is at least `threshold`: which share is answered, how many are right."""

    coverage: float
    threshold: float
    accuracy: Estimate


@dataclass(frozen=True)
class Conformal:
    """A rule that makes sets of classes: `method` with its fitted threshold, for a target coverage."""

    method: Method
    coverage: float
    threshold: float
    n: int  # rows it was fitted on


@dataclass(frozen=True)
class SetScores:
    """What sets are worth on `n` labelled rows: how many hold the true class, and how many classes they name."""

    n: int
    coverage: Estimate
    mean_size: float
    n_empty: int
    n_single: int
    single_right: Estimate  # of the sets of one class


def coverage_curve(logits: NDArray[Any], labels: Counts, shares: tuple[float, ...] | None = None) -> list[Selective]:
    """Accuracy over the surest rows, by the share of rows that are answered (5 % steps); rows of one probability stay
    together, so the coverage can be slightly above the target."""
    probability = np.exp(log_probabilities(logits).max(axis=1))
    right = logits.argmax(axis=1) == labels
    ascending = np.sort(probability)
    curve = []
    for share in shares or tuple(step / 20 for step in range(1, 21)):
        threshold = float(ascending[len(ascending) - max(1, round(share * len(ascending)))])
        kept = probability >= threshold
        curve.append(Selective(float(kept.mean()), threshold, proportion(int(right[kept].sum()), int(kept.sum()))))
    return curve


def area_under_risk(logits: NDArray[Any], labels: Counts) -> float:
    """The mean error rate over all coverages, answering the surest rows first: lower is better, 0 is perfect."""
    probability = log_probabilities(logits).max(axis=1)
    wrong = (logits.argmax(axis=1) != labels)[np.argsort(-probability, kind="stable")]
    return float((np.cumsum(wrong) / np.arange(1, len(wrong) + 1)).mean())


def fit_conformal(logits: NDArray[Any], labels: Counts, coverage: float = 0.9, method: Method = "lac") -> Conformal:
    """The rule whose sets hold the true class of a new image with probability `coverage` at least.

    Its threshold is the ceil((n + 1) coverage)-th smallest score of the n rows, which are (N, K) logits and (N,)
    labels; with too few rows for the coverage the sets hold every class.
    """
    scores = np.sort(_scores(logits, method, "fit")[np.arange(len(labels)), labels])
    place = math.ceil((len(scores) + 1) * coverage - 1e-9)
    return Conformal(method, coverage, float(scores[place - 1]) if place <= len(scores) else math.inf, len(scores))


def conformal_sets(rule: Conformal, logits: NDArray[Any]) -> NDArray[np.bool_]:
    """(N, K) bool: which classes each set holds."""
    return np.asarray(_scores(logits, rule.method, "sets") <= rule.threshold)


def score_sets(sets: NDArray[np.bool_], labels: Counts) -> SetScores:
    """Coverage and size of sets (N, K), given the true classes (N,)."""
    sizes, held = sets.sum(axis=1), sets[np.arange(len(labels)), labels]
    single = sizes == 1
    return SetScores(
        n=len(held),
        coverage=proportion(int(held.sum()), len(held)),
        mean_size=float(sizes.mean()),
        n_empty=int((sizes == 0).sum()),
        n_single=int(single.sum()),
        single_right=proportion(int(held[single].sum()), int(single.sum())),
    )


def _scores(logits: NDArray[Any], method: Method, name: str) -> Floats:
    """(N, K) float64: how little each class fits each row; a set holds those of at most the threshold."""
    probabilities = np.exp(log_probabilities(logits))
    if method == "lac":
        return np.asarray(1.0 - probabilities)
    # APS: the probability of all likelier classes and a random part of its own, from a stream of its own
    order = np.argsort(-probabilities, axis=1, kind="stable")
    ordered = np.take_along_axis(probabilities, order, axis=1)
    uniform = np.random.default_rng(stream(0, f"conformal {name}") % 2**63).uniform(size=(len(logits), 1))
    reached = np.cumsum(ordered, axis=1) - ordered * uniform
    scores = np.empty_like(reached)
    np.put_along_axis(scores, order, reached, axis=1)
    return scores
