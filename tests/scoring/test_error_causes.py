"""Planted causes are found, each wrong row has one, and the table says what scikit-learn says."""

from __future__ import annotations

import csv
import io
import re

import numpy as np
import pytest
from made_runs import make_dataset, make_logits
from sklearn.metrics import log_loss

from pocketlens.data.dataset import Dataset, hash_images
from pocketlens.data.duplicates import DEVELOPMENT, TEST, Duplicates
from pocketlens.scoring.error_causes import (
    CAUSES,
    DuplicateLabels,
    analyse_rows,
    equal_pixels,
    listed_duplicates,
    predictions_csv,
)
from pocketlens.scoring.label_trust import too_often_wrong
from pocketlens.scoring.predictions import Predictions

NAMES = tuple("abcdef")


def sure(n: int = 600, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels and the logits of a good classifier."""
    labels = np.arange(n) % 6
    return labels, make_logits(labels, 6, skill=7.0, seed=seed)


def plant_wrong_label(labels: np.ndarray, logits: np.ndarray) -> None:
    """Row 6 is labelled 3, and its picture is clearly of class 0."""
    labels[6], logits[6] = 3, [12, 0, 0, 0, 0, 0]


def causes_of(labels: np.ndarray, logits: np.ndarray, duplicates: DuplicateLabels | None = None) -> list[str]:
    predictions = Predictions("val", np.arange(len(labels)) + 1000, labels, logits)
    analysis = analyse_rows(predictions, duplicates)
    assert sum(analysis.counts().values()) == int((predictions.predicted != labels).sum())
    return [CAUSES[cause] if cause >= 0 else "" for cause in analysis.cause]


def test_a_wrong_label_is_doubtful_and_a_hesitant_mistake_is_not() -> None:
    labels, logits = sure()
    plant_wrong_label(labels, logits)
    logits[7] = [8.0, 7.9, 0, 0, 0, 0]  # of class 1, and nearly said so
    causes = causes_of(labels, logits)
    assert causes[6] == "label issue"
    assert causes[7] == "other mistake"
    assert causes[0] == ""


def test_a_picture_that_resembles_nothing_is_an_outlier() -> None:
    labels, logits = sure()
    logits[8] = [0.2, 0, 0.1, 0, 0, 0]
    assert causes_of(labels, logits)[8] == "outlier"


def test_a_pair_beyond_chance_is_named() -> None:
    labels, logits = sure()
    taken = np.flatnonzero(labels == 2)[:30]
    logits[taken, 4] = logits[taken, 2] + 0.5
    causes = causes_of(labels, logits)
    assert {causes[row] for row in taken} <= {"confused pair", "outlier"}
    assert causes.count("confused pair") >= 25


def test_a_twin_with_another_label_comes_first() -> None:
    labels, logits = sure()
    plant_wrong_label(labels, logits)
    rows = np.array([1006, 1012, 1006])
    assert causes_of(labels, logits, DuplicateLabels(rows, np.array([0, 0, 3])))[6] == "duplicate with another label"
    same_label = DuplicateLabels(rows[2:], np.array([3]))
    assert causes_of(labels, logits, same_label)[6] == "label issue"
    assert causes_of(labels, logits, DuplicateLabels(rows[1:2], np.array([5])))[12] == ""  # the row is right


def test_equal_pixels_are_found_in_both_parts() -> None:
    dataset = make_dataset(40, NAMES)
    images, labels = dataset.images.copy(), dataset.labels.copy()
    images[5] = images[20]
    dataset = Dataset("made", images, labels, NAMES, hash_images(images))
    found = equal_pixels(dataset.hashes, np.array([5, 6, 20]), dataset)
    assert found.rows.tolist() == [5, 20]
    assert found.labels.tolist() == [labels[20], labels[5]]
    test_images = np.concatenate([images[7:8], images[7:8], 255 - images[9:12]])
    test = equal_pixels(hash_images(test_images), np.arange(5), dataset, np.array([0, 3, 1, 1, 1]))
    pairs = sorted(zip(test.rows.tolist(), test.labels.tolist(), strict=True))
    assert pairs == sorted([(0, 3), (0, int(labels[7])), (1, 0), (1, int(labels[7]))])


def test_listed_duplicates_are_the_exact_and_near_ones_of_the_scored_part() -> None:
    D, T = DEVELOPMENT, TEST  # noqa: N806
    columns = {
        "part_a": np.array([D, D, D, T, D]),
        "row_a": np.array([4, 5, 6, 0, 8]),
        "part_b": np.array([D, T, T, T, T]),
        "row_b": np.array([7, 1, 2, 2, 3]),
        "judgement": np.array(["near", "exact", "near", "near", "similar"]),
    }
    empty = {"distance": np.zeros(5, np.float32), "how": np.array([""] * 5)}
    found = Duplicates(**columns, **empty, n_development=9, n_test=4, complete=True)
    labels, test_labels = np.arange(10, 19), np.arange(20, 24)
    val = listed_duplicates(found, "val", labels)
    assert sorted(zip(val.rows, val.labels, strict=True)) == [(4, 17), (7, 14)]
    test = listed_duplicates(found, "test", labels, test_labels)
    assert sorted(zip(test.rows, test.labels, strict=True)) == [(0, 22), (1, 15), (2, 16), (2, 20)]


def test_all_wrong_and_all_right_are_judged_too() -> None:
    labels, logits = sure()
    assert set(causes_of((labels + 1) % 6, logits)) <= set(CAUSES)
    assert set(causes_of(labels, np.eye(6, dtype=np.float32)[labels])) == {""}
    assert causes_of(np.zeros(3, np.int64), np.zeros((3, 1), np.float32)) == [""] * 3


def test_the_table_has_every_row_with_its_numbers() -> None:
    labels, logits = sure(60)
    plant_wrong_label(labels, logits)
    predictions = Predictions("test", np.arange(60), labels, logits)
    analysis = analyse_rows(predictions)
    classes = ("=cmd|' /C calc'!A0", "+1", "@x", "-2", "d", '"><script>')
    files = tuple(f"=folder/{row}\x1b[2J\udcff.png" for row in range(60))
    table = list(csv.DictReader(io.StringIO(predictions_csv(predictions, analysis, classes, files))))
    assert [int(row["row"]) for row in table] == list(range(60))
    assert all(row["true"].startswith(("'", "d", '"')) for row in table)
    assert table[0]["file"] == "'=folder/0\\x1b[2J\\xff.png"
    assert table[6]["cause"] == "label issue"
    probabilities = np.exp(logits.astype(np.float64))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    assert np.mean([float(row["loss"]) for row in table]) == pytest.approx(log_loss(labels, probabilities), abs=1e-5)
    assert float(table[3]["probability"]) == pytest.approx(probabilities[3].max(), abs=1e-6)
    others = np.delete(probabilities[6], labels[6])
    assert float(table[6]["margin"]) == pytest.approx(probabilities[6, labels[6]] - others.max(), abs=1e-6)
    assert all((float(row["margin"].lstrip("'")) < 0) == bool(row["cause"]) for row in table)


def test_a_classifier_that_is_often_wrong_doubts_no_label() -> None:
    labels, logits = sure()
    plant_wrong_label(labels, logits)
    broken = np.random.default_rng(0).permutation(len(labels))[:330]
    logits[broken[broken != 6]] = np.roll(logits[broken[broken != 6]], 1, axis=1)
    predictions = Predictions("val", np.arange(len(labels)), labels, logits)
    analysis = analyse_rows(predictions)
    assert analysis.counts()["label issue"] == 0
    assert analysis.no_label_issues is not None
    assert re.match(r"the models are right for 4\d\.\d % of the labels, and below 58\.4 %", analysis.no_label_issues)
    assert analyse_rows(Predictions("val", np.arange(600), *sure())).no_label_issues is None


def test_two_classes_must_be_told_apart_better_than_by_guessing() -> None:
    labels = np.arange(100) % 2
    for n_wrong, trusted in ((24, True), (26, False)):
        predicted = np.where(np.arange(100) < n_wrong, 1 - labels, labels)
        assert (too_often_wrong(labels, predicted) is None) == trusted
    rare = np.arange(100) // 90  # nine of ten are of class 0: always guessing it is no skill
    assert too_often_wrong(rare, np.zeros(100, np.int64)) is not None
    assert too_often_wrong(rare, rare) is None


def test_few_right_rows_have_no_outliers() -> None:
    labels, logits = sure(60)
    logits[8] = [0.2, 0, 0.1, 0, 0, 0]
    assert "outlier" not in causes_of(labels, logits)
