"""Parts of one distribution show no shift, parts of two do; the area under the curve is scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from made_runs import make_dataset
from sklearn.metrics import roc_auc_score

from pocketlens.audit.distribution_shift import auc_of, measure_distribution_shift, obstacle
from pocketlens.data.dataset import SealedTest, seal
from pocketlens.events import finish

NAMES = ("a", "b", "c")
DATASET = make_dataset(300, NAMES, shape=(10, 10, 3))


def other_part(shift: int, n: int = 240) -> SealedTest:
    part = make_dataset(n, NAMES, shape=(10, 10, 3))
    images = np.clip(part.images.astype(int) + shift, 0, 255).astype(np.uint8)
    from dataclasses import replace

    return seal(replace(part, images=images))


def test_parts_of_one_distribution_show_no_shift() -> None:
    found = finish(measure_distribution_shift(DATASET, other_part(0)))
    assert found.n == 240
    assert not found.significant
    assert found.accuracy.low is not None
    assert found.accuracy.low < 0.5 < (found.accuracy.high or 0)


def test_a_brighter_part_is_a_shift() -> None:
    found = finish(measure_distribution_shift(DATASET, other_part(12)))
    assert found.significant
    assert found.substantial
    assert (found.auc.low or 0) > 0.8
    assert len(found.most_like_test) == 12
    again = finish(measure_distribution_shift(DATASET, other_part(12)))
    assert again.auc == found.auc


def test_the_area_is_that_of_scikit_learn_and_its_interval_holds_the_truth() -> None:
    generator = np.random.default_rng(0)
    held = 0
    for _ in range(200):
        low, high = np.round(generator.normal(0, 1, 60), 1), np.round(generator.normal(1, 1, 40), 1)
        found = auc_of(low, high)
        expected = roc_auc_score(np.repeat([0, 1], [60, 40]), np.concatenate([low, high]))
        assert found.value == pytest.approx(expected)
        held += (found.low or 0) <= 0.7602 <= (found.high or 0)
    assert 180 <= held <= 199


def test_parts_that_are_too_small_are_refused_in_words() -> None:
    assert "each part needs 30" in (obstacle(300, 10) or "")
    assert obstacle(30, 30) is None
