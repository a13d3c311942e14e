"""The layers of a model with their output shapes, parameters and multiply-adds, as `pocketlens show MODEL` prints them.

Multiply-adds are those of convolutions and matrix products; torch counts them on tensors without data. Training on an
image takes about six times as many floating-point operations: two per multiply-add, forward once and backward twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from pocketlens.components import parse_one, resolve
from pocketlens.errors import PocketlensError

Shape = tuple[int, int, int]  # (height, width, channels)
COUNTER = "num_batches_tracked"  # batch norm's batch counter is a buffer, but no statistic; it is left out


@dataclass(frozen=True)
class Layer:
    """One layer: its name in the model, its kind, the shape of its output for one image, and its cost."""

    name: str
    kind: str
    shape: tuple[int, ...]
    n_parameters: int
    n_trainable: int
    n_frozen: int
    n_buffers: int  # stored numbers that are not trained: batch norm's statistics
    multiply_adds: int


def layer_table(model_text: str, shape: Shape, n_classes: int) -> list[Layer]:
    """The layers of a model, in the order of the forward pass.

    A layer that is called twice is listed twice; its tensors count only the first time. The last line is the rest, such
    as the products inside attention.

    Raises:
        PocketlensError: there is no such model, or it cannot take such images.
    """
    model = _build(model_text, shape, n_classes).eval()
    height, width, channels = shape
    layers: list[Layer] = []
    counter = FlopCounterMode(display=False)
    before: list[int] = []
    seen: set[str] = set()

    def note(name: str, module: nn.Module, out: Any) -> None:
        done = (counter.get_total_flops() - before[-1]) // 2
        shape_out = tuple(out.shape[1:]) if isinstance(out, Tensor) else ()
        tensors = [] if name in seen else _tensors(module)
        layers.append(_layer(name, type(module).__name__, shape_out, tensors, done))
        seen.add(name)

    for name, module in model.named_modules():
        if next(module.children(), None) is None:
            module.register_forward_pre_hook(lambda _m, _in: before.append(counter.get_total_flops()))
            module.register_forward_hook(lambda m, _in, out, name=name: note(name, m, out))
    try:
        with torch.no_grad(), counter:
            model(torch.zeros(1, channels, height, width, device="meta"))  # (B, C, H, W) float32
    except (RuntimeError, ValueError) as error:
        reason = str(error).split("\n")[0]
        raise PocketlensError(f"{model_text} cannot take images of {height} x {width} px: {reason}") from None
    return [*layers, *_rest(model, layers, counter.get_total_flops() // 2)]


def totals(layers: Iterable[Layer]) -> dict[str, int]:
    """The sums over the layers, by field."""
    fields = ("n_parameters", "n_trainable", "n_frozen", "n_buffers", "multiply_adds")
    layers = list(layers)
    return {name: sum(getattr(layer, name) for layer in layers) for name in fields}


def _build(model_text: str, shape: Shape, n_classes: int) -> nn.Module:
    component = parse_one(model_text, "models")
    try:
        with torch.device("meta"):  # allocates no weights
            model: nn.Module = resolve(component, "models")(shape, n_classes, **dict(component.options))
    except PocketlensError:
        raise
    except Exception as error:
        if not component.file and not isinstance(error, (RuntimeError, ValueError, TypeError, ZeroDivisionError)):
            raise
        reason = str(error).split("\n")[0]
        raise PocketlensError(
            f"{model_text} cannot be built for images of {shape[0]} x {shape[1]} px: {reason}"
        ) from None
    return model


def _tensors(module: nn.Module) -> list[tuple[str, Tensor]]:
    return [*module.named_parameters(), *module.named_buffers()]


def _layer(
    name: str, kind: str, output: tuple[int, ...], tensors: list[tuple[str, Tensor]], multiply_adds: int
) -> Layer:
    parameters = [tensor for _, tensor in tensors if isinstance(tensor, nn.Parameter)]
    buffers = [
        tensor for key, tensor in tensors if not isinstance(tensor, nn.Parameter) and key.rpartition(".")[2] != COUNTER
    ]
    n_parameters = sum(parameter.numel() for parameter in parameters)
    n_trainable = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
    n_buffers = sum(buffer.numel() for buffer in buffers)
    n_frozen = n_parameters - n_trainable
    return Layer(name, kind, output, n_parameters, n_trainable, n_frozen, n_buffers, multiply_adds)


def _rest(model: nn.Module, layers: list[Layer], multiply_adds: int) -> list[Layer]:
    """What belongs to no single layer, as one line, where there is anything."""
    seen = {layer.name for layer in layers}
    tensors = [(name, tensor) for name, tensor in _tensors(model) if name.rpartition(".")[0] not in seen]
    rest = _layer("(other)", "-", (), tensors, multiply_adds - sum(layer.multiply_adds for layer in layers))
    return [rest] if rest.n_parameters or rest.n_buffers or rest.multiply_adds else []
