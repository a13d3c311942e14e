"""Convolutions on small maps in bf16 on a CPU, as matrix products, which are fast where torch's convolution is slow.

The inputs and the products are bf16, sums within a product and over products are float32, as in torch's convolution.
Which maps are convolved so is a constant, so that a run takes the same path, and gives the same bytes, when it goes on.
"""

from __future__ import annotations

import itertools
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

BLOCK_SIDE = 3  # px: the largest side of a map that is convolved by blocks
PATCH_SIDE = 7  # px: the largest side of a map that a 2 x 2 kernel convolves by patches


def is_low(x: Tensor) -> bool:
    """Whether a convolution of `x` is one in bf16 on a CPU."""
    if x.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
        return False
    traced = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    return torch.get_autocast_dtype("cpu") == torch.bfloat16 and not traced


def by_blocks(x: Tensor, weight: Tensor) -> Tensor:
    """The convolution of (B, C, H, W) with an odd kernel (out, C, k, k), same padding; (B, out, H, W) bfloat16."""
    made: Tensor = _BlockConvolution.apply(x.bfloat16(), weight.bfloat16())
    return made


def by_patches(x: Tensor, weight: Tensor) -> Tensor:
    """The convolution of (B, C, H, W) with a kernel (out, C, k, k), no padding, in bfloat16."""
    made: Tensor = _PatchConvolution.apply(x.bfloat16(), weight.bfloat16())
    return made


class _BlockConvolution(torch.autograd.Function):
    """Each output pixel is one product of the input pixels in its field with the taps on them; none with padding."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        pixels = x.permute(0, 2, 3, 1).contiguous()  # (B, H, W, C)
        taps = weight.permute(0, 2, 3, 1).contiguous()  # (out, k, k, C)
        ctx.save_for_backward(pixels, taps)
        return _products(pixels, taps).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[no-untyped-def]
        pixels, taps = ctx.saved_tensors
        gradient = gradient.permute(0, 2, 3, 1).contiguous()  # (B, H, W, out)
        mirrored = taps.flip(1, 2).permute(3, 1, 2, 0).contiguous()  # (C, k, k, out): what each input pixel is in
        to_taps = torch.zeros_like(taps, dtype=torch.float32)
        for block in _blocks(pixels.shape[1], pixels.shape[2], taps.shape[1]):
            part = gradient[:, block.y, block.x].T @ pixels[block.pixels].flatten(1)
            to_taps[block.taps] += part.view_as(taps[block.taps])
        return _products(gradient, mirrored).permute(0, 3, 1, 2), to_taps.permute(0, 3, 1, 2).to(taps.dtype)


def _products(pixels: Tensor, taps: Tensor) -> Tensor:
    """(B, H, W, C) with (out, k, k, C) to (B, H, W, out)."""
    batch, height, width, _ = pixels.shape
    result = pixels.new_empty((batch, height, width, len(taps)))
    for block in _blocks(height, width, taps.shape[1]):
        result[:, block.y, block.x] = pixels[block.pixels].flatten(1) @ taps[block.taps].flatten(1).T
    return result


class _Block(NamedTuple):
    """The input pixels in the field of the output pixel (y, x), and the taps on them."""

    y: int
    x: int
    pixels: tuple[slice, slice, slice]  # an index of (B, H, W, C)
    taps: tuple[slice, slice, slice]  # an index of (out, k, k, C)


@cache
def _blocks(height: int, width: int, kernel: int) -> tuple[_Block, ...]:
    """The blocks of all output pixels, row by row."""
    half, blocks = kernel // 2, []
    for y, x in itertools.product(range(height), range(width)):
        pixels, taps = [slice(None)], [slice(None)]
        for place, side in ((y, height), (x, width)):
            first, last = max(place - half, 0), min(place + half, side - 1)
            pixels.append(slice(first, last + 1))
            taps.append(slice(first - place + half, last - place + half + 1))
        blocks.append(_Block(y, x, (pixels[0], pixels[1], pixels[2]), (taps[0], taps[1], taps[2])))
    return tuple(blocks)


class _PatchConvolution(torch.autograd.Function):
    """All patches of all images as the rows of one matrix, times the filters."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        pixels = x.permute(0, 2, 3, 1).contiguous()  # (B, H, W, C)
        taps = weight.permute(0, 2, 3, 1).flatten(1)  # (out, k * k * C)
        ctx.save_for_backward(pixels, taps)
        ctx.kernel = kernel = weight.shape[2]
        height, width = pixels.shape[1] - kernel + 1, pixels.shape[2] - kernel + 1
        product = _patches(pixels, kernel) @ taps.T
        return product.view(len(pixels), height, width, len(taps)).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[no-untyped-def]
        (pixels, taps), kernel = ctx.saved_tensors, ctx.kernel
        _, _, height, width = gradient.shape
        rows = gradient.permute(0, 2, 3, 1).flatten(0, 2)  # (B * H' * W', out)
        to_taps = (rows.T @ _patches(pixels, kernel)).view(len(taps), kernel, kernel, -1).permute(0, 3, 1, 2)
        shape = (len(pixels), height, width, kernel, kernel, pixels.shape[3])
        to_patches = (rows @ taps).view(shape)
        to_pixels = torch.zeros_like(pixels, dtype=torch.float32)
        for y, x in itertools.product(range(kernel), range(kernel)):
            to_pixels[:, y : y + height, x : x + width] += to_patches[:, :, :, y, x]
        return to_pixels.permute(0, 3, 1, 2).to(pixels.dtype), to_taps


def _patches(pixels: Tensor, kernel: int) -> Tensor:
    """(B, H, W, C) to (B * H' * W', k * k * C), without padding."""
    fields = pixels.unfold(1, kernel, 1).unfold(2, kernel, 1)  # (B, H', W', C, k, k)
    return fields.permute(0, 1, 2, 4, 5, 3).flatten(3).flatten(0, 2)
