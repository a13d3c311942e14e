"""The layers of a model with their output shapes, parameters and multiply-adds, as `pocketlens show MODEL` prints them.

Multiply-adds are those of convolutions and matrix products, counted by torch on tensors without data; training an image
costs about six times that number of floating-point operations (two for each multiply-add, forward once and backward
twice).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from pocketlens.errors import PocketlensError
from pocketlens.spec import parse_one, resolve

Shape = tuple[int, int, int]  # (height, width, channels)


@dataclass(frozen=True)
class Layer:
    """One layer: its name in the model, its kind, the shape of what it gives for one image, and what it costs."""

    name: str
    kind: str
    shape: tuple[int, ...]
    n_parameters: int
    n_trainable: int
    multiply_adds: int


def layer_table(model_text: str, shape: Shape, n_classes: int) -> list[Layer]:
    """The layers of a model, in the order in which they compute.

    Raises:
        PocketlensError: there is no such model, or it cannot take such images.
    """
    model = _build(model_text, shape, n_classes).eval().to("meta")
    height, width, channels = shape
    layers: list[Layer] = []
    counter = FlopCounterMode(display=False)
    before: list[int] = []
    for name, module in model.named_modules():
        if next(module.children(), None) is None:
            module.register_forward_pre_hook(lambda _m, _in: before.append(counter.get_total_flops()))
            module.register_forward_hook(
                lambda m, _in, out, name=name: layers.append(
                    _layer(name, m, out, (counter.get_total_flops() - before[-1]) // 2)
                )
            )
    try:
        with torch.no_grad(), counter:
            model(torch.zeros(1, channels, height, width, device="meta"))  # (B, C, H, W) float32
    except (RuntimeError, ValueError) as error:
        reason = str(error).split("\n")[0]
        raise PocketlensError(f"{model_text} must be able to take images of {height} x {width} px: {reason}") from None
    return [*layers, *_rest(model, layers, counter.get_total_flops() // 2)]


def _build(model_text: str, shape: Shape, n_classes: int) -> nn.Module:
    component = parse_one(model_text, "models")
    try:
        model: nn.Module = resolve(component, "models")(shape, n_classes, **dict(component.options))
    except (RuntimeError, ValueError, TypeError, ZeroDivisionError) as error:
        reason = str(error).split("\n")[0]
        raise PocketlensError(
            f"{model_text} cannot be built for images of {shape[0]} x {shape[1]} px: {reason}"
        ) from None
    return model


def _layer(name: str, module: nn.Module, out: Any, multiply_adds: int) -> Layer:
    shape = tuple(out.shape[1:]) if isinstance(out, Tensor) else ()
    parameters = list(module.parameters())
    trainable = sum(p.numel() for p in parameters if p.requires_grad)
    return Layer(name, type(module).__name__, shape, sum(p.numel() for p in parameters), trainable, multiply_adds)


def _rest(model: nn.Module, layers: list[Layer], multiply_adds: int) -> list[Layer]:
    """What belongs to no single layer, as one line."""
    seen = {layer.name for layer in layers}
    parameters = [p for name, p in model.named_parameters() if name.rpartition(".")[0] not in seen]
    uncounted = multiply_adds - sum(layer.multiply_adds for layer in layers)
    if not parameters and not uncounted:
        return []
    trainable = sum(p.numel() for p in parameters if p.requires_grad)
    return [Layer("(other)", "-", (), sum(p.numel() for p in parameters), trainable, uncounted)]
