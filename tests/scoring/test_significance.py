"""Verdicts against scipy and by simulation: few false ones, enough true ones, and intervals that hold what they say."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from pocketlens.scoring.metrics import wilson
from pocketlens.scoring.significance import (
    ALPHA,
    compare,
    compare_pair,
    detectable_difference,
    flip_p,
    holm,
    mcnemar,
    mean_interval,
    power,
    repeats_needed,
)

SPREAD = 0.25  # points, of one recipe over seeds


def studies(
    n_recipes: int, n_repeats: int, *, difference: float = 0.0, n_studies: int = 1000, seed: int = 0
) -> tuple[int, int, int]:
    """Simulated studies: how many give any verdict, say that recipe 1 is better than 0, and hold the truth."""
    generator = np.random.default_rng([seed, n_recipes, n_repeats])
    any_verdict = better = covered = 0
    for _ in range(n_studies):
        of_seed = generator.normal(0, 0.3, n_repeats)  # what a seed does to every recipe
        scores = {str(r): 80 + of_seed + generator.normal(0, SPREAD, n_repeats) for r in range(n_recipes)}
        scores["1"] = scores["1"] + difference
        verdicts = compare(scores)
        any_verdict += any(verdict.word != "cannot tell" for verdict in verdicts)
        better += verdicts[0].word == "better"
        low, high = verdicts[0].difference.low, verdicts[0].difference.high
        assert low is not None
        assert high is not None
        covered += low <= difference <= high
    return any_verdict, better, covered


def assert_95_percent(covered: int, n: int) -> None:
    """So many of n intervals held the truth; over all simulations here, less than one false alarm in fifty."""
    assert stats.binomtest(covered, n, 0.95).pvalue > 0.001, f"{covered} of {n} intervals hold the truth"


@pytest.mark.parametrize(("n_recipes", "n_repeats"), [(2, 5), (2, 6), (4, 5), (4, 8)])
def test_equal_recipes_get_a_verdict_in_at_most_5_percent_of_studies(n_recipes: int, n_repeats: int) -> None:
    any_verdict, _, covered = studies(n_recipes, n_repeats)
    assert wilson(any_verdict, 1000)[0] <= ALPHA, f"{any_verdict} of 1,000 studies give a verdict"
    assert_95_percent(covered, 1000)


@pytest.mark.slow
@pytest.mark.parametrize("n_recipes", [2, 4])
@pytest.mark.parametrize("n_repeats", [2, 3, 4, 7, 10])
def test_other_numbers_of_repeats(n_recipes: int, n_repeats: int) -> None:
    any_verdict, _, covered = studies(n_recipes, n_repeats, seed=1)
    assert wilson(any_verdict, 1000)[0] <= ALPHA
    assert_95_percent(covered, 1000)


def test_a_true_difference_is_seen() -> None:
    _, better, covered = studies(2, 5, difference=1.0)
    assert better >= 900
    assert_95_percent(covered, 1000)
    assert studies(2, 6, difference=1.0, n_studies=300)[1] >= 270  # by sign flips
    assert studies(2, 5, difference=-1.0, n_studies=100)[1] == 0


def test_a_comparison_without_holm_would_be_caught() -> None:
    """The simulation can fail: with six pairs that are not corrected for, far more than 5 % give a verdict."""
    generator = np.random.default_rng(0)
    found = 0
    for _ in range(300):
        scores = [generator.normal(0, SPREAD, 5) for _ in range(4)]
        found += any(compare_pair(scores[i], scores[j]).p <= ALPHA for i in range(4) for j in range(i))
    assert wilson(found, 300)[0] > ALPHA


def test_the_t_test_and_its_interval_are_those_of_scipy() -> None:
    a, b = np.array([80.1, 79.8, 80.4, 80.0]), np.array([80.6, 80.1, 80.5, 80.9])
    found, known = compare_pair(a, b), stats.ttest_rel(b, a)
    assert found.test == "t test"
    assert found.p == pytest.approx(known.pvalue)
    interval = known.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    mean, sd, low, high = mean_interval(a)
    assert (mean, sd) == pytest.approx((a.mean(), a.std(ddof=1)))
    assert (low, high) == pytest.approx(stats.t.interval(0.95, 3, a.mean(), stats.sem(a)))


def test_the_sign_flips_are_those_of_scipy() -> None:
    differences = np.random.default_rng(3).normal(0.3, 1, 9)
    known = stats.permutation_test(
        (differences,), np.sum, permutation_type="samples", n_resamples=np.inf, alternative="two-sided"
    )
    assert flip_p(differences) == pytest.approx(known.pvalue)
    many = np.random.default_rng(4).normal(0.2, 1, 20)  # too many to count them all
    assert flip_p(many) == pytest.approx(stats.ttest_1samp(many, 0).pvalue, abs=0.03)
    assert flip_p(np.ones(6)) == 2 / 64


def test_sign_flips_decide_only_where_they_could() -> None:
    zeros = {n: (np.zeros(n), np.arange(n) / 10 + 1) for n in (5, 6, 7, 8)}
    assert compare_pair(*zeros[5]).test == "t test"
    assert compare_pair(*zeros[6]).test == "sign flips"
    assert compare_pair(*zeros[7], n_pairs=6).test == "t test"  # 2 / 128 > 0.05 / 6
    assert compare_pair(*zeros[8], n_pairs=6).test == "sign flips"


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]


def test_equal_differences_by_rounding_are_no_proof() -> None:
    """Two repeats that both differ by one image of 100 have no spread, and say nothing."""
    verdict = compare({"a": np.array([0.90, 0.91]), "b": np.array([0.91, 0.92])}, resolution=0.01)[0]
    assert verdict.word == "cannot tell"
    assert compare({"a": np.zeros(3), "b": np.zeros(3)})[0].word == "cannot tell"
    assert compare({"a": np.zeros(5), "b": np.full(5, 0.5)}, resolution=0.01)[0].word == "better"


def test_failed_repeats_leave_their_pair() -> None:
    verdict = compare({"a": np.array([1.0, 2.0, np.nan]), "b": np.array([2.0, np.nan, 3.0])})[0]
    assert (verdict.difference.n, verdict.word, verdict.more) == (1, "cannot tell", None)
    assert compare({"a": np.array([np.nan]), "b": np.array([1.0])})[0].difference.mean is None


def test_power_and_repeats_needed_hold_in_simulation() -> None:
    generator = np.random.default_rng(5)
    needed = repeats_needed(0.5, 0.5)
    assert needed is not None
    seen = [stats.ttest_1samp(generator.normal(0.5, 0.5, needed), 0).pvalue <= ALPHA for _ in range(500)]
    low, high = wilson(sum(seen), 500)
    assert low - 0.01 <= power(1.0, needed) <= high + 0.01
    assert power(1.0, needed) >= 0.8 > power(1.0, needed - 1)
    assert repeats_needed(0.5, 0.5, wanted=0.9) >= needed
    assert repeats_needed(0.0, 1.0) is None
    assert repeats_needed(1e-6, 1.0) is None
    assert power(1e9, 5) == 1.0


def test_the_plan_agrees_with_the_power() -> None:
    for n_pairs in (1, 6):
        difference = detectable_difference(0.25, 5, n_pairs)
        assert power(difference / (0.25 * math.sqrt(2)), 5, ALPHA / n_pairs) == pytest.approx(0.8, abs=1e-6)
    assert detectable_difference(0.25, 10) < detectable_difference(0.25, 5) < detectable_difference(0.25, 3)
    assert detectable_difference(0.25, 1) == math.inf


def test_more_repeats_are_asked_for_where_it_cannot_be_told() -> None:
    verdict = compare({"a": np.array([0.0, 0.4, 0.1]), "b": np.array([0.5, 0.3, 0.9])})[0]
    assert verdict.word == "cannot tell"
    assert verdict.more is not None
    assert verdict.more > 0


def test_mcnemar_is_scipys_binomial_test() -> None:
    first = np.array([1, 1, 1, 1, 1, 1, 0, 0, 1], bool)
    second = np.array([0, 0, 0, 0, 0, 1, 1, 0, 1], bool)
    assert mcnemar(first, second)[:2] == (5, 1)
    assert mcnemar(first, second)[2] == pytest.approx(stats.binomtest(1, 6).pvalue)
    assert mcnemar(first, first) == (0, 0, 1.0)
