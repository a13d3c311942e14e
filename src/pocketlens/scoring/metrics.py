"""Metrics: accuracies, log-loss, per-class scores, and their 95 % intervals.

Everything here is a pure function of labels, logits and counts (numpy and scipy only). Ties always go to the lower
class number, so top-1 is `argmax` and top-k is never below it. Undefined values are NaN in arrays and None in an
`Estimate`; no division by zero is ever shown as a number.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pocketlens.scoring.row_blocks import BLOCK, by_rows

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

CONFIDENCE = 0.95
Z = 1.959963984540054  # the 97.5 % quantile of the normal distribution
FEW_ROWS = 30  # below, a class stands out only by the exact test, too


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % confidence interval; None where it is not defined."""

    value: float | None
    low: float | None = None
    high: float | None = None

    def to_dict(self) -> dict[str, float | None]:
        """What the scores' JSON holds."""
        return {"value": self.value, "low": self.low, "high": self.high}

    @staticmethod
    def from_dict(value: dict[str, Any]) -> Estimate:
        """The reverse of `to_dict`."""
        return Estimate(value["value"], value["low"], value["high"])

    @staticmethod
    def of(value: float, low: float, high: float) -> Estimate:
        """An estimate from numbers that are NaN where they are not defined."""
        return Estimate(*(float(number) if math.isfinite(number) else None for number in (value, low, high)))


@dataclass(frozen=True, eq=False)
class ClassScores:
    """Precision, recall and F1 of every class, each (K,) float64 with (K, 2) intervals; NaN for a class without rows.

    The precision of a class that was never predicted is 0 without an interval, as in scikit-learn's reports.
    """

    support: Counts  # rows of the class
    predicted: Counts  # rows that were predicted as the class
    precision: Floats
    recall: Floats
    f1: Floats
    precision_interval: Floats
    recall_interval: Floats
    f1_interval: Floats


def wilson(successes: Any, n: Any, z: float = Z) -> Floats:
    """The 95 % interval of a proportion (or that of another quantile `z`), (..., 2) float64 with NaN where n is 0.

    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference". Unlike the textbook
    interval, it keeps its coverage for small n and near 0 and 1.
    """
    k, n = np.asarray(successes, np.float64), np.asarray(n, np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        p = k / n
        middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
        half = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    low, high = np.where(k == 0, 0.0, middle - half), np.where(k == n, 1.0, middle + half)
    return np.where((n > 0)[..., None], np.clip(np.stack([low, high], axis=-1), 0.0, 1.0), np.nan)


def proportion(successes: int, n: int) -> Estimate:
    """`successes / n` with its Wilson interval."""
    low, high = wilson(successes, n)
    return Estimate.of(successes / n if n else math.nan, float(low), float(high))


def least_rows(share: float) -> int:
    """The least number of rows from which a threshold can be told that the share, below 1, of new rows is within."""
    return math.ceil(share / (1 - share) - 1e-9)


def log_probabilities(logits: NDArray[Any]) -> Floats:
    """(N, K) float64: the log-softmax of logits (N, K)."""
    from scipy.special import log_softmax

    return np.asarray(log_softmax(logits.astype(np.float64), axis=1))


def own_log_probability(logits: NDArray[Any], labels: Counts) -> Floats:
    """(N,) float64: the log-softmax of each row's label, from logits (N, K)."""
    return by_rows(lambda some, own: log_probabilities(some)[np.arange(len(own)), own], logits, labels)


def top_log_probability(logits: NDArray[Any]) -> Floats:
    """(N,) float64: the log-softmax of each row's most likely class, from logits (N, K)."""
    return by_rows(lambda some: log_probabilities(some).max(axis=1, initial=-np.inf), logits)


def places(logits: NDArray[Any], labels: Counts) -> Counts:
    """(N,) int64: the rank of the true class, 0 for the first; ties go to the lower class number."""
    return by_rows(_places, logits, labels)


def _places(logits: NDArray[Any], labels: Counts) -> Counts:
    own = logits[np.arange(len(labels)), labels][:, None]
    earlier = np.arange(logits.shape[1])[None, :] < labels[:, None]
    return np.asarray(((logits > own) | ((logits == own) & earlier)).sum(axis=1), np.int64)


def top_k(logits: NDArray[Any], labels: Counts, k: int) -> Estimate:
    """The share of rows whose true class is among the k most likely ones."""
    return proportion(int((places(logits, labels) < k).sum()), len(labels))


def mean_nll(logits: NDArray[Any], labels: Counts) -> Estimate:
    """The mean negative log-likelihood (cross-entropy, in nats) with the normal interval of a mean."""
    return mean_loss(-own_log_probability(logits, labels))


def mean_loss(losses: Floats) -> Estimate:
    """The mean of losses (N,) with the normal interval of a mean."""
    mean = float(losses.mean())
    if len(losses) < 2:
        return Estimate.of(mean, math.nan, math.nan)
    half = Z * float(losses.std(ddof=1)) / math.sqrt(len(losses))
    return Estimate.of(mean, max(0.0, mean - half), mean + half)


def confusion_matrix(labels: Counts, predicted: Counts, n_classes: int) -> csr_array:
    """(K, K) int64 counts, of which those above 0 are stored: row = true class, column = predicted class."""
    from scipy.sparse import coo_array

    ones = np.ones(len(labels), np.int64)
    return coo_array((ones, (labels, predicted)), shape=(n_classes, n_classes)).tocsr()


def class_scores(confusion: csr_array | Counts) -> ClassScores:
    """Precision, recall and F1 of every class of a confusion matrix (K, K).

    Precision and recall have Wilson intervals. F1 is 2 J / (1 + J) with J = tp / (tp + fp + fn), which is a proportion,
    so its interval is that of J, transformed: the "Wilson indirect" interval of Lam 2023, "Confidence intervals for the
    F1 score: a comparison of four methods", arXiv 2309.14621. Unlike a bootstrap's, its width is not 0 at 0 and at 1.
    """
    hits, support, predicted = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
    union = support + predicted - hits
    absent = support == 0
    with np.errstate(invalid="ignore"):
        recall, jaccard = hits / support, hits / union
    precision = hits / np.maximum(predicted, 1)
    values = [precision, recall, 2 * jaccard / (1 + jaccard)]
    intervals = [wilson(hits, predicted), wilson(hits, support), f1_interval(hits, union)]
    return ClassScores(
        support,
        predicted,
        *(np.where(absent, np.nan, value) for value in values),
        *(np.where(absent[:, None], np.nan, interval) for interval in intervals),
    )


def f1_interval(hits: Any, union: Any, z: float = Z) -> Floats:
    """(..., 2) float64: the interval of an F1 with `hits` = tp and `union` = tp + fp + fn."""
    jaccard = wilson(hits, union, z)
    return np.asarray(2 * jaccard / (1 + jaccard))


def stands_out(hits: Counts, union: Counts, floor: float, ceiling: float) -> NDArray[np.bool_]:
    """(2, n) bool: which of n F1 scores are significantly below the F1 `floor`, and which above the F1 `ceiling`.

    Their simultaneous Wilson intervals must not hold it. With fewer than FEW_ROWS rows these are too short at such
    levels: one image that is right would stand out above 10 %. There the exact binomial test decides, too.
    """
    from scipy.stats import binom

    low, high = np.moveaxis(f1_interval(hits, union, simultaneous_z(len(hits))), -1, 0)
    level, many = (1 - CONFIDENCE) / 2 / max(len(hits), 1), union >= FEW_ROWS
    below = (high < floor) & (many | (binom.cdf(hits, union, floor / (2 - floor)) <= level))
    above = (low > ceiling) & (many | (binom.sf(hits - 1, union, ceiling / (2 - ceiling)) <= level))
    return np.stack([below, above & ~below])


def simultaneous_z(n: int) -> float:
    """The normal quantile with which `n` intervals cover all their true values in 95 % of cases (Bonferroni)."""
    from scipy.special import ndtri  # scipy.stats has it, too, and takes a second to import

    return float(-ndtri((1 - CONFIDENCE) / 2 / max(n, 1)))


def averages(
    confusion: csr_array | Counts, *, n_resamples: int = 1000, seed: int = 0
) -> dict[str, dict[str, Estimate]]:
    """Macro and weighted means of precision, recall and F1 over the classes that have rows, with bootstrap intervals.

    Resampling rows with replacement is drawing the cells of the confusion matrix from a multinomial distribution, so
    1,000 resamples of 10,000 rows and 100 classes take well under a second; only cells above 0 are drawn. The intervals
    are basic ones, 2 x - q: with few rows per class, resampling lowers the macro F1, and percentile intervals cover the
    truth far too rarely (69 % instead of 95 % with 100 classes of ten rows; basic ones 93 %). Predictions that are all
    correct, or all wrong, resample to themselves and get Wilson's interval of the accuracy. The seed is fixed.

    Source: Davison, Hinkley 1997, "Bootstrap methods and their application", section 5.2.
    """
    hits, true, predicted = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
    values = _means(*(np.asarray(counts, np.float64)[None] for counts in (hits, true, predicted)))
    n, n_right = int(true.sum()), int(hits.sum())
    resamples = _resample(confusion, n_resamples, seed) if 0 < n_right < n else {}
    result: dict[str, dict[str, Estimate]] = {}
    for (kind, name), (value,) in values.items():
        if resamples:
            lower, upper = np.quantile(resamples[kind, name], [0.025, 0.975])
            low, high = np.clip([2 * value - upper, 2 * value - lower], 0.0, 1.0)
        else:
            low, high = wilson(n_right, n)
        result.setdefault(kind, {})[name] = Estimate.of(float(value), float(low), float(high))
    return result


def sum_by_superclass(probabilities: Floats, superclass_of: tuple[int, ...], n_superclasses: int) -> Floats:
    """(N, S) float64: the probability of each superclass, the sum over its classes."""
    from scipy.sparse import csr_array

    n, above = len(superclass_of), np.asarray(superclass_of, np.int64)
    member = csr_array((np.ones(n), (np.arange(n), above)), shape=(n, n_superclasses))
    return np.asarray(probabilities @ (member.toarray() if n * n_superclasses <= BLOCK else member))


def coarse_accuracy(
    logits: NDArray[Any], labels: Counts, superclass_of: tuple[int, ...], n_superclasses: int
) -> Estimate:
    """The share of rows whose true superclass is the one with the largest summed probability."""

    def coarse(some: NDArray[Any]) -> Counts:
        summed = sum_by_superclass(np.exp(log_probabilities(some)), superclass_of, n_superclasses)
        return np.asarray(summed.argmax(axis=1), np.int64)

    truth = np.asarray(superclass_of, np.int64)[labels]
    return proportion(int((by_rows(coarse, logits) == truth).sum()), len(labels))


def _resample(confusion: csr_array | Counts, n_resamples: int, seed: int) -> dict[tuple[str, str], Floats]:
    """(R,) macro and weighted means of R matrices drawn from this one, whose cells that occur are drawn alone."""
    from scipy.sparse import coo_array, csr_array

    cells = csr_array(confusion).tocoo()  # row by row, as a dense matrix has them
    true, predicted, n_cells, n_classes = cells.row, cells.col, cells.nnz, cells.shape[0]
    at, right = np.arange(n_cells), true == predicted
    to_true, to_predicted = (
        coo_array((np.ones(n_cells, np.int64), (at, classes)), shape=(n_cells, n_classes)).tocsr()
        for classes in (true, predicted)
    )
    generator, n = np.random.default_rng(seed), int(cells.data.sum())
    most, pieces = int(np.clip(BLOCK // (n_cells + n_classes), 1, 100)), []
    for start in range(0, n_resamples, most):
        drawn = generator.multinomial(n, cells.data / n, size=min(most, n_resamples - start))  # (r, C) int64
        hits = np.zeros((len(drawn), n_classes))
        hits[:, true[right]] = drawn[:, right]
        margins = (np.ascontiguousarray(drawn @ to, np.float64) for to in (to_true, to_predicted))
        pieces.append(_means(hits, *margins))
    return {key: np.concatenate([piece[key] for piece in pieces]) for key in pieces[0]}


def _means(hits: Floats, true: Floats, predicted: Floats) -> dict[tuple[str, str], Floats]:
    """(R,) values by ("macro" or "weighted", name of the score); classes without rows are left out."""
    present = true > 0
    scores = {
        "precision": hits / np.maximum(predicted, 1),
        "recall": hits / np.maximum(true, 1),
        "f1": 2 * hits / np.maximum(true + predicted, 1),
    }
    macro = {("macro", name): (score * present).sum(1) / present.sum(1) for name, score in scores.items()}
    weighted = {("weighted", name): (score * true).sum(1) / true.sum(1) for name, score in scores.items()}
    return {**macro, **weighted}
