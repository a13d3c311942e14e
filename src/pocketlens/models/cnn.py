"""Small convolutional nets for ablations, in which every part is an option: pooling, padding, batch norm, dropout.

Published networks are settings of these options. With 100 classes at 32 x 32 x 3 px, these three have

    cnn(channels=(32, 64), padding='valid', pooling='none', dense=128)                      6,454,948 parameters
    cnn(channels=(16, 32, 64), padding='valid', pooling=('max', 'none', 'average'), dense=(),
        batch_norm=('after', 'none', 'after'), dropout=(0.1, 0.2, 0.25))                      183,844
    cnn(channels=(16, 32, 64, 128, 256), padding='valid', pooling=('max', 'none', 'none', 'average', 'none'),
        dense=(), batch_norm='after', dropout=(0.2, 0.15, 0.25, 0.3, 0.45))                   496,100

and Keras, which counts the statistics of batch norm, too, reports 184,004 and 497,092 for the last two. Where only a
count is published, many networks match it; the simplest VGG-like ones that we found, with batch_norm='before', are
these (our reading, not the published layers): for 10 classes at 28 x 28 x 1 px

    channels=(32, 64), repeats=2, dense=(256, 256), dense_norm=True                           937,834, as published
    channels=(32, 64, 128), repeats=2, pool_rounding='up', dense=(1024, 512),
        dense_norm=(True, False)                                                            2,917,482, as published
    channels=(32, 64, 128, 256, 256), repeats=(2, 2, 3, 3, 3), pool_rounding='up', dense=(1024, 64),
        dense_norm=(True, False), pooling=('max', 'max', 'max', 'max', 'none')              4,801,706; 128 too many

and for 100 classes at 32 x 32 x 3 px

    channels=(64, 128, 256, 512), repeats=2, dense=(512, 512), pooling=('max', 'max', 'max', 'none')
                                                                                            9,197,988; 288 too few

A deeper LeNet-5 (five convolutions, three dense layers, ReLU, batch norm, dropout 0.55; the widths are ours) is
channels=(32, 64, 128, 256, 256), pooling=('max', 'max', 'none', 'none', 'max'), batch_norm='before', dense=(512, 256),
dense_dropout=0.55.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from pocketlens.errors import PocketlensError
from pocketlens.models._dense import check_dropout, check_positive, check_word, dense_layers, one_for_each

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}
POOLINGS = ("max", "average", "none")
NORMS = ("none", "before", "after")


def cnn(
    shape: tuple[int, int, int],
    n_classes: int,
    *,
    channels: int | tuple[int, ...] = (32, 64, 128),
    repeats: int | tuple[int, ...] = 1,
    kernel: int | tuple[int, ...] = 3,
    padding: str = "same",
    pooling: str | tuple[str, ...] = "max",
    pool_rounding: str = "down",
    activation: str = "relu",
    slope: float = 0.01,
    batch_norm: str | tuple[str, ...] = "none",
    dropout: float | tuple[float, ...] = 0.0,
    gather: str = "flatten",
    dense: int | tuple[int, ...] = (128,),
    dense_norm: bool | tuple[bool, ...] = False,
    dense_dropout: float | tuple[float, ...] = 0.0,
) -> nn.Module:
    """Groups of `repeats` convolutions, one group for each of `channels`; then `dense` layers and the head.

    A convolution is followed by batch norm (`before`), activation, batch norm (`after`). A group ends with dropout and
    a 2 x 2 pool, which its last norm `after` follows. Options of groups or dense layers take one value for all, or a
    tuple with one for each. `pooling` is max, average, none, or mixed: max in the first half, average in the rest.
    `pool_rounding="up"` keeps the last row and column of odd maps. `gather` is flatten (images must then keep their
    size in training) or mean. `slope` is that of leaky_relu (Keras: 0.3).

    Raises:
        PocketlensError: an option is not one of these, or a map would shrink to nothing.
    """
    _check_words(padding=padding, pool_rounding=pool_rounding, activation=activation, gather=gather)
    widths = (channels,) if isinstance(channels, int) else tuple(channels)
    columns = {"repeats": repeats, "kernel": kernel, "pooling": pooling, "batch_norm": batch_norm, "dropout": dropout}
    groups = _groups(widths, columns)
    style = Style(padding, pool_rounding == "up", _activation(activation, slope))
    dense = (dense,) if isinstance(dense, int) else tuple(dense)
    check_positive(dense, "cnn: dense")
    if not 0 <= slope <= 1:
        raise PocketlensError(f"cnn: slope must be from 0 to 1, got {slope!r}.")
    norms = one_for_each(dense_norm, len(dense), "cnn: dense_norm")
    dropouts = one_for_each(dense_dropout, len(dense), "cnn: dense_dropout")
    check_dropout(dropouts, "cnn: dense_dropout")
    features = _convolutions(shape, groups, style)
    layers = [*features.layers, nn.Flatten() if gather == "flatten" else Mean()]
    wide = features.channels * features.height * features.width if gather == "flatten" else features.channels
    net = nn.Sequential()
    net.add_module("body", nn.Sequential(*layers, *dense_layers(wide, dense, style.activation, norms, dropouts)))
    net.add_module("head", nn.Linear(dense[-1] if dense else wide, n_classes))
    return net


def _groups(widths: tuple[int, ...], columns: dict[str, Any]) -> list[Group]:
    n = len(widths)
    if isinstance(columns["pooling"], str):
        check_word(columns["pooling"], (*POOLINGS, "mixed"), "cnn: pooling")
    if columns["pooling"] == "mixed":
        columns = {**columns, "pooling": ("max",) * ((n + 1) // 2) + ("average",) * (n // 2)}
    each = [one_for_each(value, n, f"cnn: {name}") for name, value in columns.items()]
    groups = [Group(*values) for values in zip(widths, *each, strict=True)]
    for group in groups:
        group.check()
    return groups


@dataclass(frozen=True)
class Group:
    """Convolutions of one width, with their norms, dropout and pool."""

    width: int
    repeats: int
    kernel: int
    pooling: str
    norm: str
    dropout: float

    def check(self) -> None:
        """Makes sure that every value is allowed; raises PocketlensError otherwise."""
        check_positive((self.width, self.repeats, self.kernel), "cnn: channels, repeats and kernel")
        check_word(self.pooling, POOLINGS, "cnn: pooling")
        check_word(self.norm, NORMS, "cnn: batch_norm")
        check_dropout((self.dropout,), "cnn: dropout")


@dataclass(frozen=True)
class Style:
    """The options that all groups share."""

    padding: str  # same or valid
    round_up: bool
    activation: Callable[[], nn.Module]


class Mean(nn.Module):
    """The global mean of each map."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C)."""
        return x.mean((2, 3))


@dataclass(frozen=True, eq=False)
class Features:
    """The layers of all groups, and how many maps they give and of which size."""

    layers: list[nn.Module]
    channels: int
    height: int
    width: int


def _convolutions(shape: tuple[int, int, int], groups: list[Group], style: Style) -> Features:
    height, width, c_in = shape
    layers: list[nn.Module] = []
    n_convolutions = 0
    for group in groups:
        for repeat in range(group.repeats):
            n_convolutions += 1
            layers.append(nn.Conv2d(c_in, group.width, group.kernel, padding=style.padding))
            c_in = group.width
            if style.padding == "valid":
                height, width = height - group.kernel + 1, width - group.kernel + 1
            _check_side((height, width), f"convolution {n_convolutions} (valid, kernel {group.kernel})")
            layers += [nn.BatchNorm2d(c_in)] if group.norm == "before" else []
            layers.append(style.activation())
            if repeat == group.repeats - 1:
                layers += [nn.Dropout(group.dropout)] if group.dropout else []
                if group.pooling != "none":
                    pool = nn.MaxPool2d if group.pooling == "max" else nn.AvgPool2d
                    layers.append(pool(2, ceil_mode=style.round_up))
                    height, width = ((side + style.round_up) // 2 for side in (height, width))
                    _check_side((height, width), f"the pool after convolution {n_convolutions}")
            layers += [nn.BatchNorm2d(c_in)] if group.norm == "after" else []
    return Features(layers, c_in, height, width)


def _check_side(side: tuple[int, int], layer: str) -> None:
    if min(side) < 1:
        raise PocketlensError(
            f"cnn: every map must keep at least one pixel, but {layer} would shrink one to {side[0]} x {side[1]}; "
            f"use padding='same', fewer channels, or pooling='none'."
        )


def _check_words(**given: Any) -> None:
    known = {
        "padding": ("same", "valid"),
        "pool_rounding": ("down", "up"),
        "activation": tuple(ACTIVATIONS),
        "gather": ("flatten", "mean"),
    }
    for option, value in given.items():
        check_word(value, known[option], f"cnn: {option}")


def _activation(name: str, slope: float) -> Callable[[], nn.Module]:
    return (lambda: nn.LeakyReLU(slope)) if name == "leaky_relu" else ACTIVATIONS[name]
