"""DenseNet-BC: the input of every layer is the maps of all layers before it. Huang et al. 2017, arXiv:1608.06993.

With the ImageNet stem, depth 201 with 1,000 outputs has 20,013,928 parameters.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pocketlens.errors import PocketlensError
from pocketlens.models._dense import check_dropout, check_positive, check_word
from pocketlens.models._stems import STEMS, make_stem

BLOCKS = {
    100: (16, 16, 16),  # the paper's net for CIFAR
    121: (6, 12, 24, 16),
    161: (6, 12, 36, 24),
    169: (6, 12, 32, 32),
    201: (6, 12, 48, 32),
}
GROWTH = {100: 12, 161: 48}  # the others: 32


def densenet(
    shape: tuple[int, int, int],
    n_classes: int,
    *,
    depth: int = 121,
    growth: int | None = None,
    blocks: tuple[int, ...] | None = None,
    dropout: float = 0.0,
    stem: str = "small",
) -> nn.Module:
    """Depth 100 (three blocks), 121, 161, 169 or 201; `blocks` gives other numbers of layers and overrides it.

    Each layer adds `growth` maps (by default as many as in the paper); the stem has twice as many channels. Between
    blocks, channels and sides are halved. The stem `small` is one 3 x 3 convolution; `imagenet` downsamples images to a
    quarter, as published.

    Raises:
        PocketlensError: the depth, the stem or another option is not one of these, or the images are too small.
    """
    if depth not in BLOCKS:
        raise PocketlensError(f"densenet: depth must be one of {', '.join(map(str, BLOCKS))}, got {depth!r}.")
    counts = BLOCKS[depth] if blocks is None else tuple(blocks)
    growth = GROWTH.get(depth, 32) if growth is None else growth
    check_positive((*counts, growth), "densenet: blocks and growth")
    check_dropout((dropout,), "densenet: dropout")
    check_word(stem, STEMS, "densenet: stem")
    if not counts:
        raise PocketlensError("densenet: blocks must name at least one block, such as (6, 12, 24), got ().")
    least = 2 ** (len(counts) - 1) * (4 if stem == "imagenet" else 1)
    if min(shape[:2]) < least:
        raise PocketlensError(
            f"densenet: {len(counts)} blocks with the stem {stem!r} need images of at least {least} px, "
            f"got {shape[0]} x {shape[1]}; give fewer blocks or stem='small'."
        )
    return DenseNet(make_stem(shape[2], 2 * growth, stem, "densenet"), n_classes, counts, growth, dropout)


class DenseNet(nn.Module):
    """Stem, dense blocks with transitions between them, batch norm, global mean, head."""

    def __init__(self, stem: nn.Module, n_classes: int, blocks: tuple[int, ...], growth: int, dropout: float) -> None:
        super().__init__()
        self.stem = stem
        wide = 2 * growth
        layers: list[nn.Module] = []
        for place, n_layers in enumerate(blocks):
            if place:
                layers.append(_transition(wide))
                wide //= 2
            for _ in range(n_layers):
                layers.append(DenseLayer(wide, growth, dropout))
                wide += growth
        self.body = nn.Sequential(*layers, nn.BatchNorm2d(wide), nn.ReLU(inplace=True))
        self.head = nn.Linear(wide, n_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Normalised images (B, C, H, W) to logits (B, n_classes)."""
        logits: Tensor = self.head(self.body(self.stem(x)).mean((2, 3)))
        return logits


class DenseLayer(nn.Module):
    """Norm, ReLU, 1 x 1 to four times the growth, norm, ReLU, 3 x 3 to the growth; joined to the input."""

    def __init__(self, c_in: int, growth: int, dropout: float) -> None:
        super().__init__()
        self.path = nn.Sequential(
            *(nn.BatchNorm2d(c_in), nn.ReLU(inplace=True), nn.Conv2d(c_in, 4 * growth, 1, bias=False)),
            *(nn.BatchNorm2d(4 * growth), nn.ReLU(inplace=True)),
            nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False),
        )
        self.dropout = dropout

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) to (B, C_in + growth, H, W)."""
        new = F.dropout(self.path(x), self.dropout, self.training)
        return torch.cat((x, new), 1)


def _transition(wide: int) -> nn.Sequential:
    return nn.Sequential(
        nn.BatchNorm2d(wide), nn.ReLU(inplace=True), nn.Conv2d(wide, wide // 2, 1, bias=False), nn.AvgPool2d(2)
    )
