"""Muon against the textbook form, and its treatment of the parameters that are no filters."""

import torch
from torch import Tensor

from pocketlens.optimizers.muon import COEFFICIENTS, muon, orthogonalize


def textbook(matrix: Tensor, steps: int) -> Tensor:
    a, b, c = COEFFICIENTS
    x = matrix / (matrix.norm() + 1e-7)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x


def test_gram_form_equals_the_textbook_form() -> None:
    for shape in ((8, 40), (40, 8), (16, 16), (1, 5)):
        for steps in (1, 3, 5):
            matrix = torch.randn(shape, generator=torch.Generator().manual_seed(steps), dtype=torch.float64)
            expected = textbook(matrix.T, steps).T if shape[0] > shape[1] else textbook(matrix, steps)
            torch.testing.assert_close(orthogonalize(matrix, steps), expected)


def test_singular_values_come_near_one() -> None:
    matrix = torch.randn(32, 200, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalize(matrix, 5))
    assert values.min() > 0.6
    assert values.max() < 1.3


def test_filters_are_renormalised_and_orthogonally_updated() -> None:
    torch.manual_seed(0)
    weight = torch.nn.Parameter(torch.randn(8, 4, 3, 3))
    before = weight.detach().clone()
    optimizer = muon([{"params": [weight], "weight_decay": 0.0, "lr_scale": 1.0}], 0.1, momentum=0.6, steps=3)
    weight.grad = torch.randn_like(weight)
    optimizer.step()
    expected = before * 8**0.5 / before.norm()
    update = textbook((1.6 * weight.grad).reshape(8, -1), 3).view_as(weight)
    torch.testing.assert_close(weight.detach(), expected - 0.1 * update, atol=1e-5, rtol=1e-4)


def test_the_rest_takes_torchs_nesterov_steps() -> None:
    torch.manual_seed(0)
    ours, theirs = (torch.nn.Parameter(torch.ones(5)) for _ in range(2))
    optimizer = muon([{"params": [ours], "weight_decay": 0.01, "lr_scale": 0.5}], 0.1, rest_lr=0.4, rest_momentum=0.9)
    reference = torch.optim.SGD([theirs], lr=0.2, momentum=0.9, nesterov=True, weight_decay=0.01)
    for _ in range(4):
        gradient = torch.randn(5)
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        optimizer.step()
        reference.step()
    torch.testing.assert_close(ours, theirs)
