"""Geometric operations on a batch, each image with its own parameters; one sampling for all of them.

images are float32 (B, C, H, W) in 0..1 and are not changed; parameters are (B,) float32. Angles are in degrees,
anticlockwise, distances in px, to the right and down. A matrix leads from a place in the result to the place in the
image from which its colour comes, both counted in px from the centre. Beyond the border stands `fill`: a number in
0..1, 'edge' (the nearest pixel) or 'reflect'.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

Fill = float | str


def rotate(images: Tensor, degrees: Tensor, *, fill: Fill = 0.0, bilinear: bool = True) -> Tensor:
    """Turns each image around its centre."""
    return move(images, rotation_matrix(degrees), fill=fill, bilinear=bilinear)


def shear(images: Tensor, x: Tensor, y: Tensor, *, fill: Fill = 0.0, bilinear: bool = True) -> Tensor:
    """Slants each image around its centre: rows by `x` px for each px downwards, columns by `y`, both to the left."""
    one, zero = torch.ones_like(x), torch.zeros_like(x)
    return move(images, matrix(one, x, zero, y, one, zero), fill=fill, bilinear=bilinear)


def translate(images: Tensor, x: Tensor, y: Tensor, *, fill: Fill = 0.0, bilinear: bool = False) -> Tensor:
    """Moves each image to the right and down; by default whole px are meant and nothing is interpolated."""
    one, zero = torch.ones_like(x), torch.zeros_like(x)
    return move(images, matrix(one, zero, -x, zero, one, -y), fill=fill, bilinear=bilinear)


def zoom(images: Tensor, factor: Tensor, *, fill: Fill = 0.0) -> Tensor:
    """Magnifies each image around its centre; a factor below 1 makes it smaller."""
    zero = torch.zeros_like(factor)
    return move(images, matrix(1 / factor, zero, zero, zero, 1 / factor, zero), fill=fill)


def warp(images: Tensor, corners: Tensor, *, fill: Fill = 0.0) -> Tensor:
    """Perspective: the image's corners go to `corners`, (B, 4, 2) px as (x, y), clockwise from the top left.

    The outer edges of the image are at 0 and its width or height. Source of the closed form: Heckbert 1989,
    "Fundamentals of texture mapping and image warping", section 2.2.3.
    """
    height, width = images.shape[2:]
    back = _square_from(corners / corners.new_tensor([width, height]))  # (B, 3, 3) float32
    x = (torch.arange(width, device=images.device) + 0.5) / width  # (W,)
    y = (torch.arange(height, device=images.device) + 0.5) / height  # (H,)
    places = (back[:, :, :1] * x)[:, :, None, :] + (back[:, :, 1:2] * y)[:, :, :, None]  # (B, 3, H, W): u, v and w
    places += back[:, :, 2:, None]
    grid = (places[:, :2] / places[:, 2:]).mul_(2).sub_(1).permute(0, 2, 3, 1)  # (B, H, W, 2) float32
    return _sample(images, grid.clamp_(-3, 3), fill, True)  # on the horizon it is infinite


def cut(images: Tensor, boxes: Tensor, size: tuple[int, int] | None = None) -> Tensor:
    """Cuts boxes out, one of each image, and stretches them to `size` or to the images' size (bilinear).

    `boxes` is (B, 4) int64: top, left, height and width in px.
    """
    top, left, height, width = boxes.float().unbind(1)
    out_height, out_width = size or (images.shape[2], images.shape[3])
    y = _places(images.shape[2], out_height, top, height)[:, :, None]  # (B, H, 1) float32
    x = _places(images.shape[3], out_width, left, width)[:, None, :]  # (B, 1, W)
    grid = torch.stack((x.expand(-1, y.shape[1], -1), y.expand(-1, -1, x.shape[2])), -1)  # (B, H, W, 2) float32
    return _sample(images, grid, "edge", True)


def move(images: Tensor, back: Tensor, *, fill: Fill = 0.0, bilinear: bool = True) -> Tensor:
    """Any affine movement: `back`, (B, 2, 3) float32, leads from the result to the image."""
    height, width = images.shape[2:]
    x = torch.arange(width, device=images.device) - (width - 1) / 2  # (W,) px from the centre
    y = torch.arange(height, device=images.device) - (height - 1) / 2
    scaled = back * back.new_tensor([[2 / width], [2 / height]])  # to -1..1, which is what grid_sample counts in
    along_x = scaled[:, :, :1] * x + scaled[:, :, 2:]  # (B, 2, W)
    along_y = scaled[:, :, 1:2] * y  # (B, 2, H)
    grid = (along_x[:, :, None, :] + along_y[:, :, :, None]).permute(0, 2, 3, 1)  # (B, H, W, 2) float32
    return _sample(images, grid, fill, bilinear)


def rotation_matrix(degrees: Tensor) -> Tensor:
    """(B, 2, 3) float32, for `move`."""
    angle = degrees * (torch.pi / 180)
    cosine, sine, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    return matrix(cosine, -sine, zero, sine, cosine, zero)


def matrix(*entries: Tensor) -> Tensor:
    """(B, 2, 3) float32 from its six entries, each (B,), row by row."""
    return torch.stack(entries, 1).view(-1, 2, 3)


def _sample(images: Tensor, grid: Tensor, fill: Fill, bilinear: bool) -> Tensor:
    mode, images = "bilinear" if bilinear else "nearest", images.contiguous()  # a third faster than channels last
    if isinstance(fill, str):
        padding = {"edge": "border", "reflect": "reflection"}[fill]
        return F.grid_sample(images, grid, mode, padding, align_corners=False).clamp_(0, 1)
    if fill == 0:
        out = F.grid_sample(images, grid, mode, align_corners=False)
        return out.clamp_(0, 1) if bilinear else out  # values that are only moved stay in 0..1
    return F.grid_sample(images - fill, grid, mode, align_corners=False).add_(fill).clamp_(0, 1)


def _places(n: int, n_out: int, start: Tensor, length: Tensor) -> Tensor:
    """(B, n_out) float32: where `n_out` pixels come from that are stretched over `length` of `n`, in -1..1."""
    inside = (torch.arange(n_out, device=start.device) + 0.5) * (length / n_out)[:, None] - 0.5
    place = start[:, None] + torch.minimum(inside.clamp_(min=0), length[:, None] - 1)
    return (2 * place + 1) / n - 1


def _square_from(corners: Tensor) -> Tensor:
    """(B, 3, 3) float32: the perspective that leads from four corners, (B, 4, 2), to those of the unit square."""
    (x0, y0), (x1, y1), (x2, y2), (x3, y3) = (corner.unbind(1) for corner in corners.unbind(1))
    sum_x, sum_y = x0 - x1 + x2 - x3, y0 - y1 + y2 - y3
    dx1, dx2, dy1, dy2 = x1 - x2, x3 - x2, y1 - y2, y3 - y2
    determinant = dx1 * dy2 - dx2 * dy1
    g, h = (sum_x * dy2 - dx2 * sum_y) / determinant, (dx1 * sum_y - sum_x * dy1) / determinant
    a, b, c = x1 - x0 + g * x1, x3 - x0 + h * x3, x0
    d, e, f = y1 - y0 + g * y1, y3 - y0 + h * y3, y0
    adjugate = (e - f * h, c * h - b, b * f - c * e, f * g - d, a - c * g, c * d - a * f)
    return torch.stack((*adjugate, d * h - e * g, b * g - a * h, a * e - b * d), 1).view(-1, 3, 3)
