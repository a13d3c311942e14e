"""Models predict rows that they were not trained on; reproducibly, and with equal images in one fold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from made_images import refused
from made_trainings import made_data

from pocketlens.audit.class_difficulty import measure_class_difficulty
from pocketlens.audit.cross_validation import cross_validate, fold_recipe, obstacle
from pocketlens.data.dataset import Dataset, hash_images
from pocketlens.data.folds import assign_folds
from pocketlens.events import finish
from pocketlens.training.classifier import extract_features

DATASET = made_data(96)


def test_folds_are_stratified_and_keep_what_belongs_together() -> None:
    images = DATASET.images.copy()
    images[4] = images[0]  # equal images, of one class
    dataset = replace(DATASET, images=images, hashes=hash_images(images), groups=np.arange(96) // 4 % 12)
    fold = assign_folds(dataset, 3, seed=0)
    assert fold[0] == fold[4]
    assert all(len(set(fold[dataset.groups == group])) == 1 for group in range(12))
    plain = assign_folds(DATASET, 3, seed=0)
    counts = np.stack([np.bincount(DATASET.labels[plain == number], minlength=4) for number in range(3)])
    assert (counts == 8).all()
    assert np.array_equal(plain, assign_folds(DATASET, 3, seed=0))
    assert not np.array_equal(plain, assign_folds(DATASET, 3, seed=1))


@pytest.mark.slow
def test_every_row_is_predicted_by_a_model_that_was_not_trained_on_it() -> None:
    work = cross_validate(DATASET)
    first = next(work)
    assert (first.done, first.total) == (1, 3 * 10)
    found = finish(work)
    assert found.logits.shape == (96, 4)
    again = finish(cross_validate(DATASET))
    assert found.logits.tobytes() == again.logits.tobytes()
    assert found.features.tobytes() == again.features.tobytes()
    for number, model in enumerate(found.models):
        held = np.flatnonzero(found.fold == number)
        logits, features = extract_features(model, DATASET.images[held])
        assert np.allclose(logits, found.logits[held], atol=1e-5)
        head = model.net.get_submodule("head")
        with torch.inference_mode():
            expected = head(torch.from_numpy(features)) * model.net.scale
        assert np.allclose(expected.numpy(), logits, atol=1e-5)  # features are what the head sees
    # what a row's own label is must not reach the model that predicts it
    held = np.flatnonzero(found.fold == 0)
    labels = DATASET.labels.copy()
    labels[held] = (labels[held] + 1) % 4
    strata = DATASET.labels
    other = finish(cross_validate(replace(DATASET, labels=labels, strata=strata)))
    assert np.array_equal(other.fold, found.fold)
    assert np.array_equal(other.logits[held], found.logits[held])


def test_difficulty_counts_what_models_and_neighbours_recognise() -> None:
    found = finish(cross_validate(DATASET))
    perfect = np.full((96, 4), -9.0, np.float32)
    perfect[np.arange(96), DATASET.labels] = 9
    wrong = np.flatnonzero(DATASET.labels == 2)[:6]
    perfect[wrong] = [9, -9, -9, -9]
    features = np.eye(4, dtype=np.float32)[DATASET.labels]  # neighbours are always right
    difficulty = finish(measure_class_difficulty(DATASET, replace(found, logits=perfect, features=features)))
    assert [each.label for each in difficulty] == [2, 0, 1, 3]
    assert difficulty[0].model_recall.value == 18 / 24
    assert (difficulty[0].confused_with, difficulty[0].n_confused) == (0, 6)
    assert (difficulty[1].confused_with, difficulty[1].n_confused) == (None, 0)
    assert all(each.neighbour_recall.value == 1 for each in difficulty)


def test_data_that_is_too_small_is_refused_in_words() -> None:
    assert obstacle(DATASET) is None
    assert "only one class" in (obstacle(replace(DATASET, labels=DATASET.labels * 0)) or "")
    few = DATASET.take(np.arange(10))
    assert "at least 60" in (obstacle(few) or "")
    with refused("at least 60"):
        finish(cross_validate(few))


def many(n: int) -> Dataset:
    """So many images of one value, which take no memory."""
    images, hashes = np.broadcast_to(np.uint8(0), (n, 8, 8, 3)), np.broadcast_to(np.uint8(0), (n, 16))
    return Dataset("made", images, np.zeros(n, np.int64), ("a",), hashes)


def test_the_recipe_follows_size_and_number() -> None:
    assert fold_recipe(made_data(96, (40, 30, 3))).prepare == "resize(size=(27, 20))"
    assert fold_recipe(made_data(96, (6, 12, 1))).prepare == "resize(size=(8, 12))"
    assert fold_recipe(DATASET).prepare == "none"
    assert fold_recipe(DATASET).epochs == 10
    epochs = [fold_recipe(many(n)).epochs for n in (50_000, 100_000, 200_000, 1_000_000)]
    assert epochs == [4, 4, 2, 1]  # of very many images, each is seen as often as time allows
