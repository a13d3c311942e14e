"""Short models judge rows that they have not seen; the same every time, and with equal images kept together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from made_images import refused
from made_trainings import made_data

from pocketlens.audit.class_difficulty import measure_ease
from pocketlens.audit.cross_validation import fold_rows, short_recipe, train_folds, why_not
from pocketlens.data.dataset import hash_images
from pocketlens.events import finish
from pocketlens.training.classifier import extract_features

DATASET = made_data(96)


def test_folds_are_stratified_and_keep_what_belongs_together() -> None:
    images = DATASET.images.copy()
    images[4] = images[0]  # equal images, of one class
    dataset = replace(DATASET, images=images, hashes=hash_images(images), groups=np.arange(96) // 4 % 12)
    fold = fold_rows(dataset, 3, seed=0)
    assert fold[0] == fold[4]
    assert all(len(set(fold[dataset.groups == group])) == 1 for group in range(12))
    plain = fold_rows(DATASET, 3, seed=0)
    counts = np.stack([np.bincount(DATASET.labels[plain == number], minlength=4) for number in range(3)])
    assert (counts == 8).all()
    assert np.array_equal(plain, fold_rows(DATASET, 3, seed=0))
    assert not np.array_equal(plain, fold_rows(DATASET, 3, seed=1))


def test_every_row_is_judged_by_a_model_that_was_not_trained_on_it() -> None:
    work = train_folds(DATASET)
    first = next(work)
    assert (first.done, first.total) == (1, 3 * 10)
    found = finish(work)
    assert found.logits.shape == (96, 4)
    again = finish(train_folds(DATASET))
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
    # what a row's own label is must not reach the model that judges it
    held = np.flatnonzero(found.fold == 0)
    labels = DATASET.labels.copy()
    labels[held] = (labels[held] + 1) % 4
    strata = DATASET.labels
    other = finish(train_folds(replace(DATASET, labels=labels, strata=strata)))
    assert np.array_equal(other.fold, found.fold)
    assert np.array_equal(other.logits[held], found.logits[held])


def test_ease_counts_what_both_judges_get_right() -> None:
    found = finish(train_folds(DATASET))
    perfect = np.full((96, 4), -9.0, np.float32)
    perfect[np.arange(96), DATASET.labels] = 9
    wrong = np.flatnonzero(DATASET.labels == 2)[:6]
    perfect[wrong] = [9, -9, -9, -9]
    features = np.eye(4, dtype=np.float32)[DATASET.labels]  # neighbours are always right
    ease = finish(measure_ease(DATASET, replace(found, logits=perfect, features=features)))
    assert [each.label for each in ease] == [2, 0, 1, 3]
    assert ease[0].head.value == 18 / 24
    assert (ease[0].taken_for, ease[0].taken) == (0, 6)
    assert (ease[1].taken_for, ease[1].taken) == (None, 0)
    assert all(each.neighbours.value == 1 for each in ease)


def test_data_that_is_too_small_is_refused_in_words() -> None:
    assert why_not(DATASET) is None
    assert "only one class" in (why_not(replace(DATASET, labels=DATASET.labels * 0)) or "")
    few = DATASET.take(np.arange(10))
    assert "at least 60" in (why_not(few) or "")
    with refused("at least 60"):
        finish(train_folds(few))


def test_the_recipe_follows_size_and_number() -> None:
    assert short_recipe(made_data(96, (40, 30, 3))).prepare == "resize(size=(27, 20))"
    assert short_recipe(made_data(96, (6, 12, 1))).prepare == "resize(size=(8, 12))"
    assert short_recipe(DATASET).prepare == "none"
    assert short_recipe(DATASET).epochs == 10
