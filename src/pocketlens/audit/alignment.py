"""Alignment: registers one image to another by scale and shift, and scores how well the two then agree.

Gauss-Newton steps on the grey values (Lucas and Kanade 1981), with free brightness and contrast, on smoothed images at
half size; then scores in colour at full size. Scaling and shifting are separable, so warping is two products with
matrices of interpolation weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pocketlens.data.scratch import scratch_array

_COARSE = ((1.5, 5), (0.7, 4))  # at half size: px of smoothing, steps
_FINE = ((1.0, 4),)  # at full size
_LARGEST_SCALE, _LARGEST_SHIFT = 0.5, 0.6  # logarithm; half widths
_NOISE = 4.0  # grey levels that do not count as contrast


@dataclass(frozen=True, eq=False)
class Alignment:
    """Where M pairs of images fit best.

    Attributes:
        fit: (M, 4) float32: logarithms of the scales in x and y, shifts in x and y in half widths.
        correlation: (M,) float32: the correlation of the detail of both images there.
    """

    fit: Tensor
    correlation: Tensor


@dataclass(frozen=True, eq=False)
class PatchAgreement:
    """How well M aligned pairs agree, all (M,) float32.

    Attributes:
        detail: share of the variance of detail (finer than about 2 px of 32) that the second image explains, each
            channel with its own gain.
        texture: mean correlation of the detail in patches of about 5 px.
        weakest: the tenth percentile of that correlation over the patches.
        colour: share of the variance of red minus blue that the second image explains; like `detail` if there is no
            colour.
        overlap: share of the first image that the second covers.
        difference: mean absolute difference of the pixels, without alignment, in grey levels.
        tint: the same for the smoothed and aligned images, where they overlap.
        fit: (M, 4): the fit of the alignment.
    """

    detail: Tensor
    texture: Tensor
    weakest: Tensor
    colour: Tensor
    overlap: Tensor
    difference: Tensor
    tint: Tensor
    fit: Tensor


def half_grey(images: Tensor) -> Tensor:
    """(N, C, H, W) uint8 to (N, H / 2, W / 2) float32 grey values."""
    n, _, height, width = images.shape
    grey = torch.from_numpy(scratch_array((n, height // 2, width // 2), np.float32))
    for start in range(0, n, 4096):
        part = images[start : start + 4096].float().mean(1, keepdim=True)
        grey[start : start + 4096] = F.avg_pool2d(part, 2)[:, 0]
    return grey


def align(grey: Tensor, other: Tensor, start: Tensor, *, fine: bool = False) -> Alignment:
    """Aligns pairs of grey images, starting from a fit that is already nearly right.

    Args:
        grey: (M, h, w) float32.
        other: (M, h, w) float32.
        start: (M, 4) float32: logarithms of the scales in x and y, shifts in x and y.
        fine: the images have full size, instead of half.
    """
    fit = start
    for deviation, n_steps in _FINE if fine else _COARSE:
        first, second = blur(grey, deviation), blur(other, deviation)
        for _ in range(n_steps):
            fit = _step(first, second, fit)
    warped, inside = warp(second, fit)
    a, b = (_centred(image - blur(image, 1.5), inside) for image in (first, warped))
    correlation = (a * b).sum((1, 2)) / ((a * a).sum((1, 2)) * (b * b).sum((1, 2)) + 1e4).sqrt()
    return Alignment(fit, correlation)


def patch_agreement(first: Tensor, second: Tensor, fit: Tensor) -> PatchAgreement:
    """Scores aligned pairs in colour.

    Args:
        first: (M, C, H, W) float32 in 0..255.
        second: the same shape; already mirrored where the pair is.
        fit: (M, 4), from `align`.
    """
    warped, inside = warp(second, fit)
    inside = inside[:, None]  # (M, 1, H, W)
    a, b = blur(first, 0.7), blur(warped, 0.7)
    fine_a, fine_b = a - blur(a, 2.0), b - blur(b, 2.0)
    grey_a, grey_b = _centred(fine_a.mean(1), inside[:, 0]), _centred(fine_b.mean(1), inside[:, 0])
    gain = (_power(grey_a) / _power(grey_b)).sqrt().clamp(0.3, 3.0)
    texture, weakest = _texture(grey_a, grey_b * gain, inside[:, 0])
    detail, _ = _explained(fine_a, fine_b, inside)
    colour, coloured = _explained(a[:, :1] - a[:, -1:], b[:, :1] - b[:, -1:], inside)
    return PatchAgreement(
        detail=detail,
        texture=texture,
        weakest=weakest,
        colour=colour + (1 - coloured) * detail,
        overlap=inside.mean((1, 2, 3)),
        difference=(first - second).abs().mean((1, 2, 3)),
        tint=((a - b).abs() * inside).sum((1, 2, 3)) / (inside.sum((1, 2, 3)) * first.shape[1]).clamp(min=1),
        fit=fit,
    )


def warp(images: Tensor, fit: Tensor) -> tuple[Tensor, Tensor]:
    """Scales and shifts (M, H, W) or (M, C, H, W); returns the result and the mask (M, H, W) of what lies inside."""
    height, width = images.shape[-2:]
    across, inside_x = _weights(width, fit[:, 0], fit[:, 2])
    down, inside_y = _weights(height, fit[:, 1], fit[:, 3])
    if images.dim() == 4:
        across, down = across[:, None], down[:, None]
    return down @ images @ across.transpose(-1, -2), inside_y[:, :, None] * inside_x[:, None, :]


def blur(images: Tensor, deviation: float) -> Tensor:
    """Gaussian smoothing of the last two dimensions; the weights are renormalised at the edges."""
    down, across = (_kernel(size, deviation) for size in images.shape[-2:])
    return down @ images @ across.T


def _kernel(size: int, deviation: float) -> Tensor:
    place = torch.arange(size, dtype=torch.float32)
    weights = torch.exp(-(place[:, None] - place).square() / (2 * deviation**2))
    return weights / weights.sum(1, keepdim=True)


def _weights(size: int, log_scale: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    """Weights of linear interpolation along one axis, (M, size, size), and the mask of what lies inside, (M, size)."""
    place = torch.linspace(-1, 1, size)
    position = (place * log_scale.exp()[:, None] + shift[:, None] + 1) * ((size - 1) / 2)  # (M, size) px
    inside = ((position > -0.01) & (position < size - 0.99)).float()
    distance = (position.clamp(0, size - 1)[:, :, None] - torch.arange(size)).abs()
    return (1 - distance).clamp(min=0), inside


def _centred(images: Tensor, inside: Tensor) -> Tensor:
    """Images minus their mean inside the mask, and 0 outside it."""
    n = inside.sum((-1, -2), keepdim=True).clamp(min=1)
    return (images - (images * inside).sum((-1, -2), keepdim=True) / n) * inside


def _step(first: Tensor, second: Tensor, fit: Tensor) -> Tensor:
    """One damped Gauss-Newton step of scale and shift, with the best gain and offset."""
    height, width = first.shape[1:]
    warped, inside = warp(second, fit)
    a, b = _centred(first, inside), _centred(warped, inside)
    gain = (a * b).sum((1, 2), keepdim=True) / ((b * b).sum((1, 2), keepdim=True) + 1.0)
    across, down = torch.zeros_like(warped), torch.zeros_like(warped)
    across[:, :, 1:-1] = (warped[:, :, 2:] - warped[:, :, :-2]) * ((width - 1) / 4)
    down[:, 1:-1] = (warped[:, 2:] - warped[:, :-2]) * ((height - 1) / 4)
    across, down = across * (gain * inside), down * (gain * inside)
    x, y = torch.linspace(-1, 1, width), torch.linspace(-1, 1, height)[:, None]
    slopes = torch.stack([across * x, down * y, across, down], 1).flatten(2)  # (M, 4, h * w)
    normal = slopes @ slopes.transpose(1, 2)
    damping = normal.diagonal(dim1=1, dim2=2).mean(1)[:, None, None] * 0.02 + 1.0
    right = slopes @ (a - gain * b).flatten(1)[:, :, None]
    change = torch.linalg.solve(normal + damping * torch.eye(4), right)[:, :, 0].clamp(-0.15, 0.15)
    scales = (fit[:, :2] + change[:, :2]).clamp(-_LARGEST_SCALE, _LARGEST_SCALE)
    shifts = (fit[:, 2:] + change[:, 2:] * fit[:, :2].exp()).clamp(-_LARGEST_SHIFT, _LARGEST_SHIFT)
    return torch.cat([scales, shifts], 1)


def _power(images: Tensor) -> Tensor:
    return images.square().sum((1, 2), keepdim=True) + 1.0


def _explained(first: Tensor, second: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
    """The share of the variance of `first`, (M, C, H, W), that `second` explains, and the share that is not noise."""
    a, b = _centred(first, inside), _centred(second, inside)
    gain = (a * b).sum((2, 3), keepdim=True) / ((b * b).sum((2, 3), keepdim=True) + 1.0)
    left, variance = (a - gain * b).square().sum((1, 2, 3)), a.square().sum((1, 2, 3))
    noise = _NOISE**2 / 4 * inside.sum((1, 2, 3)) * first.shape[1]
    return (variance - left) / (variance + noise), variance / (variance + noise)


def _texture(first: Tensor, second: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and tenth percentile of the correlation of (M, H, W) detail over small patches; both (M,).

    Every patch with contrast in either image has the same weight, however strong its edges: outlines that agree do not
    make up for surfaces that differ.
    """
    both, one, two = (blur(product, 1.5) for product in (first * second, first.square(), second.square()))
    stronger = torch.maximum(one, two)
    importance = (inside * stronger / (stronger + _NOISE**2)).flatten(1)
    correlation = (both / ((one * two).sqrt() + _NOISE**2 / 9)).flatten(1)
    mean = (correlation * importance).sum(1) / (importance.sum(1) + 1.0)
    ordered, order = correlation.sort(1)
    share = importance.gather(1, order).cumsum(1) / (importance.sum(1, keepdim=True) + 1e-6)
    place = (share < 0.1).sum(1, keepdim=True).clamp(max=ordered.shape[1] - 1)
    return mean, ordered.gather(1, place)[:, 0]
