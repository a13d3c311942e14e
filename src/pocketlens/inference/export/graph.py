"""The exported graph: uint8 images of any size to logits and probabilities, in operations that every format has."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.onnx.operators import shape_as_tensor

from pocketlens.inference.predict import Predictor
from pocketlens.operations.resize import resize
from pocketlens.training.device_images import operations


class Exportable(nn.Module):
    """A classifier that takes uint8 images of any size and returns logits and probabilities."""

    def __init__(self, predictor: Predictor) -> None:
        super().__init__()
        self.classifier = predictor.classifier
        self.temperature = 1.0 if predictor.temperature is None else predictor.temperature.value
        self.operations = _plain_operations(self.classifier.prepare, self.classifier.image_shape)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(N, H, W, C) uint8 to logits and probabilities, (N, K) float32 each."""
        height, width, _ = self.classifier.image_shape
        pixels = fit_middle(images.permute(0, 3, 1, 2).float(), height, width) / 255  # (N, C, h, w) in 0..1
        for operation in self.operations:
            pixels = operation(pixels)
        if self.operations:
            pixels = (pixels * 255).round().clamp(0, 255) / 255
        logits = self.classifier(pixels)
        return logits, torch.softmax(logits / self.temperature, dim=1)


def _plain_operations(prepare: str, image_shape: tuple[int, int, int]) -> list[Callable[[Tensor], Tensor]]:
    """The operations of `prepare`; torch's antialiased resize, which ONNX lacks, becomes two matrix products."""
    height, width, channels = image_shape
    blank, plain = torch.zeros(1, channels, height, width), list[Callable[[Tensor], Tensor]]()
    for function, options in operations(prepare):
        before, blank = blank, function(blank, **options)
        plain.append(_resize(before, blank, options) if function is resize else partial(function, **options))
    return plain


def _resize(before: Tensor, after: Tensor, options: dict[str, Any]) -> Callable[[Tensor], Tensor]:
    (tall, wide), (height, width) = before.shape[2:], after.shape[2:]
    down = _response(tall, (height, tall), options)  # (height, tall)
    across = _response(wide, (wide, width), options)  # (wide, width)
    if options.get("filter") == "bicubic":
        return lambda pixels: (down @ (pixels @ across)).clamp(0, 1)
    return lambda pixels: down @ (pixels @ across)


def _response(n: int, size: tuple[int, int], options: dict[str, Any]) -> Tensor:
    """The response of a resize to each of `n` pixels in a row; bicubic weights may be negative, so none is cut off."""
    if n in size and size[0] == size[1]:
        return torch.eye(n)
    mode = options.get("filter", "bilinear")
    image = torch.eye(n)[None, None]
    return torch.nn.functional.interpolate(image, size, mode=mode, align_corners=False, antialias=True)[0, 0]


def fit_middle(pixels: Tensor, height: int, width: int) -> Tensor:
    """`images.resize_middle` on (N, C, H, W) float32 in 0..255, as two matrix products whose entries depend on H and W.

    It is Pillow's bicubic filter with antialiasing, rounded after each axis as Pillow does. Matrix products need no
    operation that a runtime lacks or implements differently, and without resizing the matrices are the identity.
    """
    tall, wide = shape_as_tensor(pixels)[2:].double()  # in a trace these depend on the input
    one = torch.ones((), dtype=torch.float64)
    is_tall = tall * width > wide * height
    kept_y = torch.where(is_tall, torch.maximum(one, torch.floor(wide * height / width)), tall)
    kept_x = torch.where(is_tall, wide, torch.maximum(one, torch.floor(tall * width / height)))
    across = _filters(width, wide, kept_x)  # (width, W)
    down = _filters(height, tall, kept_y)  # (height, H)
    pixels = torch.floor(pixels @ across.T + 0.5).clamp(0, 255)  # (N, C, H, width)
    return torch.floor(down @ pixels + 0.5).clamp(0, 255)


def _filters(out: int, length: Tensor, kept: Tensor) -> Tensor:
    """(out, length) float32: the weight of each input pixel in each output pixel, within the middle `kept` pixels."""
    first = torch.floor((length - kept) / 2)
    scale = kept / out
    centres = first + (torch.arange(out, dtype=torch.float64) + 0.5) * scale  # (out,)
    places = torch.arange(length.long(), dtype=torch.float64)  # type: ignore[call-overload]  # (length,)
    away = ((places + 0.5)[None, :] - centres[:, None]) / scale.clamp(min=1.0)
    x = away.abs()
    near = (1.5 * x - 2.5) * x * x + 1  # Keys' cubic with a = -0.5
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    weights = torch.where(x < 1, near, torch.where(x < 2, far, torch.zeros_like(x)))
    inside = ((places >= first) & (places < first + kept)).double()
    weights = weights * inside[None, :]
    shares: Tensor = weights / weights.sum(1, keepdim=True)
    return shares.float()
