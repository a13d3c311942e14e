"""Copies of training images and how often they are drawn anew; runs of equal numbers of steps; normalisation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from made_images import refused
from made_trainings import PLAIN, finish, made_data, new_run
from test_exact import augmented

from pocketlens.data.dataset import Dataset, hash_images
from pocketlens.recipe import Experiment, Recipe
from pocketlens.training.classifier import load_classifier, new_classifier, predict_logits
from pocketlens.training.device_images import DeviceImages
from pocketlens.training.state import make_plan

SHAPE = (12, 12, 3)


def same(first: dict[int, torch.Tensor], second: dict[int, torch.Tensor]) -> float:
    """The share of rows that look alike."""
    return sum(torch.equal(first[row], second[row]) for row in first) / len(first)


@pytest.mark.parametrize("refresh", [0, 1, 2, 3])
def test_augmentations_are_drawn_anew_every_so_many_epochs(refresh: int) -> None:
    """0 draws them once: the training set grows by fixed copies, as the reports did it."""
    recipe = PLAIN.changed(augment="crop(pad=3)", replicate=2, refresh=refresh)
    epochs = [augmented(recipe, epoch) for epoch in range(6)]
    for before, epoch in zip(range(5), range(1, 6), strict=True):
        is_new = refresh > 0 and epoch % refresh == 0
        assert (same(epochs[before], epochs[epoch]) == 1) != is_new, (before, epoch)
    if refresh == 0:
        assert same(epochs[0], epochs[5]) == 1


def test_copies_add_rows_and_each_has_its_own_draw() -> None:
    made = augmented(PLAIN.changed(augment="rotation(degrees=90)", replicate=3, refresh=0), epoch=0)
    n = len(made) // 4
    assert n == 48
    for row in range(n):
        copies = [made[row + n * copy] for copy in range(4)]
        assert len({image.numpy().tobytes() for image in copies}) == 4
    plain = augmented(PLAIN.changed(augment="rotation(degrees=90)"), epoch=0)
    assert all(torch.equal(plain[row], made[row]) for row in plain)  # the first copy is what there was without


@pytest.mark.parametrize("replicate", [1, 2, 4])
def test_runs_with_copies_take_as_many_steps_in_so_many_fewer_epochs(replicate: int) -> None:
    """`epochs / (replicate + 1)` gives equal steps where batches come out even, and differs by rounding elsewhere."""
    base = Recipe(batch_size=100, epochs=20.0)
    grown = base.changed(replicate=replicate, epochs=20.0 / (replicate + 1))
    assert make_plan(grown, 1000, SHAPE, None).n_steps == make_plan(base, 1000, SHAPE, None).n_steps == 200
    odd = base.changed(batch_size=96)
    steps, per_epoch = make_plan(odd, 1000, SHAPE, None).n_steps, make_plan(grown, 1000, SHAPE, None).steps_per_epoch
    assert make_plan(grown, 1000, SHAPE, steps).n_steps == steps == 220  # Experiment.n_steps: to the step
    exact = grown.changed(epochs=steps / per_epoch)
    assert make_plan(exact, 1000, SHAPE, None).n_steps == steps  # the same by epochs alone


def test_equal_steps_hold_in_real_trainings(tmp_path: Path) -> None:
    counts = []
    for replicate, epochs in ((0, 6.0), (1, 3.0), (2, 2.0)):
        run = new_run(tmp_path, PLAIN.changed(augment="crop(pad=1)", replicate=replicate, refresh=0, epochs=epochs))
        finish(run)
        counts.append(run.history()[-1]["step"])
    assert counts == [18, 18, 18]


# ---- normalisation


def bright_validation() -> tuple[Dataset, np.ndarray]:
    """Dark training rows; the other rows are white, and must not count."""
    dataset = made_data(40, SHAPE)
    images = dataset.images.copy()
    images[30:] = 255
    return Dataset("made", images, dataset.labels, dataset.classes, hash_images(images)), np.arange(30)


def test_normalisation_is_fitted_on_training_rows_alone() -> None:
    dataset, train = bright_validation()
    rows = DeviceImages(dataset.images, "none", "cpu")
    dark = dataset.images[train] / 255
    classifiers = {
        way: new_classifier(Experiment("made", PLAIN.changed(normalize=way)), dataset, rows, train)
        for way in ("standardize", "minmax", "none")
    }
    fitted = classifiers["standardize"]
    np.testing.assert_allclose(fitted.mean.flatten(), dark.mean((0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(fitted.std.flatten(), dark.std((0, 1, 2)), rtol=1e-5)
    images, seen = torch.from_numpy(dark).permute(0, 3, 1, 2).float(), []
    for way, (low, high, middle) in {"standardize": (-3, 5, 0), "minmax": (0, 1, 0.25), "none": (0, 255, 63)}.items():
        classifier = classifiers[way]
        classifier.net.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        classifier(images)
        assert low <= float(seen[-1].min()) < float(seen[-1].max()) <= high
        assert float(seen[-1].mean()) == pytest.approx(middle, abs=0.15 * high)
    torch.testing.assert_close(seen[1], images)  # min-max: 0..1 as they are
    torch.testing.assert_close(seen[2], 255 * images)  # none: levels
    torch.testing.assert_close(seen[0].mean((0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(seen[0].std((0, 2, 3)), torch.ones(3), atol=1e-3, rtol=0)


@pytest.mark.parametrize("way", ["standardize", "minmax", "none"])
def test_normalisation_is_stored_with_the_model(tmp_path: Path, way: str) -> None:
    run = new_run(tmp_path, PLAIN.changed(normalize=way, epochs=1.0))
    finish(run)
    dataset, first, second = made_data(), load_classifier(run), load_classifier(run)
    assert torch.equal(first.mean, second.mean)
    if way == "standardize":
        train = dataset.images[run.split.train] / 255
        np.testing.assert_allclose(first.mean.flatten(), train.mean((0, 1, 2)), rtol=1e-5)
    else:
        assert first.mean.flatten().tolist() == [0.0] * 3
        assert first.std.flatten().tolist() == pytest.approx([1.0 if way == "minmax" else 1 / 255] * 3)
    darker = dataset.images // 2  # what is predicted later is normalised by training's numbers, not by its own
    one = predict_logits(first, darker[:1])
    np.testing.assert_allclose(one, predict_logits(first, darker)[:1], rtol=1e-4, atol=1e-5)


def test_an_unknown_normalisation_is_one_line() -> None:
    with refused("normalize", "zscore"):
        Recipe(normalize="zscore")
