"""A multilayer perceptron on the raw pixels."""

from __future__ import annotations

from torch import nn

from pocketlens.models._dense import check_dropout, check_positive, check_word

ACTIVATIONS = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "gelu": nn.GELU, "silu": nn.SiLU}


def mlp(
    shape: tuple[int, int, int],
    n_classes: int,
    *,
    hidden: int | tuple[int, ...] = (1024,),
    activation: str = "relu",
    dropout: float = 0.0,
    batch_norm: bool = False,
) -> nn.Module:
    """Hidden layers of the widths `hidden`, each a linear map, optional batch norm, activation, optional dropout.

    Raises:
        PocketlensError: the activation is unknown, or a number is out of range.
    """
    widths = (hidden,) if isinstance(hidden, int) else hidden
    check_positive(widths, "mlp: hidden")
    check_word(activation, tuple(ACTIVATIONS), "mlp: activation")
    check_dropout((dropout,), "mlp: dropout")
    layers: list[nn.Module] = [nn.Flatten()]
    width = shape[0] * shape[1] * shape[2]
    for next_width in widths:
        layers.append(nn.Linear(width, next_width))
        layers += [nn.BatchNorm1d(next_width)] if batch_norm else []
        layers.append(ACTIVATIONS[activation]())
        layers += [nn.Dropout(dropout)] if dropout else []
        width = next_width
    net = nn.Sequential()
    net.add_module("body", nn.Sequential(*layers))
    net.add_module("head", nn.Linear(width, n_classes))
    return net
