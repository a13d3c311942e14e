"""Colour operations on a batch, each image with its own strength; what the augmentations and the policies draw for.

images are float32 (B, C, H, W) in 0..1 with one or three channels, and are not changed; strengths are (B,) float32.
The meaning of each strength is Pillow's (ImageEnhance, ImageOps) and torchvision's. Source of the luminance weights:
ITU-R BT.601.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pocketlens.errors import PocketlensError
from pocketlens.operations.sharpen import blend_with_smooth

RED, GREEN, BLUE = 0.299, 0.587, 0.114


def adjust_brightness(images: Tensor, factor: Tensor) -> Tensor:
    """0 is black, 1 the image, 2 twice as bright."""
    return (images * _by_image(factor)).clamp_(0, 1)


def adjust_contrast(images: Tensor, factor: Tensor) -> Tensor:
    """0 is the image's mean luminance everywhere, 1 the image."""
    mean = luminance(images).flatten(1).contiguous().mean(1)  # (B,) float32
    share = _by_image(factor)
    return (images * share).add_(_by_image(mean) * (1 - share)).clamp_(0, 1)


def adjust_saturation(images: Tensor, factor: Tensor) -> Tensor:
    """0 is grey, 1 the image; an image with one channel stays."""
    grey, share = luminance(images), _by_image(factor)
    if images.shape[1] == 1:
        return images.clone()
    out, grey = images * share, grey * (1 - share)
    for channel in out.unbind(1):
        channel.add_(grey[:, 0])  # in channels last three times faster than all of them at once
    return out.clamp_(0, 1)


def rotate_hue(images: Tensor, turns: Tensor) -> Tensor:
    """Turns the colour circle by -0.5..0.5 of a full turn, in HSV; an image with one channel stays."""
    if images.shape[1] == 1:
        return images.clone()
    _check_channels(images)
    red, green, blue = images.unbind(1)  # (B, H, W) float32
    highest, lowest = torch.maximum(torch.maximum(red, green), blue), torch.minimum(torch.minimum(red, green), blue)
    chroma = highest - lowest
    divisor = torch.where(chroma == 0, 1, chroma)
    is_red = (highest == red).float()
    is_green = (highest == green).float() * (1 - is_red)
    is_blue = 1 - is_red - is_green
    hue = is_red * (green - blue) + is_green * (blue - red) + is_blue * (red - green)
    hue = hue / divisor + 2 * is_green + 4 * is_blue  # (B, H, W) float32 in -1..5: sixths of a turn, red at 0
    hue += 6 * turns[:, None, None]
    out = torch.empty_like(images)
    for channel, offset in enumerate((5, 3, 1)):
        place = hue + offset
        place -= 6 * (place / 6).floor_()
        out[:, channel] = highest - chroma * (2 - (place - 2).abs_()).clamp_(0, 1)
    return out.clamp_(0, 1)


def solarize(images: Tensor, threshold: Tensor) -> Tensor:
    """Inverts every value from the threshold on."""
    is_bright = images.clone().ge_(_by_image(threshold))  # 0 or 1, float32: three times faster than through bool
    return torch.sub(images, is_bright, out=is_bright).abs_()  # |v - 1| or |v - 0|


def posterize(images: Tensor, bits: Tensor) -> Tensor:
    """Keeps the upper `bits` (1..8) of each value's 8."""
    step = _by_image(torch.exp2(8 - bits))
    return (images * 255).round_().div_(step).floor_().mul_(step).div_(255)


def equalize(images: Tensor) -> Tensor:
    """Spreads the values of each channel evenly over 0..255: the histogram equalization of Pillow's ImageOps.

    Values become one of 256 levels.
    """
    n_pixels = images.shape[2] * images.shape[3]
    levels = (images * 255).round_().int().long().contiguous().flatten(2)  # (B, C, H * W) int64; int first is faster
    counts = torch.zeros(*levels.shape[:2], 256, device=images.device)
    counts.scatter_add_(2, levels, torch.ones(1, device=images.device).expand_as(levels))  # exact below 2**24
    n_brightest = counts.gather(2, levels.amax(2, keepdim=True))  # (B, C, 1) float32
    step = (n_pixels - n_brightest).div_(255).floor_()
    below = counts.cumsum(2).sub_(counts)  # how many pixels are darker
    table = below.add_((step / 2).floor_()).div_(step.clamp(min=1)).floor_().clamp_(max=255)  # (B, C, 256) float32
    table = torch.where(step == 0, torch.arange(256, device=images.device), table).div_(255)
    return table.gather(2, levels).view(images.shape)


def stretch_contrast(images: Tensor) -> Tensor:
    """Stretches each channel so that its darkest value becomes 0 and its brightest 1: Pillow's autocontrast."""
    flat = images.contiguous().flatten(2)
    low, high = flat.amin(2)[..., None, None], flat.amax(2)[..., None, None]  # (B, C, 1, 1) float32
    low, scale = torch.where(high > low, low, 0), torch.where(high > low, high - low, 1)  # one colour stays
    return (images - low).div_(scale).clamp_(0, 1)


def invert(images: Tensor) -> Tensor:
    """The negative."""
    return 1 - images


def adjust_sharpness(images: Tensor, factor: Tensor) -> Tensor:
    """0 is smoothed, 1 the image, 2 sharpened; the border of one px stays."""
    return blend_with_smooth(images, _by_image(factor))


def remove_colour(images: Tensor) -> Tensor:
    """The luminance in every channel."""
    return luminance(images).expand_as(images).contiguous()


def shift_channels(images: Tensor, amount: Tensor) -> Tensor:
    """Adds `amount`, (B, C), to every value of a channel."""
    return (images + amount[:, :, None, None]).clamp_(0, 1)


def luminance(images: Tensor) -> Tensor:
    """(B, 1, H, W) float32.

    Raises:
        PocketlensError: the images have neither one nor three channels.
    """
    if images.shape[1] == 1:
        return images
    _check_channels(images)
    return (RED * images[:, :1]).add_(GREEN * images[:, 1:2]).add_(BLUE * images[:, 2:])


def _check_channels(images: Tensor) -> None:
    if images.shape[1] != 3:
        raise PocketlensError(f"colour augmentations need images of 1 or 3 channels, got {images.shape[1]}.")


def _by_image(strength: Tensor) -> Tensor:
    return strength[:, None, None, None]
