"""An alpha that is chosen by the images that judge it does not make a fine-tuning look better than it is."""

from __future__ import annotations

import numpy as np
import pytest

from pocketlens.pipeline.interpolations import Curve, best_alpha, right_by_others
from pocketlens.training.interpolation import Interpolation, Point, packed

ALPHAS = np.array([0.0, 0.25, 0.5, 0.75, 1.0])


def by_chance(n: int, seed: int) -> Curve:
    """At every alpha, half of the images are right by chance alone."""
    return Curve(ALPHAS, np.random.default_rng(seed).random((5, n)) < 0.5, np.ones(5))


@pytest.mark.parametrize("n_folds", [1, 3])
def test_chance_gives_no_advantage(n_folds: int) -> None:
    chosen, judged = [], []
    for draw in range(300):
        curves = [by_chance(60, 10 * draw + fold) for fold in range(n_folds)]
        chosen.append(np.mean([curve.right.mean(1).max() for curve in curves]))
        judged.append(np.concatenate(right_by_others(curves)).mean())
    assert np.mean(chosen) > 0.55, "the best of five looks better"
    assert abs(np.mean(judged) - 0.5) < 0.01


def test_a_real_advantage_stays() -> None:
    right = np.random.default_rng(0).random((5, 200)) < np.array([0.5, 0.6, 0.9, 0.6, 0.5])[:, None]
    curves = [Curve(ALPHAS, right[:, :100], np.ones(5)), Curve(ALPHAS, right[:, 100:], np.ones(5))]
    np.testing.assert_array_equal(np.concatenate(right_by_others(curves)), right[2])
    np.testing.assert_array_equal(right_by_others([Curve(ALPHAS, right, np.ones(5))])[0], right[2])
    assert best_alpha(curves) == 0.5


def test_of_equally_many_right_images_the_smallest_loss_decides_and_one_image_is_enough() -> None:
    same = np.ones((5, 1), bool)
    assert best_alpha([Curve(ALPHAS, same, np.array([3.0, 2.0, 1.0, 0.5, 4.0]))]) == 0.75
    assert right_by_others([Curve(ALPHAS, same, np.ones(5))])[0].tolist() == [True]


def test_rows_survive_the_file_and_runs_of_before_have_none() -> None:
    right = np.random.default_rng(1).random(37) < 0.5
    kept = Interpolation.from_dict(Interpolation(0.5, (Point(0.5, 1.0, 0.4, packed(right)),)).to_dict())
    np.testing.assert_array_equal(kept.points[0].right_of(37), right)
    before = {"alpha": 0.5, "points": [{"alpha": 0.5, "val_loss": 1.0, "val_accuracy": 0.4}]}
    assert Interpolation.from_dict(before).points[0].right == ""
