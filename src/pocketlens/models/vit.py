"""A vision transformer for small images. Dosovitskiy et al. 2021, arXiv:2010.11929.

The defaults are those of Lee et al. 2021, "Vision transformer for small-size datasets", arXiv:2112.13492, table 1
(patches of 4 px, nine blocks of width 192 with twelve heads), with the global mean in place of the class token, as in
Beyer et al. 2022, arXiv:2205.01580. `width=384, depth=12, heads=6, expansion=4` is ViT-S.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pocketlens.errors import PocketlensError
from pocketlens.models._dense import check_dropout, check_positive, check_word
from pocketlens.models._paths import drop_path as drop_branch
from pocketlens.models._paths import rising

EPS = 1e-6


def vit(
    shape: tuple[int, int, int],
    n_classes: int,
    *,
    patch: int = 4,
    width: int = 192,
    depth: int = 9,
    heads: int = 12,
    expansion: int = 2,
    gather: str = "mean",
    dropout: float = 0.0,
    drop_path: float = 0.1,
) -> nn.Module:
    """Patches of `patch` px, `depth` blocks of attention and feed-forward layers with `expansion` times the width.

    `gather` is mean, or token (a class token). For images of another size than the model was built for, positions are
    interpolated, and sides that are not a multiple of `patch` are padded with zeros, so any image fits. `dropout`
    follows each feed-forward and attention layer; blocks are dropped at random, with a probability that rises to
    `drop_path` in the last one.

    Raises:
        PocketlensError: a number is out of range, or the heads do not divide the width.
    """
    check_positive((patch, width, depth, heads, expansion), "vit: patch, width, depth, heads and expansion")
    check_dropout((dropout,), "vit: dropout")
    check_dropout((drop_path,), "vit: drop_path")
    check_word(gather, ("mean", "token"), "vit: gather")
    if width % heads:
        raise PocketlensError(f"vit: heads must divide the width, got {heads!r} heads for a width of {width!r}.")
    if patch > min(shape[:2]):
        raise PocketlensError(f"vit: patch must be at most the images' side, {min(shape[:2])} px, got {patch!r}.")
    cells = (-(-shape[0] // patch), -(-shape[1] // patch))
    blocks = [Block(width, heads, expansion * width, dropout, drop) for drop in rising(drop_path, depth)]
    return ViT(Grid(shape[2], patch, cells), n_classes, blocks, gather == "token")


@dataclass(frozen=True)
class Grid:
    """How images are cut: their channels, the side of a patch in px, and the number of patches down and across."""

    channels: int
    patch: int
    cells: tuple[int, int]


class ViT(nn.Module):
    """Patches with their positions, blocks in `body`, norm, mean or class token, head."""

    def __init__(self, grid: Grid, n_classes: int, blocks: list[Block], has_token: bool) -> None:
        super().__init__()
        wide = blocks[0].wide
        self.token = nn.Parameter(torch.zeros(1, 1, wide)) if has_token else None
        self.token_place = nn.Parameter(torch.zeros(1, 1, wide)) if has_token else None
        self.places = nn.Parameter(torch.zeros(1, wide, *grid.cells))  # one vector for each patch
        self.patches = nn.Conv2d(grid.channels, wide, grid.patch, grid.patch)
        self.body = nn.Sequential(*blocks)
        self.norm = nn.LayerNorm(wide, eps=EPS)
        self.head = nn.Linear(wide, n_classes)
        for parameter in (self.token, self.token_place, self.places):
            if parameter is not None:
                nn.init.trunc_normal_(parameter, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Normalised images (B, C, H, W) to logits (B, n_classes)."""
        bottom, right = (-side % self.patches.stride[0] for side in x.shape[2:])
        maps = self.patches(F.pad(x, (0, right, 0, bottom)) if bottom or right else x)  # (B, D, h, w)
        places: Tensor = self.places
        if maps.shape[2:] != places.shape[2:]:
            places = F.interpolate(places, maps.shape[2:], mode="bicubic", antialias=True)
        tokens = (maps + places).flatten(2).transpose(1, 2)  # (B, h w, D)
        if self.token is not None and self.token_place is not None:
            tokens = torch.cat(((self.token + self.token_place).expand(len(x), -1, -1), tokens), 1)
        tokens = self.norm(self.body(tokens))
        logits: Tensor = self.head(tokens.mean(1) if self.token is None else tokens[:, 0])
        return logits


class Block(nn.Module):
    """Attention among all patches and a feed-forward layer, each after a norm and added to its input."""

    def __init__(self, wide: int, heads: int, inner: int, dropout: float, drop: float) -> None:
        super().__init__()
        self.wide, self.heads, self.drop = wide, heads, drop
        self.norm_a, self.norm_b = nn.LayerNorm(wide, eps=EPS), nn.LayerNorm(wide, eps=EPS)
        self.to_qkv, self.to_out = nn.Linear(wide, 3 * wide), nn.Linear(wide, wide)
        self.feed = nn.Sequential(nn.Linear(wide, inner), nn.GELU(), nn.Dropout(dropout), nn.Linear(inner, wide))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, D) to the same."""
        x = x + drop_branch(self.dropout(self._attend(self.norm_a(x))), self.drop, self.training)
        return x + drop_branch(self.dropout(self.feed(self.norm_b(x))), self.drop, self.training)

    def _attend(self, x: Tensor) -> Tensor:
        batch, n, _ = x.shape
        qkv = self.to_qkv(x).view(batch, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        query, key, value = qkv  # each (B, heads, N, D / heads)
        weights = (query @ key.transpose(2, 3) * query.shape[3] ** -0.5).softmax(3)
        result: Tensor = self.to_out((weights @ value).transpose(1, 2).reshape(batch, n, -1))
        return result
