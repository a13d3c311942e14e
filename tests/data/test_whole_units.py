"""Held-out parts of whole groups: every class gives its share as nearly as they allow, and no class loses its rows."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from made_images import random_images

from pocketlens.data.dataset import Dataset, hash_images
from pocketlens.data.split import hold_out, hold_out_test, make_split

FRACTIONS = st.sampled_from([0.1, 0.2, 0.3, 0.5])


def grouped(rows: list[tuple[int, int]], seed: int = 0) -> Dataset:
    """A data set with one row for each (class, group)."""
    labels, groups = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    images = random_images(len(rows), (3, 3, 1), seed)
    classes = tuple(f"c{label}" for label in range(int(labels.max()) + 1))
    return Dataset("made", images, labels, classes, hash_images(images), groups=groups)


def of_sizes(*classes: list[int], seed: int = 0) -> Dataset:
    """A data set with groups of these sizes in each class; no group has images of two classes."""
    rows, group = [], 0
    for label, sizes in enumerate(classes):
        for size in sizes:
            rows += [(label, group)] * size
            group += 1
    return grouped(rows, seed)


def counts(dataset: Dataset, held: np.ndarray) -> np.ndarray:
    return np.bincount(dataset.labels[held], minlength=len(dataset.classes))


@pytest.mark.parametrize("seed", range(6))
def test_two_classes_of_few_patients_have_rows_in_every_part(seed: int) -> None:
    patients = of_sizes([30, 14, 10, 8, 6], [34, 12, 9, 8], seed=seed)
    test = hold_out_test(patients.hashes, {"labels": patients.labels, "groups": patients.groups}, patients.classes)
    assert np.all(np.abs(counts(patients, test) - [13.6, 12.6]) <= 1)
    left = patients.take(np.flatnonzero(~test))
    split = make_split(left)
    assert np.all(np.bincount(left.labels[split.val], minlength=2) > 0)
    assert np.all(np.bincount(left.labels[split.train], minlength=2) > 0)
    for part in (split.train, split.val):
        assert not set(patients.groups[test]) & set(left.groups[part])
    assert not set(left.groups[split.train]) & set(left.groups[split.val])


def test_version_1_is_the_rule_of_before() -> None:
    patients = of_sizes([30, 14, 10, 8, 6], [34, 12, 9, 8], seed=3)
    old = [hold_out(patients, fraction=0.2, seed=s, salt="test", version=1) for s in range(20)]
    assert any((counts(patients, held) == 0).any() for held in old)
    new = [hold_out(patients, fraction=0.2, seed=s, salt="test") for s in range(20)]
    assert all((counts(patients, held) > 0).all() for held in new)


@settings(max_examples=60, deadline=None)
@given(
    classes=st.lists(st.lists(st.integers(1, 12), min_size=1, max_size=7), min_size=1, max_size=4),
    fraction=FRACTIONS,
    seed=st.integers(0, 99),
)
def test_a_class_with_its_own_groups_gives_the_nearest_sum(
    classes: list[list[int]], fraction: float, seed: int
) -> None:
    dataset = of_sizes(*classes, seed=seed)
    held = counts(dataset, hold_out(dataset, fraction=fraction, seed=seed, salt="val"))
    for label, sizes in enumerate(classes):
        wanted, whole = fraction * sum(sizes), sum(sizes)
        sums = {sum(compress) for compress in _subsets(sizes)} - {0, whole}
        if not sums:
            assert held[label] == 0
            continue
        assert held[label] in sums
        assert abs(held[label] - wanted) <= max(1, min(abs(each - wanted) for each in sums))


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 7)), min_size=2, max_size=60),
    fraction=FRACTIONS,
    seed=st.integers(0, 99),
)
def test_no_class_loses_its_rows_where_a_choice_keeps_them(
    rows: list[tuple[int, int]], fraction: float, seed: int
) -> None:
    dataset = grouped(rows, seed)
    held = hold_out(dataset, fraction=fraction, seed=seed, salt="val")
    groups = np.unique(dataset.groups)
    assert all(len(set(held[dataset.groups == group])) == 1 for group in groups)
    all_rows = counts(dataset, np.ones(len(dataset), bool))
    can_give = np.array([len(set(dataset.groups[dataset.labels == label])) > 1 for label in range(len(all_rows))])

    def n_lost(chosen: np.ndarray) -> int | None:
        given_rows = counts(dataset, chosen)
        return None if (given_rows == all_rows)[all_rows > 0].any() else int(((given_rows == 0) & can_give).sum())

    possible = [
        n_lost(np.isin(dataset.groups, groups[np.array(mask, bool)])) for mask in product((0, 1), repeat=len(groups))
    ]
    assert n_lost(held) == min(lost for lost in possible if lost is not None)


@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 30)), min_size=2, max_size=80),
    with_groups=st.booleans(),
    seed=st.integers(0, 99),
)
def test_the_order_of_the_files_does_not_matter(rows: list[tuple[int, int]], with_groups: bool, seed: int) -> None:
    dataset = grouped(rows, seed)
    dataset = dataset if with_groups else replace(dataset, groups=None)
    order = np.random.default_rng(seed).permutation(len(rows))
    held = hold_out(dataset, fraction=0.2, seed=seed, salt="val")
    assert np.array_equal(hold_out(dataset.take(order), fraction=0.2, seed=seed, salt="val"), held[order])


@settings(max_examples=60, deadline=None)
@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=40), fraction=FRACTIONS, seed=st.integers(0, 99))
@example(sizes=[1, 1, 1, 5], fraction=0.5, seed=0)
@example(sizes=[1] * 10 + [9], fraction=0.2, seed=0)
def test_without_groups_the_share_holds_over_all_rows(sizes: list[int], fraction: float, seed: int) -> None:
    dataset = of_sizes(*[[1] * size for size in sizes], seed=seed)
    held = hold_out(replace(dataset, groups=None), fraction=fraction, seed=seed, salt="val")
    n_given, n = counts(dataset, held), np.array(sizes)
    assert (n_given < n).all()
    most = int(np.maximum(n - 1, 0).sum())
    total = fraction * n.sum()
    assert n_given.sum() >= min(most, int(total >= 0.5), int(total * 0.95))
    assert n_given.sum() <= max(np.ceil(total * 1.05), 1.5 * total)
    shares = np.ceil(fraction * n + 1e-9)
    if np.minimum(n - 1, shares).sum() >= np.floor(total):  # else others give more for classes of one image
        assert (n_given <= shares).all()
    if (n > 1).sum() <= total * 1.5:
        assert (n_given[n > 1] > 0).all()


@pytest.mark.parametrize(("fraction", "n_held"), [(0.1, 45), (0.17, 77), (0.3, 150)])
def test_many_classes_of_few_images_give_a_share_and_not_a_step(fraction: float, n_held: int) -> None:
    dataset = replace(of_sizes(*[[1] * 3] * 150), groups=None)
    held = counts(dataset, hold_out(dataset, fraction=fraction, seed=0, salt="val"))
    assert held.sum() == n_held
    assert held.max() == 1
    if n_held == 150:
        return
    others = counts(dataset, hold_out(dataset, fraction=fraction, seed=1, salt="val"))
    assert (held != others).any()  # the seed says which classes give a row


def test_four_images_of_each_of_many_classes_are_shared_out() -> None:
    dataset = replace(of_sizes(*[[1] * 4] * 150), groups=None)
    test = hold_out_test(dataset.hashes, {"labels": dataset.labels}, dataset.classes)
    assert (counts(dataset, test) == 1).all()
    split = make_split(dataset.take(np.flatnonzero(~test)))
    assert (len(split.train), len(split.val)) == (405, 45)
    (note,) = split.notes
    assert "105 of 150 classes have no validation images (development images: 3 of 'c" in note


def test_plain_classes_whose_shares_are_nearly_whole_keep_the_rows_of_version_1() -> None:
    sizes = [174, 178, 182, 177, 183, 181]
    dataset = replace(of_sizes(*[[1] * size for size in sizes]), groups=None)
    for fraction in (0.1, 0.2, 0.25, 0.5):
        old, new = (hold_out(dataset, fraction=fraction, seed=0, salt="val", version=v) for v in (1, 2))
        assert np.array_equal(old, new)


def test_equal_images_are_a_group_that_may_not_fit() -> None:
    dataset = replace(of_sizes([1] * 40, [1] * 40), groups=None)
    images = dataset.images.copy()
    images[:25] = images[0]
    dataset = replace(dataset, images=images, hashes=hash_images(images))
    for seed in range(8):
        held = hold_out(dataset, fraction=0.2, seed=seed, salt="val")
        assert counts(dataset, held).tolist() == [8, 8]
        assert not held[:25].any()


def test_the_test_part_leaves_groups_for_validation() -> None:
    dataset = of_sizes([40, 6, 6], [20, 20], [10])
    test = hold_out_test(dataset.hashes, {"labels": dataset.labels, "groups": dataset.groups}, dataset.classes)
    assert counts(dataset, test).tolist() == [6, 20, 0]
    left = dataset.take(np.flatnonzero(~test))
    assert np.bincount(left.labels[make_split(left).val], minlength=3).tolist() == [6, 0, 0]


@pytest.mark.parametrize("n_classes", [2, 12])
def test_many_groups_with_rows_of_all_classes(n_classes: int) -> None:
    rng = np.random.default_rng(n_classes)
    rows = [(int(label), int(group)) for label, group in rng.integers(0, (n_classes, 60), (1500, 2))]
    dataset = grouped(rows)
    all_rows = counts(dataset, np.ones(len(rows), bool))
    for fraction in (0.1, 0.2):
        held = counts(dataset, hold_out(dataset, fraction=fraction, seed=0, salt="val"))
        assert np.abs(held - fraction * all_rows).max() <= 5


def test_hundreds_of_groups_of_one_class_add_up_exactly() -> None:
    rng = np.random.default_rng(0)
    dataset = of_sizes(rng.integers(1, 40, 300).tolist(), rng.integers(20, 40, 150).tolist())
    n_rows = counts(dataset, np.ones(len(dataset), bool))
    for seed in range(3):
        held = counts(dataset, hold_out(dataset, fraction=0.1, seed=seed, salt="val"))
        assert (np.abs(held - 0.1 * n_rows) <= np.maximum(1, 0.001 * n_rows)).all()


def _subsets(sizes: list[int]) -> list[list[int]]:
    masks = product((False, True), repeat=len(sizes))
    return [[size for size, taken in zip(sizes, mask, strict=True) if taken] for mask in masks]
