"""lens: the default, a small net with wide late layers, made to be trained in a few epochs.

The design (wide late layers, whitening stem, identity initialisation, max + mean head) follows Jordan 2024,
arXiv:2404.00498, and the public CIFAR-100 speedrun records of 2025; it is written from their descriptions. 8.6M
parameters and 160M multiply-adds at 32 px with 100 classes (175M with the rows that its pools drop).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pocketlens.errors import PocketlensError
from pocketlens.models._dense import check_positive, check_width
from pocketlens.models._layers import PooledConv2d, ShiftNorm2d, TinyConv2d, WhiteningStem

INNER = (1, 3 / 4, 2 / 3)  # of each group, the width between its convolutions a and b as a share of its width
KERNELS = ((3, 1, 1), (3, 3, 1), (2, 3, 3))  # of each group's convolutions 1, a and b


def lens(
    shape: tuple[int, int, int],
    n_classes: int,
    *,
    width: float = 1.0,
    scale: float = 0.1389,
    widths: tuple[int, ...] = (64, 256, 768),
    full: bool = False,
) -> nn.Module:
    """Any image from 8 px on, any number of channels. `width` scales all widths, `scale` the logits.

    `widths` are those of the three groups. With `full`, every convolution of a group has 3 x 3 kernels and the group's
    full width, which suits a GPU, where larger steps are cheap.

    Raises:
        PocketlensError: the images are smaller than 8 px, there are not three widths, or a factor is out of range.
    """
    check_width(width, "lens: width")
    check_positive(widths, "lens: widths")
    if len(widths) != len(KERNELS):
        raise PocketlensError(f"lens: widths must be three, one for each group, got {widths!r}.")
    if not scale > 0:
        raise PocketlensError(f"lens: scale must be above 0, got {scale!r}.")
    if min(shape[:2]) < 8:
        raise PocketlensError(f"lens: images must be at least 8 px on each side, got {shape[0]} x {shape[1]}.")
    groups = []
    for outer, share, kernels in zip(widths, INNER, KERNELS, strict=True):
        inner = outer if full else outer * share
        sides = (3, 3, 3) if full else kernels
        groups.append(GroupSizes(max(8, round(outer * width)), max(8, round(inner * width)), sides))
    return Lens(shape[2], n_classes, groups, scale)


@dataclass(frozen=True)
class GroupSizes:
    """The width of a group, the width between its last two convolutions, and the kernels of all three."""

    width: int
    inner: int
    kernels: tuple[int, int, int]


class Lens(nn.Module):
    """Whitening stem, groups, head."""

    def __init__(self, channels: int, n_classes: int, groups: list[GroupSizes], scale: float) -> None:
        super().__init__()
        self.stem = WhiteningStem(channels)
        made, wide = [], self.stem.out_channels
        for sizes in groups:
            made.append(Group(wide, sizes))
            wide = sizes.width
        self.groups = nn.Sequential(*made)
        self.head = nn.Linear(wide, n_classes, bias=False)
        self.scale = scale

    def init_from_data(self, images: Tensor) -> None:
        """Sets the stem from normalised training images, (N, C, H, W) float32."""
        self.stem.init_from_data(images)

    def features(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the input of the head: global maximum + global mean, (B, width)."""
        x = self.groups(F.silu(self.stem(x)))
        return x.amax((2, 3)) + x.mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Normalised images (B, C, H, W) to logits (B, n_classes)."""
        logits: Tensor = self.head(self.features(x)) * self.scale
        return logits


class Group(nn.Module):
    """conv and max-pool, then x + SiLU(norm(conv_b(SiLU(norm(conv_a(x)))))); all convolutions start as the identity."""

    def __init__(self, c_in: int, sizes: GroupSizes) -> None:
        super().__init__()
        outer, inner, kernels = sizes.width, sizes.inner, sizes.kernels
        self.pooled = PooledConv2d(c_in, outer, kernels[0])
        self.norm = ShiftNorm2d(outer)
        self.conv_a = TinyConv2d(outer, inner, kernels[1])
        self.norm_a = ShiftNorm2d(inner)
        self.conv_b = TinyConv2d(inner, outer, kernels[2])
        self.norm_b = ShiftNorm2d(outer)
        for conv in (self.pooled, self.conv_a, self.conv_b):
            with torch.no_grad():
                nn.init.dirac_(conv.weight[: min(conv.weight.shape[:2])])

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) to (B, C_out, H // 2, W // 2)."""
        x = F.silu(self.norm(self.pooled(x)))
        inner = F.silu(self.norm_a(self.conv_a(x)))
        return x + F.silu(self.norm_b(self.conv_b(inner)))
