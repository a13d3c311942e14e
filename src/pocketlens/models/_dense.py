"""The dense layers after a convolutional body, and the checks of options that all models share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from pocketlens.errors import PocketlensError, closest


def dense_layers(
    width: int,
    widths: Sequence[int],
    activation: Callable[[], nn.Module],
    norms: Sequence[bool],
    dropouts: Sequence[float],
) -> list[nn.Module]:
    """For each of `widths`: linear, activation, optional batch norm, optional dropout. `width` is that of the input."""
    layers: list[nn.Module] = []
    for wide, norm, dropout in zip(widths, norms, dropouts, strict=True):
        layers += [nn.Linear(width, wide), activation()]
        layers += [nn.BatchNorm1d(wide)] if norm else []
        layers += [nn.Dropout(dropout)] if dropout else []
        width = wide
    return layers


@dataclass(frozen=True)
class DenseHead:
    """The dense layers between a body and its classification layer.

    Attributes:
        widths: of the layers; there may be none.
        norms: whether each has a batch norm.
        dropouts: of each; without layers a single one, before the classification layer.
    """

    widths: tuple[int, ...]
    norms: tuple[bool, ...]
    dropouts: tuple[float, ...]

    @staticmethod
    def of(dense: Any, norm: Any, dropout: Any, model: str) -> DenseHead:
        """The head of a model's options `dense`, `dense_norm` and `dropout`, each one value or one for each layer.

        Raises:
            PocketlensError: one of them is not what it must be.
        """
        widths = (dense,) if isinstance(dense, int) else tuple(dense)
        check_positive(widths, f"{model}: dense")
        norms = one_for_each(norm, len(widths), f"{model}: dense_norm")
        dropouts = one_for_each(dropout, max(1, len(widths)), f"{model}: dropout")
        check_dropout(dropouts, f"{model}: dropout")
        return DenseHead(widths, norms, dropouts)

    def layers(self, width: int, n_classes: int) -> list[nn.Module]:
        """The dense layers with ReLU, where there are any, and the classification layer; `width` is of the input."""
        if not self.widths:
            return [nn.Linear(width, n_classes)]
        dense = dense_layers(width, self.widths, nn.ReLU, self.norms, self.dropouts)
        return [*dense, nn.Linear(self.widths[-1], n_classes)]


def one_for_each(value: Any, n: int, option: str) -> tuple[Any, ...]:
    """`value` repeated n times where it is a single value, otherwise its n values. `option` names it in the message.

    Raises:
        PocketlensError: it is a sequence of another length.
    """
    if not isinstance(value, (tuple, list)):
        return (value,) * n
    if len(value) != n:
        raise PocketlensError(f"{option} must be one value or {n} of them, one for each layer, got {value!r}.")
    return tuple(value)


def check_positive(values: Sequence[Any], option: str) -> None:
    """Makes sure that all values are whole numbers from 1 on; `option` names them in the message.

    Raises:
        PocketlensError: one of them is not.
    """
    if any(isinstance(value, bool) or not isinstance(value, int) or value < 1 for value in values):
        raise PocketlensError(f"{option} must be whole numbers from 1 on, got {tuple(values)!r}.")


def check_dropout(values: Sequence[Any], option: str) -> None:
    """Makes sure that all values are fractions from 0 to below 1; `option` names them in the message.

    Raises:
        PocketlensError: one of them is not.
    """
    if any(not isinstance(value, (int, float)) or not 0 <= value < 1 for value in values):
        raise PocketlensError(f"{option} must be from 0 to below 1, got {', '.join(map(repr, values))}.")


def check_width(width: float, option: str) -> None:
    """Makes sure that a factor on widths is above 0 and at most 100; `option` names it in the message.

    Raises:
        PocketlensError: it is not.
    """
    if not 0 < width <= 100:
        raise PocketlensError(f"{option} must be above 0 and at most 100, got {width!r}.")


def check_word(word: str, known: Sequence[str], option: str) -> None:
    """Makes sure that an option is one of the `known` words; `option` is "model: name" for the message.

    Raises:
        PocketlensError: it is not; the message names the closest one.
    """
    if word not in known:
        model, _, name = option.partition(": ")
        raise PocketlensError(f"{model}: there is no {name} {word!r}.{closest(str(word), tuple(known))}")
