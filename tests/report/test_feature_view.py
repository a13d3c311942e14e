"""The map of images and the nearest training images: of the right rows, within limits, and absent without error."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_runs import make_dataset, make_sealed
from made_trainings import PLAIN, made_data, new_run
from made_trainings import finish as finish_training
from test_gallery import shown_pixels
from test_report import check_gallery, read_page

import pocketlens as pl
from pocketlens.audit.run_features import feature_reader, multiply_adds
from pocketlens.data.dataset import Dataset
from pocketlens.data.split import make_split
from pocketlens.errors import PocketlensError
from pocketlens.evaluation.feature_map import SIDE, make_map, spread
from pocketlens.evaluation.open_test import open_test
from pocketlens.events import finish
from pocketlens.recipe import Experiment, read_recipe
from pocketlens.report import write_report
from pocketlens.report.run import feature_view
from pocketlens.report.run.facts import read_facts
from pocketlens.report.run.feature_view import NOTHING, FeatureView, view_features
from pocketlens.report.run.gallery import choose_rows
from pocketlens.scoring.predictions import read_predictions
from pocketlens.training.classifier import extract_features, load_classifier
from pocketlens.training.run import Run
from pocketlens.training.train import train

CLASSES = ("ant", "</script>", "cat", "dog")


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    files = tuple(f"<b>{row}.png" for row in range(240))
    return make_dataset(240, CLASSES, (8, 8, 3), files=files)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, dataset: Dataset) -> Run:
    """A network that was trained for a few steps, so that it is wrong about some."""
    split = make_split(dataset, val_fraction=0.3)
    experiment = Experiment(dataset.text, PLAIN.changed(epochs=0.5), data_fingerprint=dataset.fingerprint)
    run = Run.create(experiment, split, tmp_path_factory.mktemp("runs"))
    for _ in train(run, dataset):
        pass
    return run


def viewed(run: Run, *data: Any, unlimited: bool = False) -> FeatureView:
    facts = read_facts(run, *data)
    return finish(view_features(run, facts, data[0] if data else None, choose_rows(facts), unlimited=unlimited))


# ---- the map


def test_a_sample_has_the_share_of_each_class_and_of_its_mistakes() -> None:
    labels = np.repeat([0, 1, 2], [600, 300, 100])
    wrong = np.arange(1000) % 5 == 0
    kept = spread(labels, wrong, 100)
    assert np.bincount(labels[kept]).tolist() == [60, 30, 10]
    assert wrong[kept].sum() == 20
    assert kept.tolist() == sorted(set(kept.tolist())) == spread(labels, wrong, 100).tolist()
    assert spread(labels, wrong, 1000).tolist() == list(range(1000))


def test_images_with_like_features_lie_close_together() -> None:
    labels = np.arange(90) % 3
    features = (20 * np.eye(3)[labels] + np.random.default_rng(0).normal(size=(90, 3))).astype(np.float32)
    found = make_map(features, np.arange(90) + 5, 200)
    assert found is not None
    assert (found.places[0], found.n) == (5, 200)
    spots = np.stack([found.x, found.y], axis=1)
    assert spots.min() == 0
    assert spots.max() == SIDE
    middles = np.stack([spots[labels == k].mean(axis=0) for k in range(3)])
    away = np.linalg.norm(spots[:, None] - middles[None], axis=2)
    assert (away.argmin(axis=1) == labels).all()
    again = make_map(features, np.arange(90) + 5, 200)
    assert again is not None
    assert np.array_equal(again.x, found.x)


@pytest.mark.parametrize(
    "features",
    [np.ones((20, 4)), np.zeros((20, 4)), np.eye(3), np.full((20, 2), np.nan)],
    ids=["all the same", "nothing", "three images", "no numbers"],
)
def test_features_that_tell_nothing_give_no_map(features: np.ndarray) -> None:
    assert make_map(features.astype(np.float32), np.arange(len(features)), 20) is None


def test_a_single_feature_gives_a_map() -> None:
    found = make_map(np.arange(30, dtype=np.float32)[:, None], np.arange(30), 30)
    assert found is not None
    assert np.ptp(found.x) + np.ptp(found.y) >= SIDE


# ---- of a run


def test_the_features_are_those_that_the_head_takes(run: Run, dataset: Dataset) -> None:
    classifier = load_classifier(run)
    logits, features = extract_features(classifier, dataset.images, np.arange(50))
    found = feature_reader(classifier)(np.asarray(dataset.images[:50]))
    np.testing.assert_allclose(found, features, rtol=1e-5, atol=1e-6)
    assert len(logits) == len(found)
    assert multiply_adds(classifier) == 8 * 8 * 3 * 16 + 16 * 4


def test_the_nearest_training_images_are_those_of_all(run: Run, dataset: Dataset, tmp_path: Path) -> None:
    found = viewed(run, dataset)
    assert found.map is not None
    assert found.nearest is not None
    assert found.map.places.tolist() == list(range(len(run.split.val)))
    data = json.loads(read_page(write_report(run, dataset)).data)
    check_gallery(data)
    near, n_wrong = data["near"], sum(cause >= 0 for cause in data["cause"])
    assert 0 < n_wrong < len(run.split.val), "the test needs right and wrong images"
    assert (near["per"], len(near["nearest"])) == (3, 3 * n_wrong)
    assert data["map"]["at"] == found.map.places.tolist()
    trained = np.sort(run.split.train)
    features = extract_features(load_classifier(run), dataset.images, np.arange(240))[1]
    features = features - features[trained].mean(axis=0)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    for index in range(n_wrong):
        expected = trained[np.argsort(-unit[trained] @ unit[data["row"][index]], kind="stable")[:3]]
        places = near["nearest"][3 * index : 3 * index + 3]
        assert [near["row"][place] for place in places] == expected.tolist()
        assert [near["label"][place] for place in places] == dataset.labels[expected].tolist()
        assert [near["files"][place] for place in places] == [f"<b>{row}.png" for row in expected]
    picture = shown_pixels(near, 1).astype(int)
    assert np.abs(picture - dataset.images[near["row"][1]]).mean() < 40 < np.abs(picture - 255).mean()


@pytest.mark.slow
def test_pages_are_the_same_to_the_byte(run: Run, dataset: Dataset) -> None:
    assert write_report(run, dataset).read_bytes() == write_report(run, dataset).read_bytes()


def test_test_images_lie_on_the_map_once_they_are_opened(run: Run, dataset: Dataset, tmp_path: Path) -> None:
    sealed = make_sealed(90, CLASSES, shape=(8, 8, 3))
    shutil.copytree(run.path, tmp_path / "tested")
    tested = Run(tmp_path / "tested")
    open_test(tested, sealed)
    found = viewed(tested, dataset, sealed)
    assert found.map is not None
    assert found.nearest is not None
    assert len(found.map.places) == 90
    predictions = read_predictions(tested.file("predictions-test.safetensors"))
    assert len(found.nearest.nearest) == int((predictions.predicted != predictions.labels).sum())
    assert viewed(tested, None, sealed).nearest is None, "there are no training images"
    assert viewed(tested, None, sealed).map is not None


@pytest.mark.slow
def test_what_would_take_too_long_is_left_out_and_said(
    run: Run, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    cost = multiply_adds(load_classifier(run))
    monkeypatch.setattr(feature_view, "MAP_COST", 30 * cost)
    monkeypatch.setattr(feature_view, "NEAREST_COST", 30 * cost)
    monkeypatch.setattr(feature_view, "FEW_POINTS", 20)
    found = viewed(run, dataset)
    assert found.map is not None
    assert len(found.map.places) == 30
    assert found.nearest is None
    assert found.n_left_out == len(run.split.train)
    shown = read_page(write_report(run, dataset)).shown
    assert f"30 of the {len(run.split.val)} validation images" in shown
    assert f"report {run.id} --features" in shown
    whole = viewed(run, dataset, unlimited=True)
    assert whole.map is not None
    assert whole.nearest is not None
    assert len(whole.map.places) == len(run.split.val)
    monkeypatch.setattr(feature_view, "FEW_POINTS", 40)
    assert viewed(run, dataset).map is None
    assert "Map of images" not in read_page(write_report(run, dataset)).text["h2"]


def test_the_cached_features_of_a_probe_cost_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_view, "MAP_COST", 0)
    monkeypatch.setattr(feature_view, "NEAREST_COST", 0)
    data = made_data(96, shape=(32, 32, 3))
    recipe = read_recipe("probe").changed(model="timm(name='test_resnet')", prepare="none")
    probed = new_run(tmp_path, recipe, data, val_fraction=0.3)
    finish_training(probed, data)
    predictions = read_predictions(probed.file("predictions-val.safetensors"))
    assert (predictions.predicted != predictions.labels).any(), "the test needs a mistake"
    found = viewed(probed, data)
    assert found.map is not None
    assert found.nearest is not None
    assert len(found.map.places) == len(probed.split.val)
    monkeypatch.setenv("POCKETLENS_HOME", str(tmp_path / "home"))  # where no features are cached
    without = viewed(probed, data)
    assert without.map is None
    assert (without.nearest, without.n_left_out) == (None, len(probed.split.train))
    computed = viewed(probed, data, unlimited=True)
    assert computed.nearest is not None
    same = [each.rows[each.nearest].tolist() for each in (computed.nearest, found.nearest)]
    assert same[0] == same[1]


def test_where_features_cannot_be_had_there_is_neither(run: Run, dataset: Dataset, tmp_path: Path) -> None:
    assert viewed(run) is NOTHING
    assert "Map of images" not in read_page(write_report(run)).text["h2"]
    shutil.copytree(run.path, tmp_path / "damaged")
    damaged = Run(tmp_path / "damaged")
    for path in damaged.checkpoint_files():
        path.write_bytes(b"nothing")
    assert viewed(damaged, dataset) is NOTHING
    assert "Map of images" not in read_page(write_report(damaged, dataset)).text["h2"]


def test_several_runs_have_no_features(run: Run) -> None:
    with pytest.raises(PocketlensError, match="leave it out"):
        pl.report([run, run], page="features")
