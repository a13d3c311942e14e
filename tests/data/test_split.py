"""The split: stratified, groups whole, decided by the images alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from made_images import random_images, refused

from pocketlens.data.dataset import Dataset, hash_images
from pocketlens.data.split import Split, fewer_rows, hold_out, hold_out_test, make_split


def made(labels: np.ndarray, seed: int = 0) -> Dataset:
    images = random_images(len(labels), (4, 4, 1), seed)
    classes = tuple(f"c{i}" for i in range(int(labels.max(initial=0)) + 1))
    return Dataset("made", images, labels.astype(np.int64), classes, hash_images(images))


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.25, 0.5])
def test_every_class_gives_its_share(fraction: float) -> None:
    dataset = made(np.repeat(np.arange(5), 40))
    split = make_split(dataset, val_fraction=fraction)
    assert np.array_equal(np.sort(np.concatenate([split.train, split.val])), np.arange(200))
    assert (np.diff(split.train) > 0).all()
    assert (np.diff(split.val) > 0).all()
    counts = np.bincount(dataset.labels[split.val], minlength=5)
    assert (counts == round(40 * fraction)).all()


@pytest.mark.parametrize("fraction", [1.0, -0.1, 2.0, float("nan")])
def test_fractions_outside_are_refused(fraction: float) -> None:
    with refused("at least 0 and below 1"):
        make_split(made(np.arange(4) % 2), val_fraction=fraction)


def test_no_images_are_refused() -> None:
    with refused("at least one image"):
        make_split(made(np.zeros(0)))


def test_it_is_one_function_of_images_and_seed() -> None:
    dataset = made(np.arange(100) % 4)
    first = make_split(dataset, seed=1)
    assert np.array_equal(first.val, make_split(dataset, seed=1).val)
    assert not np.array_equal(first.val, make_split(dataset, seed=2).val)
    order = np.random.default_rng(0).permutation(100)
    shuffled = make_split(dataset.take(order), seed=1)
    assert set(order[shuffled.val].tolist()) == set(first.val.tolist())


def test_the_test_part_and_the_validation_rows_are_drawn_apart() -> None:
    dataset = made(np.arange(400) % 2)
    test = hold_out(dataset, fraction=0.2, seed=0, salt="test")
    validation = hold_out(dataset, fraction=0.2, seed=0, salt="val")
    assert 0 < (test & validation).sum() < test.sum() * 0.5


def test_groups_and_equal_images_stay_whole() -> None:
    dataset = made(np.arange(300) % 3)
    images = dataset.images.copy()
    images[1] = images[0]
    groups = np.arange(300) // 10
    groups[-1] = groups[0]
    whole = replace(dataset, images=images, hashes=hash_images(images), groups=groups)
    for seed in range(5):
        held = hold_out(whole, fraction=0.3, seed=seed, salt="val")
        assert all(len(set(held[groups == group])) == 1 for group in np.unique(groups))
        assert held[0] == held[1]
        assert 0.15 < held.mean() < 0.45


def test_classes_with_one_image_or_none_stay_in_training_and_are_noted() -> None:
    dataset = replace(made(np.array([0] * 20 + [1])), classes=("many", "one", "none"))
    split = make_split(dataset, val_fraction=0.5)
    assert 20 in split.train
    assert any("'one' has 1 training image" in note for note in split.notes)
    assert any("'none' has no training images, so it cannot be learned" in note for note in split.notes)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_tiny_data_sets_keep_something_to_train_on(n: int) -> None:
    split = make_split(made(np.arange(n)), val_fraction=0.5)
    assert len(split.train) == n
    assert len(make_split(made(np.zeros(n)), val_fraction=0.5).train) >= 1


def test_it_goes_through_json() -> None:
    import json

    split = make_split(made(np.arange(50) % 2), val_fraction=0.2, seed=4)
    again = Split.from_dict(json.loads(json.dumps(split.to_dict())))
    assert np.array_equal(again.train, split.train)
    assert np.array_equal(again.val, split.val)
    assert (again.seed, again.val_fraction, again.notes) == (4, 0.2, split.notes)


def test_fewer_rows_keep_the_share_of_each_class_and_nest() -> None:
    data = made(np.arange(900) % 3)
    split = make_split(data, val_fraction=0.2)
    few, more = (fewer_rows(split, data, n) for n in (91, 200))
    assert len(few.train) == 91
    assert set(few.train) <= set(more.train) <= set(split.train)
    assert np.array_equal(few.val, split.val)
    assert np.ptp(np.bincount(data.labels[few.train])) <= 1
    assert np.array_equal(few.train, fewer_rows(split, data, 91).train)
    assert "91 of 720" in few.notes[-1]
    assert fewer_rows(split, data, None) is split
    for n in (2, 721):
        with refused("rows must be from 3 (one per class) to 720"):
            fewer_rows(split, data, n)


def given(n: int, n_val: int) -> Dataset:
    return replace(made(np.arange(n) % 2), val=np.arange(n) >= n - n_val)


def test_given_validation_rows_are_the_validation_rows() -> None:
    dataset = given(40, 12)
    for seed in range(3):
        split = make_split(dataset, seed=seed)
        assert split.val.tolist() == list(range(28, 40))
        assert split.given
        assert split.val_fraction == 0.3
        assert split.notes == ()
    again = Split.from_dict(split.to_dict())
    assert again.given
    assert fewer_rows(split, dataset, 10).val.tolist() == split.val.tolist()
    assert fewer_rows(split, dataset, 10).given


@pytest.mark.parametrize(("fraction", "words"), [(0.1, "0.1 overrides the 12 given"), (0.0, "all development rows")])
def test_a_fraction_that_was_asked_for_wins_and_says_what_it_overrides(fraction: float, words: str) -> None:
    dataset = given(40, 12)
    split = make_split(dataset, val_fraction=fraction)
    assert not split.given
    assert words in split.notes[0]
    assert np.array_equal(split.val, make_split(replace(dataset, val=None), val_fraction=fraction).val)
    assert "given" not in split.to_dict()


def test_no_given_row_is_no_given_part() -> None:
    dataset = given(40, 0)
    assert len(make_split(dataset).val) == 4
    assert not make_split(dataset).notes


def test_given_validation_rows_are_never_held_out_for_the_test() -> None:
    dataset = given(60, 20)
    assert dataset.val is not None
    columns = {"labels": dataset.labels, "val": dataset.val.astype(np.int64)}
    held = hold_out_test(dataset.hashes, columns, dataset.classes)
    assert not held[dataset.val].any()
    assert held.sum() == 8


def test_rows_of_a_part_keep_their_given_place() -> None:
    dataset = replace(given(10, 4), folds=np.arange(10) // 5)
    part = dataset.take(np.array([2, 9]))
    assert part.val is not None
    assert part.folds is not None
    assert part.val.tolist() == [False, True]
    assert part.folds.tolist() == [0, 1]
