"""Pictures for the tests of image operations: real ones where they are, made ones everywhere."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

SIDE = 32


def real_pictures(n: int) -> Tensor | None:
    """(n, 3, 32, 32) float32: the first images of CIFAR-100, or None where there is no parquet file of them."""
    import pyarrow.parquet as pq

    files = sorted((Path(os.environ.get("POCKETLENS_DATA", "absent")) / "cifar100").glob("train*.parquet"))
    if not files:
        return None
    with pq.ParquetFile(files[0]) as file:
        rows = next(file.iter_batches(batch_size=n, columns=["img"])).to_pylist()
    pixels = [np.asarray(Image.open(io.BytesIO(row["img"]["bytes"])).convert("RGB")) for row in rows]
    return to_float(np.stack(pixels))


def made_pictures(n: int) -> Tensor:
    """(n, 3, 32, 32) float32: noise, flat images, ramps and pictures with few levels."""
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (n, SIDE, SIDE, 3), dtype=np.uint8)
    pixels[0] = 77
    pixels[1, ..., 0] = 0
    pixels[2] = np.arange(SIDE, dtype=np.uint8)[:, None, None] * 8
    pixels[3] //= 64
    pixels[4] = 255
    return to_float(pixels)


def natural_pictures(n: int) -> Tensor:
    """(n, 3, 32, 32) float32: the first of CIFAR-100; where they are absent, soft patches of colour and contrast."""
    real = real_pictures(n)
    if real is not None:
        return real
    drawn = torch.Generator().manual_seed(0)
    coarse = torch.randn(n, 1, 6, 6, generator=drawn) + 0.4 * torch.randn(n, 3, 6, 6, generator=drawn)
    soft = torch.nn.functional.interpolate(coarse, (SIDE, SIDE), mode="bicubic", align_corners=True)
    contrast = 0.06 + 0.16 * torch.rand(n, 1, 1, 1, generator=drawn)
    pixels = 0.35 + 0.3 * torch.rand(n, 1, 1, 1, generator=drawn) + contrast * soft
    return (pixels.clamp(0, 1) * 255).round() / 255


def to_float(pixels: np.ndarray) -> Tensor:
    """(N, H, W, 3) uint8 to (N, 3, H, W) float32, in memory as training has them."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255


def to_pillow(image: Tensor) -> Image.Image:
    """(3, H, W) float32 to a picture."""
    return Image.fromarray((image * 255).round().byte().permute(1, 2, 0).contiguous().numpy())


def from_pillow(picture: Image.Image) -> Tensor:
    """A picture to (3, H, W) float32."""
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 255
