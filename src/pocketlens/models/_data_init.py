"""InitFromData: what a model has beside `forward` where its first weights depend on data or on a file."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class InitFromData(Protocol):
    """A module that sets some of its weights once, before training; `isinstance` tells whether a module is one."""

    def init_from_data(self, images: Tensor) -> None:
        """Sets weights from normalised training images, (N, C, H, W) float32, or reads pretrained ones."""


@runtime_checkable
class HasPretrained(Protocol):
    """A module that may begin with pretrained weights, which can be checked before any data is read."""

    def check_weights(self, channels: int) -> None:
        """Raises a PocketlensError where its weights cannot be read or do not fit; `channels` are the images'."""
