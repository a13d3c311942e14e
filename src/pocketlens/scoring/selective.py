"""Selective prediction, which abstains where the classifier is unsure, and conformal prediction sets.

The thresholds of both are fitted on validation rows. A conformal set holds the true class with the stated probability,
whatever the classifier, as long as new images come from the same distribution as the validation rows. A threshold that
a share of new images stays below is one of the n validation scores, so it takes n >= share / (1 - share) of them.

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
from pocketlens.errors import PocketlensError
from pocketlens.scoring.metrics import (
    Counts,
    Estimate,
    Floats,
    least_rows,
    log_probabilities,
    proportion,
    top_log_probability,
)
from pocketlens.scoring.row_blocks import by_rows, most_likely
from pocketlens.text import counted

Method = Literal["lac", "aps"]


@dataclass(frozen=True)
class Selective:
    """Selective prediction at one threshold.

    Attributes:
        coverage: the share of rows whose highest probability is at least `threshold`, which are answered.
        threshold: of the probability.
        accuracy: over the answered rows.
    """

    coverage: float
    threshold: float
    accuracy: Estimate


@dataclass(frozen=True)
class Conformal:
    """A conformal predictor: `method` with the threshold that was fitted for `coverage`."""

    method: Method
    coverage: float
    threshold: float
    n: int  # rows it was fitted on


@dataclass(frozen=True)
class SetScores:
    """The quality of prediction sets on `n` labelled rows: how often they hold the true class, and their sizes."""

    n: int
    coverage: Estimate
    mean_size: float
    n_empty: int
    n_single: int
    single_right: Estimate  # of the sets of one class


def coverage_curve(logits: NDArray[Any], labels: Counts, shares: tuple[float, ...] | None = None) -> list[Selective]:
    """The accuracy of selective prediction at each coverage in `shares`, by default in steps of 5 %.

    Rows with equal probability are answered together, so the coverage can be slightly above the share.
    """
    probability = np.exp(top_log_probability(logits))
    right = most_likely(logits) == labels
    ascending = np.sort(probability)
    curve = []
    for share in shares or tuple(step / 20 for step in range(1, 21)):
        threshold = float(ascending[len(ascending) - max(1, round(share * len(ascending)))])
        kept = probability >= threshold
        curve.append(Selective(float(kept.mean()), threshold, proportion(int(right[kept].sum()), int(kept.sum()))))
    return curve


def area_under_risk(logits: NDArray[Any], labels: Counts) -> float:
    """The area under the risk-coverage curve: the mean error rate over all coverages; lower is better, 0 is perfect."""
    probability = top_log_probability(logits)
    wrong = (most_likely(logits) != labels)[np.argsort(-probability, kind="stable")]
    return float((np.cumsum(wrong) / np.arange(1, len(wrong) + 1)).mean())


def fit_conformal(logits: NDArray[Any], labels: Counts, coverage: float = 0.9, method: Method = "lac") -> Conformal:
    """The conformal predictor whose sets hold the true class of a new image with at least the probability `coverage`.

    Its threshold is the ceil((n + 1) coverage)-th smallest score of the n rows, given as (N, K) logits and (N,) labels.

    Raises:
        PocketlensError: there are too few rows for the coverage.
    """
    if len(labels) < least_rows(coverage):
        raise PocketlensError(
            f"sets with a coverage of {100 * coverage:g} % need at least {counted(least_rows(coverage), 'row')}, got "
            f"{len(labels)}; ask for a lower coverage."
        )
    own = by_rows(
        lambda some, draws, label: _scores(some, draws, method)[np.arange(len(label)), label],
        logits,
        _draws(len(logits), "fit"),
        labels,
    )
    scores = np.sort(own)
    place = math.ceil((len(scores) + 1) * coverage - 1e-9)
    return Conformal(method, coverage, float(scores[place - 1]), len(scores))


def conformal_sets(rule: Conformal, logits: NDArray[Any]) -> NDArray[np.bool_]:
    """(N, K) bool: which classes each set holds."""
    return by_rows(
        lambda some, draws: np.asarray(_scores(some, draws, rule.method) <= rule.threshold),
        logits,
        _draws(len(logits), "sets"),
    )


def score_sets(sets: NDArray[np.bool_], labels: Counts) -> SetScores:
    """The quality of sets (N, K) by the true classes (N,)."""
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


def _draws(n: int, name: str) -> Floats:
    """(N, 1) float64 in 0..1, a random part for each row."""
    return np.random.default_rng(stream(0, f"conformal {name}") % 2**63).uniform(size=(n, 1))


def _scores(logits: NDArray[Any], draws: Floats, method: Method) -> Floats:
    """(N, K) float64: nonconformity scores; a set holds the classes whose score is at most the threshold."""
    probabilities = np.exp(log_probabilities(logits))
    if method == "lac":
        return np.asarray(1.0 - probabilities)
    # APS: the probability of all more likely classes, and a random part of the class's own probability
    order = np.argsort(-probabilities, axis=1, kind="stable")
    ordered = np.take_along_axis(probabilities, order, axis=1)
    reached = np.cumsum(ordered, axis=1) - ordered * draws
    scores = np.empty_like(reached)
    np.put_along_axis(scores, order, reached, axis=1)
    return scores
