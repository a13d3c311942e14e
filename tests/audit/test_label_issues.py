"""Wrong labels that we plant are flagged, and the CSV that a person edits goes back into the data."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
from made_images import refused
from made_runs import make_dataset, make_logits

from pocketlens.audit import label_issues
from pocketlens.audit.cross_validation import CrossValidation
from pocketlens.audit.label_issues import distrust, find_label_issues, labels_csv, require_cleanlab
from pocketlens.data.dataset import Dataset
from pocketlens.data.relabel import relabel
from pocketlens.recipe import Recipe

CLASSES = ("ant", "=bee", "cat", "no image")


def planted(n: int = 400) -> tuple[Dataset, CrossValidation, np.ndarray]:
    """Data of three classes of four, with every tenth label wrong, and what skilled models say about the right ones."""
    dataset = make_dataset(n, CLASSES[:3], shape=(6, 6, 1))
    logits = make_logits(dataset.labels, 4, skill=6.0)
    wrong = np.arange(0, n, 10)
    labels = dataset.labels.copy()
    labels[wrong] = (labels[wrong] + 1) % 3
    folds = CrossValidation(np.arange(n) // 2 % 3, logits, np.zeros((n, 2), np.float32), (), Recipe())
    return replace(dataset, labels=labels, classes=CLASSES), folds, wrong


def test_planted_labels_are_flagged_with_their_true_class() -> None:
    pytest.importorskip("cleanlab")
    dataset, folds, wrong = planted()
    found = find_label_issues(dataset, folds)
    hits = np.isin(found.rows, wrong)
    assert hits.sum() >= 0.95 * len(wrong)
    assert hits.mean() >= 0.95
    assert (found.suggested[hits] == (dataset.labels[found.rows[hits]] - 1) % 3).mean() > 0.95
    assert (np.diff(found.given_probability) >= 0).all()
    assert (found.suggested_probability > found.given_probability).all()
    assert not (found.suggested == 3).any()


def test_very_many_probabilities_of_half_the_precision_flag_the_same_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("cleanlab")
    dataset, folds, _ = planted()
    found = find_label_issues(dataset, folds)
    monkeypatch.setattr(label_issues, "_MANY", 100)
    monkeypatch.setattr(label_issues, "_BLOCK", 70)
    other = find_label_issues(dataset, folds)
    assert other.rows.tolist() == found.rows.tolist()
    assert other.suggested.tolist() == found.suggested.tolist()


def test_a_class_that_a_model_has_not_seen_is_not_doubted() -> None:
    pytest.importorskip("cleanlab")
    dataset, folds, _ = planted()
    alone = replace(folds, fold=np.where(dataset.labels == 1, 0, folds.fold))  # all images of a class are in one fold
    found = find_label_issues(dataset, alone)
    assert set(found.given.tolist()) == {0, 2}
    assert len(found) < len(find_label_issues(dataset, folds))


def test_models_that_are_often_wrong_doubt_no_label() -> None:
    dataset, folds, _ = planted()
    assert distrust(dataset, folds) is None
    weak = replace(folds, logits=make_logits(np.roll(dataset.labels, 1), 4, skill=6.0))
    reason = distrust(dataset, weak)
    assert reason is not None
    assert reason.startswith("the models are right for")


def test_accepting_every_suggestion_mends_the_labels() -> None:
    pytest.importorskip("cleanlab")
    dataset, folds, _ = planted()
    text = labels_csv(dataset, find_label_issues(dataset, folds))
    assert ",'=bee," in text
    assert not any(cell[:1] in ("=", "+", "@") for cell in text.replace("\n", ",").split(","))
    lines = text.splitlines()
    at = lines[0].split(",").index("decision")
    decided = [lines[0]]
    for line in lines[1:]:
        cells = line.split(",")
        cells[at] = "accept"
        decided.append(",".join(cells))
    mended, corrections = relabel(dataset, "\n".join(decided))
    truth = np.arange(len(dataset)) % 3
    assert (mended.labels == truth).mean() > 0.99 > (dataset.labels == truth).mean()
    assert corrections.n == len(lines) - 1
    assert relabel(dataset, text)[1].n == 0  # without decisions nothing changes


def test_without_cleanlab_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cleanlab", None)
    monkeypatch.setitem(sys.modules, "cleanlab.filter", None)
    with refused('pip install "pocketlens[labels]"', "--skip labels"):
        require_cleanlab()
