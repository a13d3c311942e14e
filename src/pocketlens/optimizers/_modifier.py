"""Modifier: what stands behind an optimizer in a pipe, and works before and after each of its steps."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn


class Modifier:
    """Does nothing; a modifier says what it does before a step, after it, to the learning rates, or several of these.

    Attributes:
        memory: all that it remembers, and what a checkpoint holds of it. It has the names of the classifier's weights:
            those of lookahead and ema take the place of the last step's in validation and in the result.
    """

    def __init__(self, classifier: nn.Module) -> None:
        self.classifier = classifier
        self.memory: dict[str, Tensor] = {}

    def lr_scale(self, depth: int) -> float:  # noqa: ARG002
        """A factor on the learning rate of a parameter; `depth` is how many groups of layers are above: 0 in the head.

        The groups are those of training/freeze.py; the head is above the last one.
        """
        return 1.0

    def before_training(self) -> None:
        """Called before the first forward pass, when the weights are those from which training begins."""

    def before_step(self, step: int, gradients: Callable[[], object]) -> None:
        """Called when the gradients are there; `step` is how many steps are done.

        `gradients` computes them anew, for the same batch and with the same dropout, at the weights as they stand.
        """

    def after_step(self, step: int) -> None:
        """Called when the optimizer has changed the weights; `step` is how many steps are done, 1 or more."""
