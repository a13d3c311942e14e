"""Exponential moving average of the weights, after an optimizer. Polyak and Juditsky 1992, SIAM J. Control 30(4).

The warm-up of the decay is that of TensorFlow's `ExponentialMovingAverage`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from pocketlens.errors import check_below_1
from pocketlens.optimizers._modifier import Modifier


def ema(classifier: nn.Module, *, decay: float = 0.999) -> Modifier:
    """average = d average + (1 - d) weights after every step t, with d = min(decay, (1 + t) / (10 + t)).

    So the first steps, whose weights are poor, are soon forgotten. The running statistics of batch norm are averaged
    alike, counts are copied. The average is validated and is the result; training itself does not see it.
    """
    check_below_1("ema", decay=decay)
    return Ema(classifier, decay)


class Ema(Modifier):
    """Remembers the average of weights and buffers."""

    def __init__(self, classifier: nn.Module, decay: float) -> None:
        super().__init__(classifier)
        self.decay = decay
        self.memory = {name: value.detach().clone() for name, value in classifier.state_dict().items()}

    def before_step(self, step: int, gradients: Callable[[], object]) -> None:  # noqa: ARG002
        """The average begins with the weights from which training begins, behind a warm start."""
        if step == 0:
            for name, value in self.classifier.state_dict().items():
                self.memory[name].copy_(value)

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        """Moves the average towards the weights."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, value in self.classifier.state_dict().items():
            if value.is_floating_point():
                self.memory[name].lerp_(value, 1 - decay)
            else:
                self.memory[name].copy_(value)
