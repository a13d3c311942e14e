"""A multilayer perceptron on the raw pixels."""

from __future__ import annotations

from torch import nn

from pocketlens.errors import PocketlensError

ACTIVATIONS = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "gelu": nn.GELU, "silu": nn.SiLU}


def mlp(
    shape: tuple[int, int, int],
    n_classes: int,
    *,
    hidden: tuple[int, ...] = (1024,),
    activation: str = "relu",
    dropout: float = 0.0,
    batch_norm: bool = False,
) -> nn.Module:
    """Hidden layers of the widths `hidden`, each a linear map, optional batch norm, activation, optional dropout.

    Raises:
        PocketlensError: the activation is unknown.
    """
    if activation not in ACTIVATIONS:
        raise PocketlensError(f"mlp: activation must be one of {', '.join(ACTIVATIONS)}, got {activation!r}.")
    layers: list[nn.Module] = [nn.Flatten()]
    width = shape[0] * shape[1] * shape[2]
    for next_width in (hidden,) if isinstance(hidden, int) else hidden:
        layers.append(nn.Linear(width, next_width))
        layers += [nn.BatchNorm1d(next_width)] if batch_norm else []
        layers.append(ACTIVATIONS[activation]())
        layers += [nn.Dropout(dropout)] if dropout else []
        width = next_width
    net = nn.Sequential()
    net.add_module("body", nn.Sequential(*layers))
    net.add_module("head", nn.Linear(width, n_classes))
    return net
