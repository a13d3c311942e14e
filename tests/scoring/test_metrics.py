"""Every number equals scikit-learn's, and the intervals hold the truth as often as they say."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn import metrics as sklearn_metrics

from pocketlens.scoring import metrics
from pocketlens.scoring.metrics import Estimate

KINDS = ["random", "good", "ties", "one class predicted", "absent class", "one row", "all right", "all wrong"]


def make(kind: str, n_classes: int = 12) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Logits (N, K) and labels (N,) of ordinary and of degenerate kinds."""
    generator = np.random.default_rng(KINDS.index(kind))
    n = 1 if kind == "one row" else 400
    labels = generator.integers(0, n_classes, n)
    logits = generator.normal(size=(n, n_classes)).astype(np.float32)
    if kind == "good":
        logits[np.arange(n), labels] += 2
    if kind == "ties":
        logits = np.round(logits)
    if kind == "one class predicted":
        logits[:, 3] += 15
    if kind == "absent class":
        labels[labels == 5] = 6
    if kind == "all right":
        logits[np.arange(n), labels] += 100
    if kind == "all wrong":
        logits[np.arange(n), labels] -= 15
    return logits, labels


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_equal_those_of_scikit_learn(kind: str) -> None:
    logits, labels = make(kind)
    n_classes, predicted = logits.shape[1], logits.argmax(1)
    confusion = metrics.confusion_matrix(labels, predicted, n_classes)
    every = list(range(n_classes))
    counts = sklearn_metrics.confusion_matrix(labels, predicted, labels=every)
    np.testing.assert_array_equal(confusion.toarray(), counts)
    assert metrics.top_k(logits, labels, 1).value == pytest.approx(sklearn_metrics.accuracy_score(labels, predicted))
    # scikit-learn breaks ties for the higher class number, we for the lower: turn the classes around for it
    turned = sklearn_metrics.top_k_accuracy_score(n_classes - 1 - labels, logits[:, ::-1], k=5, labels=every)
    assert metrics.top_k(logits, labels, 5).value == pytest.approx(turned)
    probabilities = np.exp(metrics.log_probabilities(logits))
    expected = sklearn_metrics.log_loss(labels, probabilities, labels=every)
    assert metrics.mean_nll(logits, labels).value == pytest.approx(expected, abs=1e-9)
    present = [index for index in every if counts[index].sum()]
    scores = metrics.class_scores(confusion)
    ours = np.stack([scores.precision, scores.recall, scores.f1])
    theirs = sklearn_metrics.precision_recall_fscore_support(labels, predicted, labels=present, zero_division=0)
    np.testing.assert_allclose(ours[:, present], np.stack(theirs[:3]), atol=1e-12)
    np.testing.assert_array_equal(scores.support[present], theirs[3])
    absent = [index for index in every if index not in present]
    assert np.isnan(ours[:, absent]).all()
    averages = metrics.averages(confusion, n_resamples=20)
    for average in ("macro", "weighted"):
        theirs = sklearn_metrics.precision_recall_fscore_support(
            labels, predicted, labels=present, average=average, zero_division=0
        )
        for name, value in zip(("precision", "recall", "f1"), theirs[:3], strict=True):
            assert averages[average][name].value == pytest.approx(value)


def test_log_loss_of_certain_mistakes_stays_exact() -> None:
    logits = np.array([[0.0, 1000.0], [1000.0, 0.0]], np.float32)
    assert metrics.mean_nll(logits, np.array([0, 0])).value == pytest.approx(500.0)


def test_top_1_is_never_above_top_5_when_all_logits_tie() -> None:
    logits, labels = np.zeros((30, 10), np.float32), np.arange(30) % 10
    assert metrics.top_k(logits, labels, 1).value == pytest.approx(0.1)
    assert metrics.top_k(logits, labels, 5).value == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("successes", "n"), [(0, 10), (1, 10), (5, 10), (10, 10), (75, 100), (7531, 10_000), (0, 1), (1, 1)]
)
def test_wilson_equals_scipy(successes: int, n: int) -> None:
    expected = binomtest(successes, n).proportion_ci(0.95, method="wilson")
    np.testing.assert_allclose(metrics.wilson(successes, n), [expected.low, expected.high], atol=1e-12)


def test_wilson_of_known_cases() -> None:
    np.testing.assert_allclose(metrics.wilson(75, 100), [0.6570, 0.8245], atol=5e-5)  # peers' figure: 65.7 to 82.5
    low, high = metrics.wilson(7500, 10_000)
    assert (high - low) / 2 == pytest.approx(0.0085, abs=5e-5)
    assert np.isnan(metrics.wilson(0, 0)).all()
    assert metrics.proportion(0, 0) == Estimate(None, None, None)


def test_wilson_interval_holds_the_truth_in_95_of_100_cases() -> None:
    generator = np.random.default_rng(1)
    for n, p in ((100, 0.75), (100, 0.5), (30, 0.6), (1000, 0.97)):
        interval = metrics.wilson(generator.binomial(n, p, 20_000), n)
        covered = ((interval[:, 0] <= p) & (p <= interval[:, 1])).mean()
        assert 0.93 < covered < 0.975, (n, p, covered)


def true_matrix(n_classes: int, spread: float, seed: int) -> NDArray[np.float64]:
    """(K, K) probabilities of cells: a plausible classifier over balanced classes."""
    generator = np.random.default_rng(seed)
    cells = generator.dirichlet(np.full(n_classes, 0.3), n_classes) * spread
    cells[np.arange(n_classes), np.arange(n_classes)] += 1 - spread
    return np.asarray(cells / cells.sum())


def test_f1_intervals_hold_the_truth_also_with_few_rows() -> None:
    generator = np.random.default_rng(2)
    for n_rows, spread in ((200, 0.3), (200, 0.05), (1000, 0.5)):
        truth = true_matrix(10, spread, 3)
        hits, true, predicted = np.diagonal(truth), truth.sum(1), truth.sum(0)
        f1 = 2 * hits / (true + predicted)
        covered = []
        for _ in range(400):
            drawn = generator.multinomial(n_rows, truth.reshape(-1)).reshape(truth.shape)
            interval = metrics.class_scores(drawn).f1_interval
            covered.append((interval[:, 0] <= f1) & (f1 <= interval[:, 1]))
        assert 0.93 < np.mean(covered) < 0.99, (n_rows, spread, np.mean(covered))


@pytest.mark.parametrize(("n_classes", "n_rows", "spread"), [(10, 1000, 0.4), (50, 500, 0.35)])
def test_bootstrap_of_averages_holds_the_truth(n_classes: int, n_rows: int, spread: float) -> None:
    """Also with ten rows a class, where percentile intervals of the macro F1 hold it in two of three cases only."""
    generator = np.random.default_rng(4)
    truth = true_matrix(n_classes, spread, 5)
    f1 = 2 * np.diagonal(truth) / (truth.sum(1) + truth.sum(0))
    expected = {"macro": f1.mean(), "weighted": (f1 * truth.sum(1)).sum()}
    covered: dict[str, list[bool]] = {"macro": [], "weighted": []}
    for seed in range(200):
        drawn = generator.multinomial(n_rows, truth.reshape(-1)).reshape(truth.shape)
        for kind, rows in metrics.averages(drawn, n_resamples=200, seed=seed).items():
            low, high = rows["f1"].low, rows["f1"].high
            assert low is not None
            assert high is not None
            covered[kind].append(low <= expected[kind] <= high)
    for kind, held in covered.items():
        assert np.mean(held) > 0.88, (kind, np.mean(held))  # 93 % less two standard errors of 200 trials


def test_averages_of_faultless_predictions_have_an_interval_with_width() -> None:
    averages = metrics.averages(np.diag([10, 10, 10]))
    assert averages["macro"]["f1"].value == 1.0
    assert averages["macro"]["f1"].high == 1.0
    assert averages["macro"]["f1"].low == pytest.approx(float(metrics.wilson(30, 30)[0]))


def test_f1_interval_agrees_with_the_bootstrap_where_there_are_many_rows() -> None:
    generator = np.random.default_rng(6)
    truth = true_matrix(2, 0.4, 7)
    drawn = generator.multinomial(4000, truth.reshape(-1)).reshape(2, 2)
    resamples = generator.multinomial(4000, (drawn / drawn.sum()).reshape(-1), size=4000).reshape(-1, 2, 2)
    f1 = np.stack([metrics.class_scores(sample).f1 for sample in resamples])
    np.testing.assert_allclose(
        metrics.class_scores(drawn).f1_interval, np.quantile(f1, [0.025, 0.975], axis=0).T, atol=0.004
    )


def test_f1_interval_has_width_at_the_ends() -> None:
    interval = metrics.class_scores(np.array([[5, 0], [0, 5]])).f1_interval
    assert (interval[:, 1] == 1).all()
    assert (interval[:, 0] < 0.8).all()


def test_bootstrap_has_a_fixed_seed() -> None:
    confusion = np.random.default_rng(8).multinomial(10_000, true_matrix(100, 0.3, 9).reshape(-1)).reshape(100, 100)
    first = metrics.averages(confusion)
    assert first == metrics.averages(confusion)
    assert first != metrics.averages(confusion, seed=1)


def test_coarse_accuracy_sums_probabilities_rather_than_taking_the_best_class() -> None:
    logits = np.log(np.array([[0.4, 0.0001, 0.3, 0.3], [0.6, 0.1, 0.2, 0.1]], np.float32))
    labels = np.array([2, 0])
    assert metrics.coarse_accuracy(logits, labels, (0, 0, 1, 1), 2).value == 1.0
    assert metrics.top_k(logits, labels, 1).value == 0.5
    summed = metrics.sum_by_superclass(np.exp(metrics.log_probabilities(logits)), (0, 0, 1, 1), 2)
    np.testing.assert_allclose(summed.sum(1), 1.0)


def test_estimates_never_hold_nan() -> None:
    assert Estimate.of(math.nan, 0.1, math.inf) == Estimate(None, 0.1, None)
    assert Estimate.from_dict(Estimate(0.5, 0.4, 0.6).to_dict()) == Estimate(0.5, 0.4, 0.6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # empty classes and empty columns divide nothing by nothing
        metrics.class_scores(np.array([[0, 0], [3, 0]]))
        assert metrics.mean_nll(np.zeros((1, 2), np.float32), np.array([0])).low is None
