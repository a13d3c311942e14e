"""AugMix: a mixture of the image and of short chains of operations on it. Hendrycks et al. 2019, arXiv:1912.02781."""

from __future__ import annotations

import torch
from torch import Tensor

from pocketlens.augment._mixing import beta
from pocketlens.augment._policy import OPERATIONS, Ranges, execute, magnitudes
from pocketlens.augment._ranges import check_range, check_whole
from pocketlens.draws import Draws

# The paper's nine: none that is like the corruptions by which robustness is measured.
CHOICE = (
    "autocontrast", "equalize", "posterize", "rotate", "solarize", "shear_x", "shear_y", "translate_x", "translate_y",
)  # fmt: skip
DEEPEST = 3


def augmix(
    images: Tensor,
    targets: Tensor,
    draws: Draws,
    *,
    severity: float = 3,
    width: int = 3,
    depth: int | None = None,
    alpha: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """Mixes `width` chains of `depth` operations (None: 1 to 3, drawn) with each other, then with the image.

    The chains' shares come from Dirichlet(alpha, ..), the mixture's from Beta(alpha, alpha); the level of each
    operation is uniform in 0.1 .. severity, of 10.
    """
    check_range("augmix", "severity", severity, 0.1, 10)
    check_whole("augmix", "width", width, 1, 10)
    check_range("augmix", "alpha", alpha, 0.01, 100)
    if depth is not None:
        check_whole("augmix", "depth", depth, 1, 10)
    deepest = depth or DEEPEST
    drawn = _draw_operations(draws, images, severity, width * deepest)  # (B, width * deepest) each
    operations, strengths = (part.view(-1, width, deepest) for part in drawn)
    depths = draws.integers("depth", depth or 1, deepest, width)  # (B, width) int64
    is_due = torch.arange(deepest, device=images.device) < depths[:, :, None]  # (B, width, deepest) bool
    operations = torch.where(is_due, operations, OPERATIONS.index("identity"))
    images = images.contiguous()
    shares = _dirichlet(draws, alpha, width) * beta(draws.uniform("mixture"), alpha, alpha)  # (B, width)
    mixed = images * (1 - shares.sum(1))[:, None, None, None]
    for place in range(width):
        chain = execute(images, operations[:, place], strengths[:, place], fill=0.0, bilinear=True)  # (B, C, H, W)
        mixed.addcmul_(chain, shares[:, place, None, None, None])
    return mixed.clamp_(0, 1), targets


def _draw_operations(draws: Draws, images: Tensor, severity: float, n: int) -> tuple[Tensor, Tensor]:
    """(B, n) int64 operations and (B, n) float32 magnitudes."""
    choice = torch.tensor([OPERATIONS.index(name) for name in CHOICE], device=images.device)
    operation = choice[draws.integers("operation", 0, len(CHOICE) - 1, n)]
    level = (0.1 + (severity - 0.1) * draws.uniform("level", n)) / 10
    ranges = Ranges(0.3, (images.shape[2] / 3, images.shape[3] / 3), 30.0, 0.0, (4, 0), cut_off=True)
    return operation, magnitudes(ranges, operation, level, draws.uniform("sign", n) < 0.5)


def _dirichlet(draws: Draws, alpha: float, n: int) -> Tensor:
    """(B, n) float32, rows from Dirichlet(alpha, ..): pieces broken off a stick, each a beta share of the rest."""
    rest, shares = torch.ones(len(draws.rows), device=draws.rows.device), []
    for place in range(1, n):
        piece = rest * beta(draws.uniform(f"share {place}")[:, 0], alpha, alpha * (n - place))
        shares.append(piece)
        rest = rest - piece
    return torch.stack([*shares, rest], 1)
