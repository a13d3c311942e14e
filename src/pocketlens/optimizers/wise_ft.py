"""WiSE-FT, after an optimizer: the result lies between first and last weights. Wortsman et al. 2021, arXiv:2109.01903.

Training itself does not see it. When it has ended, the weights (1 - alpha) first + alpha last are validated for a few
values of alpha, and the best become the result: see training/interpolation.py. Behind a warm start from a linear probe
the first weights are the probe's, so the result can be the probe, the fine-tuned network, or one between them.
"""

from __future__ import annotations

import torch
from torch import nn

from pocketlens.errors import check_whole
from pocketlens.optimizers._modifier import Modifier


def wise_ft(classifier: nn.Module, *, points: int = 5) -> Modifier:
    """Remembers the first weights; alpha is one of `points` values that are equally spaced from 0 to 1.

    Equation 1 of the paper. The last weights are the slow weights or averages where another modifier keeps any. Without
    validation rows alpha is 0.5, which the paper recommends where nothing can be chosen.
    """
    check_whole("wise_ft", "points", points, 2, 101)
    return WiseFt(classifier, points)


class WiseFt(Modifier):
    """Remembers weights and buffers as they were before the first step."""

    def __init__(self, classifier: nn.Module, points: int) -> None:
        super().__init__(classifier)
        self.alphas = tuple(place / (points - 1) for place in range(points))
        self.memory = {name: value.detach().clone() for name, value in classifier.state_dict().items()}

    @torch.no_grad()
    def before_training(self) -> None:
        """Takes the weights from which training begins, behind a warm start."""
        for name, value in self.classifier.state_dict().items():
            self.memory[name].copy_(value)
