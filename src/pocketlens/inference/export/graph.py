"""The exported graph: uint8 images of any size to logits and probabilities, in operations that every format has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.onnx.operators import shape_as_tensor

from pocketlens.data.fit import EDGE
from pocketlens.inference.predict import Predictor
from pocketlens.operations.resize import resize
from pocketlens.training.device_images import operations

UNIT = 2.0**22  # Pillow's weights are whole numbers of its inverse


class Exportable(nn.Module):
    """A classifier that takes uint8 images of any size and returns logits and probabilities."""

    def __init__(self, predictor: Predictor) -> None:
        super().__init__()
        self.classifier, self.fit = predictor.classifier, predictor.classifier.facts.fit
        self.temperature = 1.0 if predictor.temperature is None else predictor.temperature.value
        self.operations = _plain_operations(self.classifier.prepare, self.classifier.image_shape)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(N, H, W, C) uint8 to logits and probabilities, (N, K) float32 each."""
        height, width, _ = self.classifier.image_shape
        pixels = fit_pixels(images.permute(0, 3, 1, 2), height, width, self.fit) / 255  # (N, C, h, w) in 0..1
        for operation in self.operations:
            # The clamps change nothing: between them, runtimes do not fold the 255 into a matrix product, which would
            # round other pixels.
            pixels = operation(pixels.clamp(0, 1))
        if self.operations:
            pixels = (pixels.clamp(0, 1) * 255).round() / 255
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


def fit_pixels(pixels: Tensor, height: int, width: int, fit: str = "crop") -> Tensor:
    """`data.fit.fit_picture` on (N, C, H, W) in 0..255, as two matrix products, whose entries depend on H and W.

    It is Pillow's bicubic filter with antialiasing, to the bit: weights are whole numbers of 2**-22, sums are exact, as
    they are of whole numbers in float64, and each axis is rounded. Matrix products need no operation that a runtime
    lacks or implements differently, and without resizing the matrices are the identity.

    Returns:
        (N, C, height, width) float32, whole numbers in 0..255.
    """
    sides = shape_as_tensor(pixels)[2:].double()  # in a trace these depend on the input
    tall, wide = sides[:1], sides[1:]  # (1,) each: the exporter would make float32 of numbers without an axis
    down, across = (_Axis.whole(side, length) for side, length in ((height, tall), (width, wide)))
    if fit == "crop":
        is_tall = tall * width > wide * height
        down = replace(down, kept=torch.where(is_tall, _floor(wide * height / width), tall))
        across = replace(across, kept=torch.where(is_tall, wide, _floor(tall * width / height)))
    elif fit == "pad":
        is_wide = tall * width <= wide * height
        down = replace(down, inner=torch.where(is_wide, _floor((2 * tall * width + wide) / (2 * wide)), down.inner))
        across = replace(
            across, inner=torch.where(is_wide, across.inner, _floor((2 * wide * height + tall) / (2 * tall)))
        )
    pixels = _rounded(pixels.double() @ across.filters().T)  # (N, C, H, width)
    pixels = _rounded(down.filters() @ pixels).float()  # (N, C, height, width)
    if fit == "pad":
        pixels = pixels + EDGE * (1 - down.covered()[:, None] * across.covered()[None, :])
    return pixels


def _rounded(sums: Tensor) -> Tensor:
    """Sums of pixels in units of 2**-22 as whole pixels in 0..255, half a pixel upwards."""
    return torch.floor((sums + UNIT / 2) / UNIT).clamp(0, 255)


def _floor(value: Tensor) -> Tensor:
    """Whole pixels, at least one."""
    return torch.floor(value).clamp(min=1.0)


@dataclass(frozen=True, eq=False)
class _Axis:
    """How one axis is resized: the middle `kept` of `length` input pixels fill the middle `inner` of `side` output.

    All but `side` are (1,) float64 and depend on the input.
    """

    side: int
    length: Tensor
    kept: Tensor
    inner: Tensor

    @staticmethod
    def whole(side: int, length: Tensor) -> _Axis:
        """All of the input fills all of the output."""
        return _Axis(side, length, length, torch.full((1,), side, dtype=torch.float64))

    def covered(self) -> Tensor:
        """(side,) float32: 1 where the output pixel shows the picture, else 0."""
        first, places = torch.floor((self.side - self.inner) / 2), torch.arange(self.side, dtype=torch.float64)
        return ((places >= first) & (places < first + self.inner)).float()

    def filters(self) -> Tensor:
        """(side, length) float64: the weight of each input pixel in each output pixel, in whole units of 2**-22."""
        first = torch.floor((self.length - self.kept) / 2)
        scale = self.kept / self.inner
        places = torch.arange(self.side, dtype=torch.float64) - torch.floor((self.side - self.inner) / 2)
        centres = first + (places + 0.5) * scale  # (side,)
        sources = torch.arange(self.length.long()[0], dtype=torch.float64)  # type: ignore[call-overload]  # (length,)
        x = (((sources + 0.5)[None, :] - centres[:, None]) / scale.clamp(min=1.0)).abs()
        near = (1.5 * x - 2.5) * x * x + 1  # Keys' cubic with a = -0.5
        far = (((x - 5) * x + 8) * x - 4) * -0.5
        weights = torch.where(x < 1, near, torch.where(x < 2, far, torch.zeros_like(x)))
        inside = ((sources >= first) & (sources < first + self.kept)).double()
        weights = weights * inside[None, :]
        total = weights.sum(1, keepdim=True)
        shares = weights / torch.where(total.abs() < 1e-6, torch.ones_like(total), total)
        whole = torch.sign(shares) * torch.floor(shares.abs() * UNIT + 0.5)
        filters: Tensor = whole * self.covered()[:, None].double()
        return filters
