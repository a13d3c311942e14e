"""Layers for small images: convolutions on tiny maps, batch norm with a fixed scale, a whitening stem."""

from __future__ import annotations

import itertools
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pocketlens.models._bf16 import BLOCK_SIDE, PATCH_SIDE, by_blocks, by_patches, is_low


class PooledConv2d(nn.Conv2d):
    """A same-padded convolution without bias, followed by a 2 x 2 max pool.

    Where a map's side is odd, the pool drops its last row or column, which is therefore never computed. A map of one
    pixel is not pooled.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size, padding="same", bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) to (B, C_out, H // 2, W // 2)."""
        before = (self.kernel_size[0] - 1) // 2
        sides = [int(side) for side in x.shape[2:]]  # plain numbers when traced, too
        pooled = min(sides) >= 2
        after_y, after_x = (self.kernel_size[0] - 1 - before - (pooled and side % 2) for side in sides)
        same = before == after_y == after_x
        padded = x if same else F.pad(x, (before, after_x, before, after_y))
        if self.kernel_size[0] == 2 and max(sides) <= PATCH_SIDE and is_low(x):
            kept = by_patches(padded, self.weight)
        else:
            kept = F.conv2d(padded, self.weight, padding=before if same else 0)
        return F.max_pool2d(kept, 2) if pooled else kept


class ShiftNorm2d(nn.BatchNorm2d):
    """Batch norm with a fixed scale of 1 and a trained shift."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.weight.requires_grad_(False)


class WhiteningStem(nn.Conv2d):
    """A frozen 2 x 2 convolution onto the leading whitened directions of image patches and their negatives.

    Only its bias is trained; `init_from_data` sets its filters from training images. Source: Page 2019, "How to train
    your ResNet 8"; Jordan 2024, arXiv:2404.00498, section 3.2.
    """

    def __init__(self, in_channels: int, directions: int = 12) -> None:
        self.directions = min(directions, 4 * in_channels)
        super().__init__(in_channels, 2 * self.directions, 2)
        self.weight.requires_grad_(False)

    @torch.no_grad()
    def init_from_data(self, images: Tensor, eps: float = 5e-4) -> None:
        """Sets the filters from normalised images, (N, C, H, W) float32; `eps` is added to the eigenvalues."""
        patches = F.unfold(images, 2).transpose(1, 2).reshape(-1, 4 * images.shape[1]).double()  # (P, 4 C)
        values, vectors = torch.linalg.eigh(torch.cov(patches.T))  # ascending
        leading = (vectors / (values + eps).sqrt()).T.flip(0)[: self.directions]
        # The sign of an eigenvector depends on the library; make its largest entry positive.
        largest = leading.gather(1, leading.abs().argmax(1, keepdim=True))
        leading = (leading * largest.sign()).view(-1, *self.weight.shape[1:])
        self.weight.copy_(torch.cat([leading, -leading]))
        assert self.bias is not None
        self.bias.zero_()


class TinyConv2d(nn.Conv2d):
    """A convolution (stride 1, odd kernel, same padding, no bias) that is fast on maps of a few pixels on a CPU.

    On a 3 x 3 map, four of nine products of a padded 3 x 3 kernel are with padding. Here each output pixel is a sum of
    matrix products over the strips of input pixels and kernel taps that overlap, without gathering patches; in bf16,
    one product over their whole block. Larger maps, other devices and exports use torch's convolution; results agree up
    to rounding.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size, padding="same", bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) to (B, C_out, H, W)."""
        if self.kernel_size[0] > 1 and max(x.shape[2:]) <= BLOCK_SIDE and is_low(x):
            return by_blocks(x, self.weight)
        low_precision = torch.is_autocast_enabled("cpu")
        plain = low_precision or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        if x.device.type == "cpu" and max(x.shape[2:]) <= _tiny_side() and not plain:
            return _StripConvolution.apply(x, self.weight)  # type: ignore[no-any-return]
        return super().forward(x)


@cache
def _tiny_side() -> int:
    """The largest side of a tiny map: 5 px on Intel processors, 3 px on others.

    Strips are matrix products, which MKL computes on AMD processors at half the speed of oneDNN's convolutions.
    """
    try:
        return 5 if "GenuineIntel" in Path("/proc/cpuinfo").read_text(encoding="ascii", errors="ignore") else 3
    except OSError:
        return 3


class _StripConvolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        pixels = x.permute(0, 2, 3, 1).contiguous()  # (B, H, W, C)
        taps = weight.permute(0, 2, 3, 1).contiguous()  # (out, k, k, C)
        batch, height, width, _ = pixels.shape
        result = x.new_zeros((batch, height, width, len(taps)))
        for strip in _strips(height, width, weight.shape[2]):
            result[:, strip.y, strip.x].addmm_(pixels[strip.pixels].flatten(1), taps[strip.taps].flatten(1).T)
        ctx.save_for_backward(pixels, taps)
        return result.permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[no-untyped-def]
        pixels, taps = ctx.saved_tensors
        gradient = gradient.permute(0, 2, 3, 1).contiguous()
        _, height, width, _ = pixels.shape
        to_pixels, to_taps = torch.zeros_like(pixels), torch.zeros_like(taps)
        for strip in _strips(height, width, taps.shape[1]):
            here = gradient[:, strip.y, strip.x]  # (B, out)
            to_pixels[strip.pixels].flatten(1).addmm_(here, taps[strip.taps].flatten(1))
            to_taps[strip.taps].flatten(1).addmm_(here.T, pixels[strip.pixels].flatten(1))
        return to_pixels.permute(0, 3, 1, 2), to_taps.permute(0, 3, 1, 2)


class _Strip(NamedTuple):
    """A run of input pixels in the field of the output pixel (y, x), and the run of kernel taps on them."""

    y: int
    x: int
    pixels: tuple[slice | int, ...]  # an index: of one input row, in (B, H, W, C)
    taps: tuple[slice | int, ...]  # an index: of one kernel row, in (out, k, k, C)


@cache
def _strips(height: int, width: int, kernel: int) -> tuple[_Strip, ...]:
    """The strips of all output pixels, row by row."""
    half, everything, strips = kernel // 2, slice(None), []
    for y, x in itertools.product(range(height), range(width)):
        first, last = max(x - half, 0), min(x + half, width - 1)
        columns, taps = slice(first, last + 1), slice(first - x + half, last - x + half + 1)
        for row in range(max(y - half, 0), min(y + half, height - 1) + 1):
            strips.append(_Strip(y, x, (everything, row, columns), (everything, row - y + half, taps)))
    return tuple(strips)
