"""Losses: torch's and the papers' numbers, soft targets, and finite gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from pocketlens.losses.cross_entropy import cross_entropy
from pocketlens.losses.focal import focal
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
