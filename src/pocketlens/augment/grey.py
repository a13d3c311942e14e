"""Grey: some images lose their colour; the number of channels stays."""

from __future__ import annotations

from torch import Tensor

from pocketlens.augment._apply import apply_where
from pocketlens.augment._colour import remove_colour
from pocketlens.augment._ranges import check_range, whether
from pocketlens.draws import Draws


def grey(images: Tensor, targets: Tensor, draws: Draws, *, p: float = 0.2) -> tuple[Tensor, Tensor]:
    """Replaces every channel by the luminance with probability `p`."""
    check_range("grey", "p", p, 0, 1)
    return apply_where(images, whether(draws, p), remove_colour), targets
