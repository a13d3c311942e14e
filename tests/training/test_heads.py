"""Judges on deep features say what scikit-learn's own say, and leave runs that are opened and loaded like others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_images import refused
from made_trainings import PLAIN, finish, made_data, new_run
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from pocketlens.api.show import run_facts
from pocketlens.data.dataset import seal
from pocketlens.data.split import make_split
from pocketlens.evaluation.open_test import open_test
from pocketlens.events import finish as end
from pocketlens.files import read_json
from pocketlens.recipe import Experiment
from pocketlens.report.run.facts import read_facts
from pocketlens.report.run.methods import write_methods
from pocketlens.training.classifier import extract_features, load_classifier, predict_logits
from pocketlens.training.fit_head import DEFAULTS, HeadSpec, fit_head
from pocketlens.training.heads import fit_forest, fit_knn, fit_logistic, last_layer, watch_head
from pocketlens.training.refit import refit
from pocketlens.training.run import Run
from pocketlens.training.train import train

RANDOM = np.random.default_rng(0)
LABELS = RANDOM.integers(0, 5, 300)
FEATURES = (RANDOM.normal(size=(300, 12)) + 0.8 * np.eye(12)[LABELS] * 2).astype(np.float32)
NEW = RANDOM.normal(size=(100, 12)).astype(np.float32) + 0.5


def said(judge: Any, features: np.ndarray = NEW) -> np.ndarray:
    with torch.inference_mode():
        return np.asarray(judge(torch.from_numpy(features)))


def test_a_forest_votes_as_scikit_learn_does() -> None:
    theirs = RandomForestClassifier(40, random_state=3).fit(FEATURES, LABELS)
    votes = np.stack([tree.predict(NEW) for tree in theirs.estimators_]).astype(int)  # (T, N)
    expected = np.stack([(votes == label).sum(0) for label in range(6)], 1)
    ours = said(end(fit_forest(FEATURES, LABELS, 6, trees=40, seed=3)))
    assert np.allclose(ours, np.log((expected + 1 / 6) / 41), atol=1e-5)
    assert np.array_equal(ours.argmax(1), theirs.predict(NEW))
    assert (said(end(fit_forest(FEATURES, LABELS, 6, trees=40, seed=3)), FEATURES).argmax(1) == LABELS).mean() > 0.99


def test_trees_are_told_as_they_grow() -> None:
    steps = list(fit_forest(FEATURES, LABELS, 6, trees=10, jobs=1))
    assert [(step.done, step.total) for step in steps] == [(4, 10), (8, 10), (10, 10)]
    assert [step.done for step in fit_forest(FEATURES, LABELS, 6, trees=3, jobs=8)] == [3]


def test_a_threshold_parts_features_as_float64_does() -> None:
    features = np.array([[100.0], [np.nextafter(np.float32(100), np.float32(200))]] * 20, np.float32)
    labels = np.tile([0, 1], 20)
    assert np.array_equal(said(end(fit_forest(features, labels, 2, trees=9)), features).argmax(1), labels)


@pytest.mark.parametrize("n_classes", [2, 5])
def test_a_regression_is_scikit_learns(n_classes: int) -> None:
    kept = n_classes > LABELS
    features, labels = FEATURES[kept], LABELS[kept]
    mean, std = features.mean(0), features.std(0)
    theirs = LogisticRegression(C=0.3, max_iter=300).fit((features - mean) / std, labels)
    ours = said(fit_logistic(features, labels, n_classes + 1, strength=0.3))
    shares = np.exp(ours) / np.exp(ours).sum(1, keepdims=True)
    assert np.allclose(shares[:, :n_classes], theirs.predict_proba((NEW - mean) / std), atol=1e-4)
    assert shares[:, n_classes].max() < 1e-6  # a class without training rows
    single = said(fit_logistic(features[labels == 1], labels[labels == 1], 3))
    assert np.isfinite(single).all()
    assert set(single.argmax(1)) == {1}


def test_neighbours_vote_as_scikit_learns() -> None:
    mean, std = FEATURES.mean(0), FEATURES.std(0)
    theirs = KNeighborsClassifier(7).fit((FEATURES - mean) / std, LABELS)
    ours = said(fit_knn(FEATURES, LABELS, 5, k=7))
    assert np.allclose(np.exp(ours) * 8 - 1 / 5, 7 * theirs.predict_proba((NEW - mean) / std), atol=1e-4)
    assert np.isfinite(said(fit_knn(FEATURES[:3], LABELS[:3], 5, k=7))).all()  # fewer rows than neighbours


# ---- as runs


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("runs")
    run = new_run(folder, PLAIN.changed(model="lens(width=0.125)", epochs=1.0, lr=0.01))
    finish(run)
    return run


def judged(source: Run, kind: str, prepare: str = "none", dataset: Any = None) -> Run:
    dataset = made_data() if dataset is None else dataset
    recipe = source.experiment.recipe.changed(start=source.id, prepare=prepare)
    asked = Experiment("made", recipe, val_fraction=0.25, data_fingerprint=dataset.fingerprint)
    judging = HeadSpec(kind, DEFAULTS[kind] if kind != "forest" else 10)
    split = make_split(dataset, val_fraction=0.25)
    return end(fit_head(asked, dataset, split, judging, runs=source.path.parent))


@pytest.mark.parametrize("kind", ["forest", "logistic", "knn"])
def test_the_run_says_what_the_judge_says_and_opens_by_the_one_door(source: Run, kind: str) -> None:
    run, data = judged(source, kind), made_data()
    assert run.status()[0] == "complete"
    assert run.experiment.start_weights == source.weights_hash()
    rows = run.split.train
    features = extract_features(load_classifier(source), data.images, rows)[1]
    if kind != "forest":
        fit = {"logistic": fit_logistic, "knn": fit_knn}[kind]
        expected = said(fit(features, data.labels[rows], 4), extract_features(load_classifier(source), data.images)[1])
        assert np.allclose(predict_logits(load_classifier(run), data.images), expected, atol=1e-3)
    again = judged(source, kind)
    assert again.weights_hash() == run.weights_hash()
    assert read_json(run.file("scores-val.json"))["n"] == len(run.split.val)
    facts = run_facts(run)
    assert facts.val_accuracy == read_json(run.file("scores-val.json"))["top1"]["value"]
    assert "was not trained further" in write_methods(read_facts(run, data))
    scores = open_test(run, seal(made_data(40)))
    assert (scores.n, scores.openings) == (40, 1)
    for refuse, words in ((lambda: refit(run), "with --val-fraction 0"), (lambda: next(train(run, data)), "fitted")):
        with refused(words):
            refuse()
    with refused("give the run that provides the features"):
        judged(run, kind)


def test_what_cannot_be_seen_is_refused(source: Run, tmp_path: Path) -> None:
    grey = made_data(shape=(12, 12, 1))
    with refused("takes 3 channels, these images have 1"):
        judged(source, "knn", dataset=grey)
    flat = new_run(tmp_path, PLAIN.changed(epochs=1.0))
    finish(flat)
    large = made_data(shape=(24, 24, 3))
    with refused("takes images of 12 x 12 px alone, these are 24 x 24; give --prepare 'resize(12)'"):
        judged(flat, "knn", dataset=large)
    assert judged(flat, "knn", "resize(12)", large).status()[0] == "complete"
    for kind, size, words in (
        ("svm", 1, "must be one of logistic, knn, forest"),
        ("knn", 1.5, "k must be above 0 and whole"),
    ):
        with refused(words):
            HeadSpec(kind, size)


def test_the_last_layer_of_a_head_of_several() -> None:
    from made_models import build

    assert last_layer(build("vgg(depth=11, width=0.125, dense=16)")) == "head.2"
    assert last_layer(build("lens(width=0.125)")) == "head"


def test_a_model_without_a_head_is_named() -> None:
    with refused("the model has no layer 'head'"), watch_head(torch.nn.Sequential(torch.nn.Flatten())):
        pass
