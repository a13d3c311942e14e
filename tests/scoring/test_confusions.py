"""Pairs beyond chance are found and noise is not; distances and tables agree with counts by hand."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest
from made_runs import make_logits

from pocketlens.scoring import metrics
from pocketlens.scoring.confusions import (
    beyond_chance,
    classes_csv,
    confused_pairs,
    confusion_csv,
    pairs_csv,
    severity,
)
from pocketlens.scoring.predictions import Predictions
from pocketlens.scoring.scores import Scores, score

CLASSES = ("maple", "oak", "cat", "dog")
ABOVE = (0, 0, 1, 1)


def judged(confusion: list[list[int]], classes: tuple[str, ...] = CLASSES, above: tuple[int, ...] = ABOVE) -> Scores:
    """Scores whose confusion matrix is this one."""
    cells = [(i, j) for i, row in enumerate(confusion) for j, count in enumerate(row) for _ in range(count)]
    labels, predicted = np.array(cells).T
    logits = np.eye(len(classes), dtype=np.float32)[predicted]
    return score(Predictions("val", np.arange(len(labels)), labels, logits), classes, ("tree", "animal"), above)


MATRIX = [[60, 38, 1, 1], [9, 90, 1, 0], [0, 0, 95, 5], [2, 0, 6, 92]]


def test_distances_by_hand() -> None:
    found = severity(judged(MATRIX))
    assert found is not None
    assert found.n_wrong == 38 + 1 + 1 + 9 + 1 + 5 + 2 + 6
    assert found.inside.value == pytest.approx((38 + 9 + 5 + 6) / 63)
    assert found.mean_distance.value == pytest.approx((58 * 1 + 5 * 2) / 63)
    assert (found.mean_distance.low or 0) < (found.mean_distance.value or 0) < (found.mean_distance.high or 0)
    assert found.coarse.value == pytest.approx(395 / 400)
    tree = found.rows[0]
    assert (tree.name, tree.n, tree.right, tree.inside, tree.across) == ("tree", 200, 150, 47, 3)
    assert (tree.taken_for, tree.taken, tree.coarse.value) == ("animal", 3, 197 / 200)


def test_pairs_come_by_count_and_only_clear_ones_are_named() -> None:
    pairs = confused_pairs(judged(MATRIX))
    assert [(pair.true, pair.predicted, pair.count) for pair in pairs[:3]] == [(0, 1, 38), (1, 0, 9), (3, 2, 6)]
    assert pairs[0].beyond_chance
    assert pairs[0].distance == 1
    assert not next(pair for pair in pairs if pair.count == 1).beyond_chance
    assert {(pair.true, pair.predicted): pair.distance for pair in pairs}[3, 0] == 2


def test_mistakes_that_fall_on_all_classes_alike_are_no_pairs() -> None:
    n_named, n_studies = 0, 60
    random = np.random.default_rng(0)
    for _ in range(n_studies):
        labels = np.repeat(np.arange(20), 100)
        shift = random.integers(1, 20, len(labels)) * (random.random(len(labels)) < 0.3)
        confusion = np.zeros((20, 20), np.int64)
        np.add.at(confusion, (labels, (labels + shift) % 20), 1)
        n_named += bool(beyond_chance(confusion).any())
    assert n_named <= 8  # at most 5 % of such studies name any pair: 3 of 60 are expected at worst


def test_two_classes_have_no_pairs_beyond_chance() -> None:
    assert not beyond_chance(np.array([[5, 95], [3, 97]])).any()
    assert not beyond_chance(np.diag([5, 5, 5])).any()


def test_without_superclasses_there_is_no_severity() -> None:
    labels = np.arange(30) % 3
    scores = score(Predictions("val", np.arange(30), labels, make_logits(labels, 3, skill=0)), ("a", "b", "c"))
    assert severity(scores) is None
    assert confused_pairs(scores)[0].distance is None
    assert not any(row["superclass"] for row in csv.DictReader(io.StringIO(classes_csv(scores))))


def test_tables_hold_the_counts_and_run_no_formula() -> None:
    scores = judged(MATRIX, ("=1+1", "@oak", "cat", "dog"))
    table = list(csv.reader(io.StringIO(confusion_csv(scores))))
    assert [row[0] for row in table] == ["true \\ predicted", "'=1+1", "'@oak", "cat", "dog"]
    assert [[int(cell) for cell in row[1:]] for row in table[1:]] == MATRIX
    pairs = list(csv.DictReader(io.StringIO(pairs_csv(scores))))
    assert (pairs[0]["true"], pairs[0]["predicted"], pairs[0]["count"], pairs[0]["of"]) == (
        "'=1+1",
        "'@oak",
        "38",
        "100",
    )
    assert pairs[0]["beyond_chance"] == "yes"
    classes = list(csv.DictReader(io.StringIO(classes_csv(scores))))
    assert float(classes[0]["recall"]) == 0.6
    assert classes[0]["stands_out"] == "lowest"


def test_classes_stand_out_only_beyond_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "averages", lambda confusion: {})  # not looked at, and slow
    n_named = 0
    for seed in range(40):  # classes that are equally hard: nothing may be named in 95 of 100 cases
        labels = np.repeat(np.arange(20), 50)
        logits = make_logits(labels, 20, skill=2.0, seed=seed)
        found = score(Predictions("val", np.arange(1000), labels, logits), tuple(map(str, range(20)))).standouts()
        n_named += bool(found.lowest or found.highest)
    assert n_named <= 5
    found = judged(MATRIX).standouts()
    assert [row.name for row in found.lowest] == ["maple"]
    assert [row.name for row in found.highest] == ["cat"]
    assert found.n_within == 2
    text = "\n".join(judged(MATRIX).lines())
    assert "significantly below the median" in text
    few = judged([[14, 0, 0, 0], [0, 14, 0, 0], [1, 0, 13, 0], [0, 0, 0, 14]]).standouts()
    assert (few.lowest, few.highest, few.n_within) == ((), (), 4)  # one mistake says nothing about a class
    even = judged([[80, 10, 5, 5], [10, 80, 5, 5], [5, 5, 80, 10], [5, 5, 10, 80]])
    assert "no class stands out" in "\n".join(even.lines())
