"""Two classifiers on the same rows: counts by hand, and an interval that covers as often as it says."""

from __future__ import annotations

import numpy as np
import pytest

from pocketlens.scoring.paired import changes_by_class, compare_rows


def test_counts_and_difference_by_hand() -> None:
    first = np.array([True, True, False, False, True])
    second = np.array([True, False, True, True, True])
    found = compare_rows(first, second)
    assert (found.n, found.both, found.only_first, found.only_second) == (5, 2, 1, 2)
    assert (found.first, found.second) == (0.6, 0.8)
    assert found.difference.value == pytest.approx(0.2)
    assert not found.is_clear


def test_equal_classifiers_have_an_interval_around_0() -> None:
    right = np.ones(40, bool)
    found = compare_rows(right, right)
    assert found.difference.value == 0
    assert found.difference.low is not None
    assert -0.1 < found.difference.low < 0


def test_the_interval_covers_the_true_difference() -> None:
    generator = np.random.default_rng(0)
    covered = 0
    for _ in range(1000):
        cell = generator.choice(4, 60, p=[0.6, 0.1, 0.2, 0.1])  # both, only first, only second, none
        found = compare_rows(cell <= 1, (cell == 0) | (cell == 2)).difference
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 0.1 <= found.high
    assert 0.93 <= covered / 1000 <= 0.98


def test_classes_are_ordered_by_their_change_and_marked_only_beyond_chance() -> None:
    labels = np.repeat([0, 1, 2], [40, 40, 0]) + np.repeat([0, 0, 1], [40, 40, 0])
    labels = np.concatenate([labels, np.full(4, 3)])
    first = np.concatenate([np.ones(40, bool), np.zeros(40, bool), np.array([False] * 4)])
    second = np.concatenate([np.ones(40, bool), np.ones(40, bool), np.array([True] * 2 + [False] * 2)])
    found = changes_by_class(labels, first, second)
    assert [each.label for each in found] == [1, 3, 0]
    assert [each.is_clear for each in found] == [True, False, False]
