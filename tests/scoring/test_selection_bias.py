"""The expected selection bias of the best of many, against its true value in simulated searches."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pocketlens.scoring.significance import expected_selection_bias, shrink

Shape = Callable[[np.random.Generator, int], np.ndarray]
SHAPES: dict[str, Shape] = {
    "all equal": lambda generator, k: np.zeros(k),
    "normal": lambda generator, k: generator.normal(0, 1, k),
    "normal, wide": lambda generator, k: generator.normal(0, 3, k),
    "long tail of bad ones": lambda generator, k: -generator.exponential(5, k),
    "half diverge": lambda generator, k: np.where(generator.random(k) < 0.5, 0.0, -20.0) + generator.normal(0, 0.5, k),
}


@pytest.mark.parametrize("n_trials", [32])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_estimate_is_near_the_truth(shape: str, n_trials: int) -> None:
    check(shape, n_trials, n_searches=30)


@pytest.mark.slow
@pytest.mark.parametrize("n_trials", [8, 100])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_estimate_is_near_the_truth_for_other_sizes(shape: str, n_trials: int) -> None:
    check(shape, n_trials, n_searches=200)


def check(shape: str, n_trials: int, n_searches: int) -> None:
    generator = np.random.default_rng([n_trials, len(shape)])
    truth, estimates = [], []
    for _ in range(n_searches):
        values = SHAPES[shape](generator, n_trials)
        scores = values + generator.normal(0, 1, n_trials)
        best = scores.argmax()
        truth.append(scores[best] - values[best])
        estimates.append(expected_selection_bias(scores, 1.0))
    error = np.std(truth) / np.sqrt(n_searches)
    assert abs(np.mean(estimates) - np.mean(truth)) < 0.25 + 2 * error


def test_a_single_score_and_scores_without_noise_have_no_bias() -> None:
    assert expected_selection_bias(np.array([0.9]), 0.1) == 0.0
    assert expected_selection_bias(np.array([0.9, 0.8]), 0.0) == 0.0
    assert expected_selection_bias(np.array([10.0, 0.0, 0.0]), 0.01) == pytest.approx(0.0, abs=0.01)


def test_high_scores_move_down_and_low_ones_up() -> None:
    scores = np.random.default_rng(0).normal(0, 1, 50)
    moved = shrink(scores, 1.0)
    assert moved.max() < scores.max()
    assert moved.min() > scores.min()
    assert np.all(np.diff(moved[np.argsort(scores)]) >= -1e-9)  # the order stays
