"""Alignment: lays one image over another by scale and shift, and says how well they then agree.

Gauss-Newton steps on the grey values (Lucas and Kanade 1981), with free brightness and contrast, on smoothed images of
half the size; then scores in colour at full size. Scaling and shifting are separable, so warping is two products with
matrices of interpolation weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

_COARSE = ((1.5, 5), (0.7, 4))  # at half size: px of smoothing, steps
_FINE = ((1.0, 4),)  # at full size
_LARGEST_SCALE, _LARGEST_SHIFT = 0.5, 0.6  # logarithm; half widths
_NOISE = 4.0  # grey levels that do not count as contrast


@dataclass(frozen=True, eq=False)
class Agreement:
    """How well M pairs agree once they are aligned, all (M,) float32.

    Attributes:
        detail: share of the variance of what is finer than about 2 px of 32 that the second image explains, each
            channel with its own gain.
        texture: mean correlation of the detail in windows of about 5 px.
        weakest: that correlation in the window that a tenth of the windows fall below.
        colour: share of the variance of the difference of red and blue that the second explains; like `detail` where
            there is no colour.
        overlap: share of the first image that the second covers.
        difference: mean absolute difference of the pixels as they are, without alignment, in grey levels.
        tint: the same of the smoothed and aligned pictures, where they overlap.
        fit: (M, 4) logarithms of the scales in x and y, shifts in x and y in half widths.
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
    parts = (images[start : start + 4096].float().mean(1, keepdim=True) for start in range(0, len(images), 4096))
    return torch.cat([F.avg_pool2d(part, 2)[:, 0] for part in parts])


def align(grey: Tensor, other: Tensor, start: Tensor, *, fine: bool = False) -> tuple[Tensor, Tensor]:
    """Aligns grey images, of half the size or `fine`, from a fit that is nearly right already.

    Args:
        grey, other: (M, h, w) float32.
        start: (M, 4) float32: logarithms of the scales in x and y, shifts in x and y.

    Returns:
        The fit, (M, 4) float32, and the correlation of the images' detail there, (M,) float32.
    """
    fit = start
    for deviation, n_steps in _FINE if fine else _COARSE:
        first, second = blur(grey, deviation), blur(other, deviation)
        for _ in range(n_steps):
            fit = _step(first, second, fit)
    warped, inside = warp(second, fit)
    a, b = (_centred(image - blur(image, 1.5), inside) for image in (first, warped))
    correlation = (a * b).sum((1, 2)) / ((a * a).sum((1, 2)) * (b * b).sum((1, 2)) + 1e4).sqrt()
    return fit, correlation


def agreement(first: Tensor, second: Tensor, fit: Tensor) -> Agreement:
    """Scores aligned pairs in colour.

    Args:
        first, second: (M, C, H, W) float32 in 0..255; the second is mirrored already where it has to be.
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
    return Agreement(
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
    """Scales and shifts (M, H, W) or (M, C, H, W); gives the result and the mask (M, H, W) of what lies inside."""
    height, width = images.shape[-2:]
    across, inside_x = _weights(width, fit[:, 0], fit[:, 2])
    down, inside_y = _weights(height, fit[:, 1], fit[:, 3])
    if images.dim() == 4:
        across, down = across[:, None], down[:, None]
    return down @ images @ across.transpose(-1, -2), inside_y[:, :, None] * inside_x[:, None, :]


def blur(images: Tensor, deviation: float) -> Tensor:
    """Gaussian smoothing of the last two dimensions; weights are made anew at the edges."""
    down, across = (_kernel(size, deviation) for size in images.shape[-2:])
    return down @ images @ across.T


def _kernel(size: int, deviation: float) -> Tensor:
    place = torch.arange(size, dtype=torch.float32)
    weights = torch.exp(-(place[:, None] - place).square() / (2 * deviation**2))
    return weights / weights.sum(1, keepdim=True)


def _weights(size: int, log_scale: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    """(M, size, size) weights of linear interpolation along one axis, and (M, size) what lies inside."""
    place = torch.linspace(-1, 1, size)
    position = (place * log_scale.exp()[:, None] + shift[:, None] + 1) * ((size - 1) / 2)  # (M, size) px
    inside = ((position > -0.01) & (position < size - 0.99)).float()
    distance = (position.clamp(0, size - 1)[:, :, None] - torch.arange(size)).abs()
    return (1 - distance).clamp(min=0), inside


def _centred(images: Tensor, inside: Tensor) -> Tensor:
    """Images less their mean inside the mask, and 0 outside it."""
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
    """What `second` explains of `first`, (M, C, H, W): the share of its variance, and how far that is above noise."""
    a, b = _centred(first, inside), _centred(second, inside)
    gain = (a * b).sum((2, 3), keepdim=True) / ((b * b).sum((2, 3), keepdim=True) + 1.0)
    left, variance = (a - gain * b).square().sum((1, 2, 3)), a.square().sum((1, 2, 3))
    noise = _NOISE**2 / 4 * inside.sum((1, 2, 3)) * first.shape[1]
    return (variance - left) / (variance + noise), variance / (variance + noise)


def _texture(first: Tensor, second: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and tenth percentile over the small windows of (M, H, W) detail of their correlation; both (M,).

    Every window with contrast in either image counts alike, however strong its edges: two outlines that agree do not
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
