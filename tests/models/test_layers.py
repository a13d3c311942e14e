"""The layers against torch's own."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pocketlens.models import _layers as layers
from pocketlens.models._layers import PooledConv2d, ShiftNorm2d, TinyConv2d, WhiteningStem


@pytest.mark.parametrize("side", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_tiny_convolution_equals_torchs(side: int, kernel: int) -> None:
    torch.manual_seed(0)
    weight = torch.randn(6, 4, kernel, kernel, dtype=torch.float64, requires_grad=True)
    x = torch.randn(3, 4, side, side, dtype=torch.float64, requires_grad=True)
    ours = layers._StripConvolution.apply(x, weight)
    reference = F.conv2d(x, weight, padding=kernel // 2)
    torch.testing.assert_close(ours, reference)
    direction = torch.randn_like(reference)
    for mine, theirs in zip(
        torch.autograd.grad(ours, [x, weight], direction),
        torch.autograd.grad(reference, [x, weight], direction),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs)


def test_tiny_convolution_takes_the_strips_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []
    monkeypatch.setattr(layers._StripConvolution, "apply", lambda x, w: taken.append(x.shape) or x)
    conv = TinyConv2d(4, 4, 3)
    conv(torch.zeros(2, 4, 3, 3))
    conv(torch.zeros(2, 4, 8, 8))
    assert [tuple(shape) for shape in taken] == [(2, 4, 3, 3)]


@pytest.mark.parametrize("kernel", [1, 2, 3])
@pytest.mark.parametrize("side", [1, 2, 3, 6, 7, 31])
def test_pooled_convolution_equals_convolution_then_pool(side: int, kernel: int) -> None:
    torch.manual_seed(0)
    conv = PooledConv2d(3, 5, kernel)
    x = torch.randn(2, 3, side, side)
    padded = F.pad(x, ((kernel - 1) // 2, kernel // 2) * 2)
    reference = F.conv2d(padded, conv.weight)
    torch.testing.assert_close(conv(x), F.max_pool2d(reference, 2) if side > 1 else reference)


def test_shift_norm_trains_its_shift_alone() -> None:
    norm = ShiftNorm2d(4)
    assert not norm.weight.requires_grad
    assert norm.bias.requires_grad


@pytest.mark.parametrize("channels", [1, 3])
def test_whitening_stem_whitens_patches(channels: int) -> None:
    torch.manual_seed(0)
    mixing = torch.randn(channels, channels) + 2 * torch.eye(channels)
    images = torch.einsum("cd,ndhw->nchw", mixing, torch.randn(400, channels, 9, 9))
    stem = WhiteningStem(channels)
    stem.init_from_data(images)
    out = stem(images).permute(1, 0, 2, 3).flatten(1)
    half = len(out) // 2
    torch.testing.assert_close(torch.cov(out[:half]), torch.eye(half), atol=0.05, rtol=0)
    torch.testing.assert_close(out[:half], -out[half:])
    assert not stem.weight.requires_grad
    assert stem.bias is not None
    assert stem.bias.requires_grad


def test_whitening_stem_does_not_depend_on_the_sign_of_eigenvectors(monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.randn(50, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    first, second = WhiteningStem(3), WhiteningStem(3)
    first.init_from_data(images)
    eigh = torch.linalg.eigh

    def flipped(matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        values, vectors = eigh(matrix)
        return values, -vectors

    monkeypatch.setattr(torch.linalg, "eigh", flipped)
    second.init_from_data(images)
    torch.testing.assert_close(first.weight, second.weight)


def test_layers_are_modules_with_torchs_parameters() -> None:
    assert isinstance(TinyConv2d(2, 2, 1), nn.Conv2d)
    assert sum(p.numel() for p in TinyConv2d(4, 6, 3).parameters()) == 4 * 6 * 9
