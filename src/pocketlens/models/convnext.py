"""ConvNeXt with a stem for small images. Liu et al. 2022, arXiv:2201.03545.

With `blocks=(3, 3, 9, 3)`, `widths=(96, 192, 384, 768)` and `patch=4` it is ConvNeXt-T.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pocketlens.errors import PocketlensError
from pocketlens.models._dense import check_dropout, check_positive
from pocketlens.models._paths import drop_path as drop_branch
from pocketlens.models._paths import rising

EXPANSION = 4
EPS = 1e-6


def convnext(
    shape: tuple[int, int, int],
    n_classes: int,
    *,
    blocks: tuple[int, ...] = (2, 2, 6, 2),
    widths: tuple[int, ...] = (64, 128, 256, 512),
    patch: int = 2,
    kernel: int = 7,
    layer_scale: float = 1e-6,
    drop_path: float = 0.0,
) -> nn.Module:
    """Stages of the given `blocks` and `widths`, each at half the side of the one before; any image.

    The stem cuts the image into patches of `patch` px: 4 as published; 2 gives the first stage 16 x 16 maps of images
    of 32 px; 1 is a 3 x 3 convolution at full size. Sides that are not a multiple are padded with zeros. `kernel` is
    that of the depthwise convolutions. Blocks are dropped at random, with a probability that rises to `drop_path` in
    the last one.

    Raises:
        PocketlensError: the stages do not match, or a number is out of range.
    """
    check_positive((*blocks, *widths), "convnext: blocks and widths")
    if len(blocks) != len(widths) or not blocks:
        raise PocketlensError(f"convnext: each stage must have blocks and a width, got {blocks!r} and {widths!r}.")
    check_positive((patch,), "convnext: patch")
    if patch > min(shape[:2]):
        raise PocketlensError(
            f"convnext: patch must be at most the images' side, {min(shape[:2])} px, got {patch!r}; 1 always fits."
        )
    if kernel < 1 or kernel % 2 == 0:
        raise PocketlensError(f"convnext: kernel must be an odd number from 1 on, such as 3, 5 or 7, got {kernel!r}.")
    if layer_scale < 0:
        raise PocketlensError(f"convnext: layer_scale must be 0 (none) or more, got {layer_scale!r}.")
    check_dropout((drop_path,), "convnext: drop_path")
    stages = [Stage(*each) for each in zip(widths, blocks, strict=True)]
    return ConvNeXt(shape[2], n_classes, patch, stages, Style(kernel, layer_scale, drop_path))


@dataclass(frozen=True)
class Stage:
    """Blocks of one width."""

    width: int
    n_blocks: int


@dataclass(frozen=True)
class Style:
    """The options that all blocks share; blocks are dropped with a probability that rises to `drop_path`."""

    kernel: int
    layer_scale: float
    drop_path: float


class ConvNeXt(nn.Module):
    """Stem of patches and stages in `body`, global mean, norm, head."""

    def __init__(self, channels: int, n_classes: int, patch: int, stages: list[Stage], style: Style) -> None:
        super().__init__()
        wide = stages[0].width
        drops = rising(style.drop_path, sum(stage.n_blocks for stage in stages))
        layers: list[nn.Module] = [Patches(channels, wide, patch), ChannelNorm(wide)]
        for place, stage in enumerate(stages):
            layers += [ChannelNorm(wide), Patches(wide, stage.width, 2)] if place else []
            wide = stage.width
            layers += [Block(wide, style.kernel, style.layer_scale, drops.pop(0)) for _ in range(stage.n_blocks)]
        self.body = nn.Sequential(*layers)
        self.norm = nn.LayerNorm(wide, eps=EPS)
        self.head = nn.Linear(wide, n_classes)
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Normalised images (B, C, H, W) to logits (B, n_classes)."""
        logits: Tensor = self.head(self.norm(self.body(x).mean((2, 3))))
        return logits


class Patches(nn.Conv2d):
    """A convolution of non-overlapping patches; a side that is not a multiple is padded with zeros at its end."""

    def __init__(self, c_in: int, out: int, size: int) -> None:
        kernel, padding = (3, 1) if size == 1 else (size, 0)
        super().__init__(c_in, out, kernel, size, padding=padding)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) to (B, C_out, H / size, W / size), sides rounded up."""
        bottom, right = (-side % self.stride[0] for side in x.shape[2:])
        return super().forward(F.pad(x, (0, right, 0, bottom)) if bottom or right else x)


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of each pixel."""

    def __init__(self, wide: int) -> None:
        super().__init__(wide, eps=EPS)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Block(nn.Module):
    """Depthwise convolution, norm, 1 x 1 to four times the width, GELU, 1 x 1; scaled, and added to the input."""

    def __init__(self, wide: int, kernel: int, scale: float, drop: float) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((wide,), scale)) if scale else None
        self.depthwise = nn.Conv2d(wide, wide, kernel, padding=kernel // 2, groups=wide)
        self.feed = nn.Sequential(
            nn.LayerNorm(wide, eps=EPS),
            *(nn.Linear(wide, EXPANSION * wide), nn.GELU(), nn.Linear(EXPANSION * wide, wide)),
        )
        self.drop = drop

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        branch = self.feed(self.depthwise(x).permute(0, 2, 3, 1))  # (B, H, W, C)
        branch = branch if self.scale is None else branch * self.scale
        return x + drop_branch(branch.permute(0, 3, 1, 2), self.drop, self.training)
