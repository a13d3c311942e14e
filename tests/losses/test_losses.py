"""Losses: torch's and the papers' numbers, soft targets, and finite gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pocketlens.losses.cross_entropy import cross_entropy
from pocketlens.losses.focal import focal
from pocketlens.losses.jsd import jsd
from pocketlens.losses.mean_squared_error import mean_squared_error


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(32, 5, generator=generator)
    return logits, torch.rand(32, 5, generator=generator).softmax(1)  # targets that are mixed


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_focal_at_gamma_0_is_cross_entropy(smoothing: float) -> None:
    logits, targets = batch()
    ours = focal(logits, targets, gamma=0.0, smoothing=smoothing)
    torch.testing.assert_close(ours, cross_entropy(logits, targets, smoothing=smoothing))


@pytest.mark.parametrize("gamma", [0.5, 2.0, 5.0])
def test_focal_counts_an_image_by_how_much_it_missed(gamma: float) -> None:
    logits, _ = batch()
    labels = torch.arange(32) % 5
    p = logits.double().softmax(1)[torch.arange(32), labels]
    expected = -((1 - p) ** gamma) * p.log()
    ours = focal(logits, torch.eye(5)[labels], gamma=gamma)
    torch.testing.assert_close(ours.double(), expected, rtol=1e-4, atol=1e-6)


def test_focal_mixes_the_losses_of_mixed_targets() -> None:
    logits, targets = batch()
    each = torch.stack([focal(logits, torch.eye(5)[k].expand(32, 5)) for k in range(5)], 1)  # (B, K)
    torch.testing.assert_close(focal(logits, targets), (targets * each).sum(1))
    smoothed = 0.9 * targets + 0.1 / 5
    torch.testing.assert_close(focal(logits, targets, smoothing=0.1), focal(logits, smoothed))


def test_mean_squared_error_is_that_of_probabilities() -> None:
    logits, targets = batch()
    expected = torch.nn.functional.mse_loss(logits.softmax(1), targets, reduction="none").mean(1)
    torch.testing.assert_close(mean_squared_error(logits, targets), expected)
    certain = torch.tensor([[100.0, 0.0], [0.0, 100.0]])
    assert mean_squared_error(certain, torch.tensor([[1.0, 0.0], [1.0, 0.0]])).tolist() == [0.0, 1.0]


@pytest.mark.parametrize(
    ("loss", "options"),
    [(focal, {"gamma": 0.5}), (focal, {"gamma": 2.0, "smoothing": 0.1}), (mean_squared_error, {})],
)
def test_losses_stay_finite_where_the_model_is_certain(loss: Any, options: dict[str, float]) -> None:
    logits = torch.tensor([[200.0, -200.0], [-200.0, 200.0], [0.0, 0.0]], requires_grad=True)
    values = loss(logits, torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.5, 0.5]]), **options)
    assert values.dtype == torch.float32
    assert values.isfinite().all()
    assert float(values[0].detach()) < float(values[1].detach())
    values.sum().backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("loss", [focal, mean_squared_error])
def test_losses_of_half_precision_logits_are_float32(loss: Any) -> None:
    logits, targets = batch()
    assert loss(logits.bfloat16(), targets).dtype == torch.float32


# ---- views


@pytest.mark.parametrize("n_views", [2, 3, 5])
def test_jsd_is_cross_entropy_and_scipys_divergence(n_views: int) -> None:
    from scipy.spatial.distance import jensenshannon
    from scipy.stats import entropy

    logits = 3 * torch.randn(n_views, 32, 5, generator=torch.Generator().manual_seed(1))
    _, targets = batch()
    p = logits.double().softmax(2).numpy()  # (V, B, K)
    divergence = np.mean([entropy(view, p.mean(0), axis=1) for view in p], axis=0)
    if n_views == 2:
        np.testing.assert_allclose(divergence, jensenshannon(p[0], p[1], axis=1) ** 2, rtol=1e-9)
    plain = cross_entropy(logits[0], targets, smoothing=0.1)
    ours = jsd(logits, targets, views=n_views, weight=7.0, smoothing=0.1)
    torch.testing.assert_close(ours, plain + 7 * torch.from_numpy(divergence).float(), rtol=1e-4, atol=1e-5)
    same = logits[:1].expand(n_views, 32, 5)
    torch.testing.assert_close(jsd(same, targets, views=n_views), cross_entropy(logits[0], targets))


def test_jsd_stays_finite_where_views_contradict_each_other() -> None:
    logits = torch.tensor([[[200.0, -200.0]], [[-200.0, 200.0]]], requires_grad=True)  # (2, 1, 2)
    value = jsd(logits, torch.tensor([[1.0, 0.0]]), views=2, weight=1.0)
    assert float(value.detach()) == pytest.approx(np.log(2))
    value.sum().backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def views_of(augment: str, loss: str = "jsd(views=3)") -> tuple[Tensor, Tensor]:
    """(V, B, C, H, W) images and (B, K) targets of one batch, as the loop makes them."""
    from importlib import import_module

    from made_trainings import PLAIN, made_data

    from pocketlens.data.split import make_split
    from pocketlens.recipe import Experiment
    from pocketlens.training.state import State

    data = made_data()
    recipe = PLAIN.changed(augment=augment, loss=loss)
    made = State(Experiment("made", recipe), data, make_split(data, val_fraction=0.25), "cpu")
    images, targets = import_module("pocketlens.training.fit")._batch(made, torch.arange(8), 0)
    return images.view(made.n_views, 8, *images.shape[1:]), targets


def test_the_first_view_goes_without_the_last_augmentation_and_the_others_draw_for_themselves() -> None:
    views, targets = views_of("flip | crop(pad=2) | augmix")
    shared, _ = views_of("flip | crop(pad=2)", "cross_entropy")
    assert views.shape[:2] == (3, 8)
    assert targets.shape == (8, 4)
    assert torch.equal(views[0], shared[0])
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert sum(torch.equal(a, b) for a, b in zip(views[one], views[other], strict=True)) <= 1


def test_mixing_before_the_last_augmentation_is_shared_by_all_views() -> None:
    views, targets = views_of("mixup | cutout(size=1)")
    mixed, mixed_targets = views_of("mixup", "cross_entropy")
    assert torch.equal(views[0], mixed[0])
    assert torch.equal(targets, mixed_targets)
    assert float(((views[1] - mixed[0]).abs() > 0).float().mean()) < 0.02


@pytest.mark.parametrize("augment", ["none", "flip | cutmix", "mixup"])
def test_jsd_needs_a_last_augmentation_that_does_not_mix(augment: str) -> None:
    from made_images import refused
    from made_trainings import PLAIN

    with refused("augment must end with an augmentation that does not mix images", "flip | crop(pad=2) | augmix"):
        PLAIN.changed(loss="jsd", augment=augment)


def test_jsd_refuses_a_single_view() -> None:
    from made_images import refused

    with refused("jsd: views must be a whole number in 2..10, got 1"):
        jsd(torch.zeros(1, 2, 3), torch.zeros(2, 3), views=1)


def test_shares_that_are_not_allowed_are_refused() -> None:
    from made_images import refused

    logits, targets = batch()
    for loss in (cross_entropy, focal):
        with refused("smoothing must be a number in 0..1, got 1.5"):
            loss(logits, targets, smoothing=1.5)
    with refused("focal: gamma must be a number in 0..100"):
        focal(logits, targets, gamma=-1.0)
