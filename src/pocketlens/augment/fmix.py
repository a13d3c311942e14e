"""FMix: a random irregular region of each image is replaced by another image. Harris et al. 2020, arXiv:2002.12047."""

from __future__ import annotations

import torch
from torch import Tensor

from pocketlens.augment._mixing import own_share
from pocketlens.augment._ranges import check_range
from pocketlens.draws import Draws


def fmix(
    images: Tensor,
    targets: Tensor,
    draws: Draws,
    *,
    alpha: float = 1.0,
    decay: float = 3.0,
    p: float = 1.0,
    until: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """Takes a part of the pixels from a partner of the batch; targets are mixed by the area that was really taken.

    The image's own share is drawn from Beta(alpha, alpha). Its own pixels are the brightest ones of low-frequency
    noise, whose spectrum falls with frequency ** `decay`. From the fraction `until` of the training on, images are
    left alone.
    """
    check_range("fmix", "decay", decay, 0, 10)
    if draws.progress >= until:
        return images, targets
    height, width = images.shape[2:]
    n_own = (own_share(draws, alpha, p) * height * width).round().long()  # (B,) int64, px
    noise = _smooth_noise(draws, height, width, decay).flatten(1)  # (B, H * W) float32
    sorted_noise = noise.sort(1, descending=True).values
    threshold = sorted_noise.gather(1, (n_own - 1).clamp(min=0)[:, None])
    is_own = ((noise >= threshold) & (n_own > 0)[:, None]).view(-1, height, width)  # (B, H, W) bool
    partner = draws.partners("partner")
    own = is_own.float().mean((1, 2))[:, None]  # (B, 1) float32
    mixed = torch.where(is_own[:, None], images, images[partner])
    return mixed, targets * own + targets[partner] * (1 - own)


def _smooth_noise(draws: Draws, height: int, width: int, decay: float) -> Tensor:
    """(B, H, W) float32: the inverse Fourier transform of normal noise over frequency ** decay."""
    device = draws.rows.device
    y, x = torch.fft.fftfreq(height, device=device), torch.fft.rfftfreq(width, device=device)
    frequency = torch.sqrt(y[:, None] ** 2 + x[None, :] ** 2).clamp(min=1 / max(height, width))  # (H, W // 2 + 1)
    n = frequency.numel()
    radius = torch.sqrt(-2 * torch.log(1 - draws.uniform("radius", n)))  # Box and Muller 1958
    angle = 2 * torch.pi * draws.uniform("angle", n)
    spectrum = torch.polar(radius, angle).view(-1, *frequency.shape) / frequency**decay  # complex64
    noise: Tensor = torch.fft.irfft2(spectrum, s=(height, width))
    return noise
