"""Convolutions in bf16 on a CPU as products, against torch's; the paths are forced: any processor tests them."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pocketlens.models import _bf16, _layers
from pocketlens.models._layers import PooledConv2d, TinyConv2d


def assert_equal_to_torchs(form: type, x: Tensor, weight: Tensor, padding: int) -> None:
    """Outputs and gradients, in float64, in which only the sums of the gradients are float32."""
    ours, reference = form.apply(x, weight), F.conv2d(x, weight, padding=padding)  # type: ignore[attr-defined]
    torch.testing.assert_close(ours, reference)
    direction = torch.randn_like(reference)
    for mine, theirs in zip(
        torch.autograd.grad(ours, [x, weight], direction),
        torch.autograd.grad(reference, [x, weight], direction),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 2), (3, 3), (2, 3)])
def test_blocks_equal_torchs_convolution(height: int, width: int, kernel: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 4, height, width, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(6, 4, kernel, kernel, dtype=torch.float64, requires_grad=True)
    assert_equal_to_torchs(_bf16._BlockConvolution, x, weight, kernel // 2)


@pytest.mark.parametrize("kernel", [1, 2, 3])
def test_patches_equal_torchs_convolution(kernel: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 4, 7, 6, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(6, 4, kernel, kernel, dtype=torch.float64, requires_grad=True)
    assert_equal_to_torchs(_bf16._PatchConvolution, x, weight, 0)


@pytest.mark.parametrize(("kind", "kernel", "side"), [(TinyConv2d, 3, 3), (TinyConv2d, 3, 2), (PooledConv2d, 2, 7)])
def test_products_under_autocast_are_as_exact_as_torchs(
    kind: type[torch.nn.Conv2d], kernel: int, side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the root mean square: the largest error is one rounding of one number, elsewhere on each processor."""
    torch.manual_seed(0)
    layer, x = kind(8, 6, kernel), torch.randn(64, 8, side, side)

    def gradients(precision: torch.dtype) -> list[Tensor]:
        layer.zero_grad()
        inputs = x.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
            out = layer(inputs)
        assert out.dtype == precision
        out.float().square().mean().backward()
        return [out.detach().float(), inputs.grad, layer.weight.grad]  # type: ignore[list-item]

    def error(of: Tensor, wanted: Tensor) -> Tensor:
        return (of - wanted).square().mean().sqrt()

    exact, ours = gradients(torch.float32), gradients(torch.bfloat16)
    monkeypatch.setattr(_layers, "BLOCK_SIDE", 0)
    monkeypatch.setattr(_layers, "PATCH_SIDE", 0)
    torchs = gradients(torch.bfloat16)
    for mine, theirs, wanted in zip(ours, torchs, exact, strict=True):
        assert error(mine, wanted) <= 1.5 * error(theirs, wanted)


def test_products_are_taken_for_small_maps_in_bf16_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str] = []

    def noted(name: str, side: int) -> object:
        form = getattr(_bf16, name)
        return lambda x, weight: taken.append(f"{name} {side}") or form(x, weight)

    layers = {"by_blocks": TinyConv2d(4, 4, 3), "by_patches": PooledConv2d(4, 4, 2)}
    for name, layer in layers.items():
        for side in (3, 7, 9):
            monkeypatch.setattr(_layers, name, noted(name, side))
            layer(torch.zeros(2, 4, side, side))  # fp32
            with torch.autocast("cpu", torch.bfloat16):
                layer(torch.zeros(2, 4, side, side))
    assert taken == ["by_blocks 3", "by_patches 3", "by_patches 7"]
