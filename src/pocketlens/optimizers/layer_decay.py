"""Learning rates that become smaller towards the first layers, after an optimizer. Howard and Ruder 2018, section 3.2.

The rule, with one factor for each group of layers, is that of arXiv:1801.06146 and, for vision, of arXiv:2106.08254.
"""

from __future__ import annotations

from torch import nn

from pocketlens.errors import check_range
from pocketlens.optimizers._modifier import Modifier


def layer_decay(classifier: nn.Module, *, factor: float = 0.75) -> Modifier:
    """The head trains at the full learning rate, each group of layers below at `factor` times that of the one above.

    The groups are those that freeze='groups(N)' counts.
    """
    check_range("layer_decay", "factor", factor, 0, 1)
    return LayerDecay(classifier, factor)


class LayerDecay(Modifier):
    """Scales learning rates, and remembers nothing."""

    def __init__(self, classifier: nn.Module, factor: float) -> None:
        super().__init__(classifier)
        self.factor = factor

    def lr_scale(self, depth: int) -> float:
        """factor to the power of the number of groups above, the head included."""
        return self.factor**depth
