"""Uneven data: class weights and balanced sampling, what they are, and that a rare class is found more often."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from made_trainings import PLAIN

from pocketlens.data.dataset import Dataset, hash_images
from pocketlens.data.split import Split
from pocketlens.draws import balanced_order
from pocketlens.events import Progress
from pocketlens.recipe import Experiment
from pocketlens.scoring.predictions import Predictions
from pocketlens.training.fit import _batch, _gradients, _order, fit
from pocketlens.training.state import State


def uneven_digits(n_rare: int = 10) -> tuple[Dataset, Split]:
    """Digits 8 and 3: 12 times as many of the one; the validation part is even."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    threes, eights = (np.flatnonzero(digits.target == digit) for digit in (3, 8))
    rows = np.concatenate([threes[:120], eights[:n_rare], threes[120:174], eights[120:174]])
    images = (digits.images[rows, :, :, None] * 15).astype(np.uint8)
    labels = (digits.target[rows] == 8).astype(np.int64)
    dataset = Dataset("digits", images, labels, ("three", "eight"), hash_images(images))
    n_train = 120 + n_rare
    return dataset, Split(np.arange(n_train), np.arange(n_train, len(rows)), 0, 0.5)


def state(**changes: Any) -> State:
    dataset, split = uneven_digits()
    return State(Experiment("digits", PLAIN.changed(**changes), seed=1), dataset, split, "cpu")


def test_weights_are_scikit_learns_and_have_a_mean_of_1() -> None:
    from sklearn.utils.class_weight import compute_class_weight

    weights = state(class_weight="balanced").class_weights
    assert weights is not None
    labels = np.repeat([0, 1], [120, 10])  # of the training rows alone
    reference = compute_class_weight("balanced", classes=np.array([0, 1]), y=labels)
    torch.testing.assert_close(weights.double(), torch.from_numpy(reference))
    assert float(weights[labels].mean()) == pytest.approx(1)
    assert state().class_weights is None


def test_a_class_without_training_rows_weighs_nothing_strange() -> None:
    dataset, split = uneven_digits()
    only = Split(split.train[:120], split.val, 0, 0.5)
    made = State(Experiment("digits", PLAIN.changed(class_weight="balanced")), dataset, only, "cpu")
    assert made.class_weights is not None
    assert made.class_weights[0] == 1
    assert made.class_weights.isfinite().all()


def test_an_image_counts_by_its_target_mixed_or_not() -> None:
    made = state(class_weight="balanced", augment="mixup")
    picked = torch.arange(made.plan.n_rows)
    images, targets = _batch(made, picked, 0)
    loss, logits = _gradients(made, made.classifier, picked, images, targets)
    assert made.class_weights is not None
    each = -(targets * logits.log_softmax(1)).sum(1) * 0.75 - 0.25 * logits.log_softmax(1).mean(1)
    torch.testing.assert_close(loss, (each * (targets @ made.class_weights)).mean())
    assert ((targets > 0) & (targets < 1)).any()


def test_balanced_order_draws_every_class_equally_and_each_row_in_turn() -> None:
    labels = torch.from_numpy(np.random.default_rng(0).permutation(np.repeat([0, 1, 4], [70, 25, 5])))
    for epoch in range(4):
        picked = balanced_order(labels, 3, epoch)
        assert len(picked) == len(labels) == 100
        counts = torch.bincount(labels[picked % 100], minlength=5)
        assert counts.tolist() in ([34, 33, 0, 0, 33], [33, 34, 0, 0, 33], [33, 33, 0, 0, 34])
        assert len(picked.unique()) == 100  # a row that comes again has another number, and so other augmentations
        turns = torch.bincount(picked % 100, minlength=100)
        for label in (0, 1, 4):
            of_class = turns[labels == label]
            assert int(of_class.max() - of_class.min()) <= 1
    orders = [balanced_order(labels, 3, epoch) for epoch in range(6)]
    assert torch.equal(balanced_order(labels, 3, 2), orders[2])
    assert not torch.equal(orders[0], orders[1])
    assert not torch.equal(balanced_order(labels, 4, 0), orders[0])
    seen = torch.cat([picked % 100 for picked in orders]).unique()
    assert len(seen) > 95  # over some epochs the common class has its turn as well


def test_a_row_that_is_drawn_again_is_augmented_anew() -> None:
    made = state(sampling="balanced", augment="crop(pad=2)", replicate=1)
    picked = _order(made, 0)
    assert len(picked) == 260
    row = int(picked[made.labels[made.train_rows][picked % 130] == 1][0]) % 130
    again = picked[picked % 130 == row]
    images, _ = _batch(made, again, 0)
    assert 12 <= len(again) <= 14  # 130 places for 20 virtual rows, two of them of this row
    assert len({image.numpy().tobytes() for image in images}) > 5


def test_an_epoch_has_as_many_images_as_ever() -> None:
    made = state(sampling="balanced", epochs=2.0)
    assert sum(event.n_images for event in fit(made) if isinstance(event, Progress)) == 260


@pytest.mark.parametrize("change", [{"class_weight": "balanced"}, {"sampling": "balanced"}])
def test_the_rare_class_is_found_more_often(change: dict[str, str]) -> None:
    def recall(**changes: str) -> float:
        made = state(epochs=6.0, lr=0.02, loss="cross_entropy", **changes)
        for _ in fit(made):
            pass
        from pocketlens.training.classifier import predict_logits

        logits = predict_logits(made.classifier, made.images, made.val_rows)
        predictions = Predictions("val", made.val_rows, made.val_labels, logits)
        rare = predictions.labels == 1
        return float((predictions.predicted[rare] == 1).mean())

    assert recall(**change) > recall() + 0.1
