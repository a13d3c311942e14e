"""ResNeXt: residual nets with grouped convolutions. Xie et al. 2017, arXiv:1611.05431.

With 100 outputs and the ImageNet stem, depth 50 has 23,184,804 parameters; with `groups=1, group_width=64` it is
ResNet-50 and has 23,712,932.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from pocketlens.errors import PocketlensError
from pocketlens.models._dense import check_positive
from pocketlens.models._residual import ResidualNet
from pocketlens.models._stems import make_stem

BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
EXPANSION = 4  # a block's output width as a multiple of its stage's nominal width


def resnext(
    shape: tuple[int, int, int],
    n_classes: int,
    *,
    depth: int = 50,
    groups: int = 32,
    group_width: int = 4,
    stem: str = "small",
    blocks: tuple[int, ...] | None = None,
) -> nn.Module:
    """Depth 50 or 101; `groups` groups of `group_width` channels in the first stage, twice as many in each next one.

    `blocks` gives another number of blocks for each stage and overrides the depth. The stem `small` is one 3 x 3
    convolution; `imagenet` downsamples images to a quarter, as published.

    Raises:
        PocketlensError: the depth or the stem is unknown, or a width is not a whole number.
    """
    if depth not in BLOCKS:
        raise PocketlensError(f"resnext: depth must be one of {', '.join(map(str, BLOCKS))}, got {depth!r}.")
    check_positive((groups, group_width), "resnext: groups and group_width")
    counts = BLOCKS[depth] if blocks is None else tuple(blocks)
    check_positive(counts, "resnext: blocks")
    if not counts:
        raise PocketlensError("resnext: blocks must name at least one stage, such as (3, 4, 6, 3), got ().")
    return ResNeXt(make_stem(shape[2], 64, stem, "resnext"), n_classes, counts, (groups, group_width))


class ResNeXt(ResidualNet):
    """Stem of 64 channels, stages of grouped bottlenecks, global mean, head."""

    def __init__(self, stem: nn.Module, n_classes: int, blocks: tuple[int, ...], grouping: tuple[int, int]) -> None:
        groups, group_width = grouping
        stages: list[nn.Module] = []
        wide = 64
        for stage, n_blocks in enumerate(blocks):
            inner, out = groups * group_width * 2**stage, 64 * EXPANSION * 2**stage
            for block in range(n_blocks):
                stages.append(Bottleneck((wide, inner, out), groups, 2 if stage > 0 and block == 0 else 1))
                wide = out
        super().__init__(stem, stages, wide, n_classes)


class Bottleneck(nn.Module):
    """1 x 1, grouped 3 x 3, 1 x 1; plus the shortcut. `widths` are those of the input, the middle and the output."""

    def __init__(self, widths: tuple[int, int, int], groups: int, stride: int) -> None:
        super().__init__()
        c_in, inner, out = widths
        self.path = nn.Sequential(
            *(nn.Conv2d(c_in, inner, 1, bias=False), nn.BatchNorm2d(inner), nn.ReLU(inplace=True)),
            nn.Conv2d(inner, inner, 3, stride, padding=1, groups=groups, bias=False),
            *(nn.BatchNorm2d(inner), nn.ReLU(inplace=True)),
            *(nn.Conv2d(inner, out, 1, bias=False), nn.BatchNorm2d(out)),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or c_in != out:
            self.shortcut = nn.Sequential(nn.Conv2d(c_in, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) to (B, C_out, H / stride, W / stride)."""
        return F.relu(self.path(x) + self.shortcut(x))
