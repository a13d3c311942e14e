"""The linear probe: features once, the penalty by folds, a run like any other; killed and resumed it is the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_images import refused
from made_trainings import contents, finish, made_data, new_run
from sklearn.linear_model import LogisticRegression

from pocketlens.data.dataset import Dataset, seal
from pocketlens.data.folds import folds_of_rows
from pocketlens.evaluation.open_test import open_test
from pocketlens.events import Step
from pocketlens.events import finish as end
from pocketlens.files import cache_folder, read_json
from pocketlens.recipe import Recipe, read_recipe
from pocketlens.scoring import row_blocks
from pocketlens.scoring.metrics import log_probabilities
from pocketlens.training import features as features_module
from pocketlens.training import linear_probe, logistic_regression
from pocketlens.training import probe as probe_module
from pocketlens.training.classifier import load_classifier, predict_logits
from pocketlens.training.features import compute_features
from pocketlens.training.linear_probe import PENALTIES, fit_linear_probe
from pocketlens.training.refit import extend, refit
from pocketlens.training.run import Run, all_runs
from pocketlens.training.train import train

TINY = "timm(name='test_resnet')"  # with random weights: what matters here is the way, not the score
PROBE = read_recipe("probe").changed(model=TINY, prepare="none")
RANDOM = np.random.default_rng(0)


def data(n: int = 96) -> Dataset:
    return made_data(n, shape=(32, 32, 3))


def probed(tmp_path: Path, dataset: Dataset | None = None, recipe: Recipe = PROBE, **options: Any) -> Run:
    dataset = data() if dataset is None else dataset
    run = new_run(tmp_path, recipe, dataset, **options)
    finish(run, dataset)
    return run


def test_the_layer_is_scikit_learns_with_the_penalty_of_the_smallest_loss() -> None:
    labels = RANDOM.integers(0, 5, 400)
    features = (RANDOM.normal(size=(400, 20)) * 3 + 2 + np.eye(20)[labels] * 4).astype(np.float32)
    fold = np.arange(400) % 5
    probe = end(fit_linear_probe(features, labels, 6, fold))
    best = min(probe.scores, key=lambda each: each.log_loss)
    assert probe.linear.strength == best.strength
    assert PENALTIES[0] < best.strength < PENALTIES[-1]
    mean, std = features.mean(0), np.sqrt(features.var(0).mean())
    theirs = LogisticRegression(C=best.strength, max_iter=1000, tol=1e-6).fit((features - mean) / std, labels)
    logits = probe.linear.logits(features) * probe.temperature
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert np.allclose(shares[:, :5], theirs.predict_proba((features - mean) / std), atol=0.02)
    assert shares[:, 5].max() < 1e-6  # a class without rows
    held = fold == 2
    alone = LogisticRegression(C=best.strength, max_iter=1000, tol=1e-6)
    mean, std = features[~held].mean(0), np.sqrt(features[~held].var(0).mean())
    alone.fit((features[~held] - mean) / std, labels[~held])
    said = probe.fold_logits[held, :5] * probe.temperature
    assert np.allclose(
        np.exp(said) / np.exp(said).sum(1, keepdims=True), alone.predict_proba((features[held] - mean) / std), atol=0.02
    )


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("width", [12, 150])  # fewer and more features than rows
def test_in_the_axes_of_the_features_the_minimum_is_the_same(n_classes: int, width: int) -> None:
    generator = np.random.default_rng(width)
    labels = generator.integers(0, n_classes, 100)
    features = (generator.normal(size=(100, width)) * np.linspace(3, 0.01, width) + 5).astype(np.float32)
    features[:, 0] += 4 * labels
    probe = end(fit_linear_probe(features, labels, n_classes, np.arange(100) % 4))
    assert list(probe.scores) == sorted(probe.scores, key=lambda each: each.strength)
    mean, std = features.mean(0), np.sqrt(features.var(0).mean())
    theirs = LogisticRegression(C=probe.linear.strength, max_iter=5000, tol=1e-8).fit((features - mean) / std, labels)
    said = probe.linear.logits(features).astype(np.float64) * probe.temperature
    assert np.allclose(log_probabilities(said), theirs.predict_log_proba((features - mean) / std), atol=0.02)
    again = end(fit_linear_probe(features, labels, n_classes, np.arange(100) % 4))
    assert again.linear.weight.tobytes() == probe.linear.weight.tobytes()
    assert again.fold_logits.tobytes() == probe.fold_logits.tobytes()


def test_a_class_that_lies_in_one_fold_decides_neither_penalty_nor_temperature() -> None:
    labels = np.repeat(np.arange(3), [60, 60, 4]).astype(np.int64)
    features = (np.random.default_rng(2).normal(size=(124, 6)) + 1.5 * np.eye(6)[labels]).astype(np.float32)
    fold = np.where(labels == 2, 0, np.arange(124) % 4)
    known = labels < 2
    probe = end(fit_linear_probe(features, labels, 3, fold))
    assert probe.temperature < 3  # to make up for logits far below all others it would be 20
    best = min(probe.scores, key=lambda each: each.log_loss)
    assert best.accuracy == float((probe.fold_logits[known].argmax(1) == labels[known]).mean())
    assert np.isfinite(probe.fold_logits).all()


@pytest.mark.slow
def test_with_many_classes_fewer_folds_are_left_out_and_blocks_stay_small(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.random.default_rng(5).integers(0, 5, 400)
    features = (np.random.default_rng(6).normal(size=(400, 20)) + 1.5 * np.eye(20)[labels]).astype(np.float32)
    fold = np.arange(400) % 5
    whole = end(fit_linear_probe(features, labels, 5, fold))
    monkeypatch.setattr(linear_probe, "_MOST_OUTPUTS", 10)
    monkeypatch.setattr(logistic_regression, "_CHUNK_NUMBERS", 70)  # 7 rows of 5 classes in each of 2 regressions
    monkeypatch.setattr(row_blocks, "BLOCK", 30)
    some = end(fit_linear_probe(features, labels, 5, fold))
    assert np.array_equal(some.held, np.flatnonzero(fold < 2))
    assert np.allclose(some.fold_logits * some.temperature, whole.fold_logits[fold < 2] * whole.temperature, atol=0.02)
    assert some.linear.strength == whole.linear.strength
    assert "on 2 of 5 folds of the training rows, each left out" in probe_module._in_words(some)
    every = end(fit_linear_probe(features, labels, 5, fold, every_fold=True))
    assert np.array_equal(every.held, whole.held)
    assert np.allclose(every.linear.weight, whole.linear.weight, atol=0.01)


@pytest.mark.parametrize("n_classes", [1, 2])
def test_few_classes_and_few_rows(n_classes: int) -> None:
    labels = np.arange(8) % n_classes
    features = RANDOM.normal(size=(8, 4)).astype(np.float32)
    probe = end(fit_linear_probe(features, labels, 2, np.arange(8) % 4))
    assert np.isfinite(probe.linear.logits(features)).all()
    assert bool(probe.scores) == (n_classes == 2)
    single = end(fit_linear_probe(features[:1], labels[:1], 2, np.zeros(1, np.int64)))
    assert int(single.linear.logits(features).argmax(1)[0]) == 0


def test_folds_keep_groups_and_equal_images_whole() -> None:
    dataset = replace(data(), groups=np.arange(96, dtype=np.int64) // 6)
    rows = np.arange(5, 90, dtype=np.int64)
    fold = folds_of_rows(dataset, rows, 5)
    assert dataset.groups is not None
    for group in np.unique(dataset.groups[rows]):
        assert len(np.unique(fold[dataset.groups[rows] == group])) == 1
    assert len(np.unique(fold)) == 5
    doubled = data().take(np.concatenate([np.arange(48), np.arange(48)]))
    twice = folds_of_rows(doubled, np.arange(96, dtype=np.int64), 5)
    assert np.array_equal(twice[:48], twice[48:])


def test_a_probe_is_a_run_like_any_other(tmp_path: Path) -> None:
    dataset = data()
    run = probed(tmp_path, dataset)
    assert run.status()[0] == "complete"
    classifier = load_classifier(run)
    rows = run.split.val
    logits = predict_logits(classifier, dataset.images, rows)
    accuracy = float((logits.argmax(1) == dataset.labels[rows]).mean())
    assert accuracy == run.history()[0]["val_accuracy"] == read_json(run.file("scores-val.json"))["top1"]["value"]
    assert run.history()[0]["train_accuracy"] > 0.5
    again = probed(tmp_path, dataset)
    assert again.weights_hash() == run.weights_hash()
    scores = open_test(run, seal(data(40)))
    assert (scores.n, scores.openings) == (40, 1)
    whole = refit(run)
    finish(whole, dataset)
    assert len(whole.split.val) == 0
    with refused("has no epochs to train on for", f'"made" --recipe finetune --start {run.id} --epochs 5'):
        extend(run, 5.0)
    mean = classifier.mean.flatten().tolist()
    assert mean == [0.5, 0.5, 0.5]  # that of the body, not of the data


def test_a_training_may_start_from_a_probe_and_a_probe_from_a_training(tmp_path: Path) -> None:
    probe = probed(tmp_path)
    tuned = new_run(
        tmp_path, Recipe(model=TINY, normalize="body", augment="none", sizes="100%", batch_size=32, epochs=1.0,
                         optimizer="sgd", lr=1e-6, start=probe.id), data()
    )  # fmt: skip
    finish(tuned, data())
    before, after = (load_classifier(run).state_dict()["net.head.weight"] for run in (probe, tuned))
    torch.testing.assert_close(before, after, rtol=1e-3, atol=1e-3)
    above = probed(tmp_path, recipe=PROBE.changed(start=tuned.id))
    body = "net.body.layer1.0.conv1.weight"
    assert torch.equal(load_classifier(above).state_dict()[body], load_classifier(tuned).state_dict()[body])
    assert above.experiment.start_weights == tuned.weights_hash()


@pytest.mark.slow
def test_killed_while_features_are_computed_it_goes_on_and_gives_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features_module, "CHUNK", 16)
    dataset = data()
    whole = probed(tmp_path / "a", dataset)
    monkeypatch.setenv("POCKETLENS_HOME", str(tmp_path / "home"))
    killed = new_run(tmp_path / "b", PROBE, dataset)
    for event in train(killed, dataset):
        if isinstance(event, Step) and event.done >= 48:
            break
    assert killed.status()[0] == "stopped"
    asked: list[int] = []
    put = features_module.FeatureStore.put
    monkeypatch.setattr(
        features_module.FeatureStore, "put", lambda self, rows, values: (asked.extend(rows), put(self, rows, values))
    )
    finish(killed, dataset)
    assert len(asked) == 48  # the other half was there
    assert {name: hash_ for name, hash_ in contents(killed).items() if name != "experiment.json"} == {
        name: hash_ for name, hash_ in contents(whole).items() if name != "experiment.json"
    }


def test_features_do_not_depend_on_the_order_or_the_neighbours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = data()
    classifier = load_classifier(probed(tmp_path, dataset))
    rows = np.arange(96, dtype=np.int64)
    store = end(compute_features(classifier, dataset, rows))
    monkeypatch.setenv("POCKETLENS_HOME", str(tmp_path / "home"))
    few = end(compute_features(classifier, dataset, rows[[50, 7]]))
    assert np.array_equal(few.take(rows[[50, 7]]), store.take(rows[[50, 7]]))
    assert few.absent(rows).tolist() == [row for row in range(96) if row not in (7, 50)]
    halves = end(compute_features(classifier, dataset, rows, precision="bf16"))
    assert halves.folder != store.folder
    assert np.allclose(halves.take(rows), store.take(rows), rtol=0.05, atol=0.05)
    assert (halves.folder / "features.bin").stat().st_size * 2 == (store.folder / "features.bin").stat().st_size


def test_other_pixels_or_another_body_have_features_of_their_own(tmp_path: Path) -> None:
    dataset = data()
    classifier = load_classifier(probed(tmp_path, dataset))
    rows = np.arange(8, dtype=np.int64)
    first = end(compute_features(classifier, dataset, rows))
    brighter = replace(dataset, images=dataset.images + 1)  # with the same hashes, as of the same sources
    assert end(compute_features(classifier, brighter, rows)).folder != first.folder
    with torch.no_grad():
        classifier.net.head.weight.zero_()  # the head does not matter
    assert end(compute_features(classifier, dataset, rows)).folder == first.folder
    with torch.no_grad():
        next(iter(classifier.net.body.parameters())).add_(1)  # type: ignore[union-attr]
    assert end(compute_features(classifier, dataset, rows)).folder != first.folder


def test_no_room_for_the_features_is_said_before_work_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = data()
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    with refused("must be writable and have room for the features", "set POCKETLENS_HOME to another folder"):
        probed(tmp_path, dataset)
    monkeypatch.undo()
    assert {run.status()[0] for run in all_runs(tmp_path)} == {"new"}  # the command removes such a run
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("POCKETLENS_HOME", str(blocked))
    assert cache_folder().parent == blocked
    with refused("must be writable and have room for the features"):
        probed(tmp_path, dataset)


def test_what_a_probe_cannot_do_is_refused(tmp_path: Path) -> None:
    deep = PROBE.changed(model="vgg(depth=11, width=0.125, dense=16)", normalize="standardize")
    with refused("head=probe needs a model whose head is one linear layer"):
        probed(tmp_path, recipe=deep)
    small = PROBE.changed(prepare="middle(224)")
    with refused("the images must be at least 224 x 224 px, they are 32 x 32", "--prepare"):
        probed(tmp_path, recipe=small)
