"""Alignment finds scales and shifts that were applied, and its scores tell the same shot from another one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from pocketlens.audit.alignment import align, blur, half_grey, patch_agreement, warp


def pictures(n: int, seed: int = 0) -> Tensor:
    """(n, 3, 32, 32) float32 in 0..255: smooth random pictures with detail at several scales."""
    noise = np.random.default_rng(seed).normal(size=(n, 3, 32, 32))
    scales = [gaussian_filter(noise, (0, 0, s, s), mode="wrap") * s for s in (1.0, 2.0, 4.0)]
    total = sum(scales)
    return torch.from_numpy(np.clip(128 + 60 * total / total.std(), 0, 255)).float()


def test_warping_is_linear_interpolation() -> None:
    images = pictures(3)
    fit = torch.tensor([[0.1, -0.2, 0.05, 0.1]]).expand(3, 4)
    theirs, inside = warp(images, fit)
    place = torch.linspace(-1, 1, 32)
    y, x = torch.meshgrid(place * np.exp(-0.2) + 0.1, place * np.exp(0.1) + 0.05, indexing="ij")
    grid = torch.stack([x, y], 2).expand(3, 32, 32, 2)
    ours = torch.nn.functional.grid_sample(images, grid, padding_mode="border", align_corners=True)
    torch.testing.assert_close(theirs, ours, atol=2e-3, rtol=1e-4)
    assert inside[0].sum() == ((x.abs() <= 1) & (y.abs() <= 1)).sum()


def test_smoothing_keeps_flat_images_flat() -> None:
    torch.testing.assert_close(blur(torch.full((1, 8, 8), 7.0), 2.0), torch.full((1, 8, 8), 7.0))


@pytest.mark.parametrize("applied", [(0.0, 0.0, 0.12, -0.1), (0.15, 0.15, 0.0, 0.0), (-0.1, 0.08, 0.1, 0.05)])
def test_a_known_scale_and_shift_is_found(applied: tuple[float, ...]) -> None:
    first = pictures(8)
    fit = torch.tensor([applied]).expand(8, 4)
    scale = fit[:, :2].exp()
    back = torch.cat([-fit[:, :2], -fit[:, 2:] / scale], 1)  # the reverse map
    second, _ = warp(first, back)
    start = torch.zeros(8, 4)
    rough = align(half_grey(first.byte()), half_grey(second.byte()), start)
    fine = align(first.mean(1), second.mean(1), rough.fit, fine=True).fit
    assert (rough.correlation > 0.8).all()
    assert (fine - fit).abs().max() < 0.03  # half a pixel of 32
    agrees = patch_agreement(first, 0.7 * second + 30, fine)  # recoloured too
    assert (agrees.detail > 0.85).all()
    assert (agrees.colour > 0.85).all()
    assert (agrees.overlap > 0.6).all()


def test_other_pictures_do_not_agree() -> None:
    first, second = pictures(16, seed=1), pictures(16, seed=2)
    rough = align(half_grey(first.byte()), half_grey(second.byte()), torch.zeros(16, 4))
    fine = align(first.mean(1), second.mean(1), rough.fit, fine=True)
    agrees = patch_agreement(first, second, fine.fit)
    assert (agrees.detail < 0.5).all()
    assert (agrees.weakest < 0.2).all()


def test_flat_images_agree_in_nothing_and_give_no_nan() -> None:
    flat = torch.full((2, 1, 32, 32), 200.0)
    found = align(half_grey(flat.byte()), half_grey(flat.byte()), torch.zeros(2, 4))
    agrees = patch_agreement(flat, flat - 100, found.fit)
    assert found.correlation.abs().max() < 1e-6
    assert agrees.detail.abs().max() < 1e-6
    assert all(torch.isfinite(getattr(agrees, name)).all() for name in agrees.__dataclass_fields__)
