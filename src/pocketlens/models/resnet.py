"""Residual nets. He et al. 2016, "Deep residual learning for image recognition", arXiv:1512.03385.

With 100 outputs and the ImageNet stem, depth 50 has 23,712,932 parameters; the small stem has 7,680 fewer.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from pocketlens.errors import PocketlensError
from pocketlens.models._dense import check_positive, check_width
from pocketlens.models._residual import ResidualNet, Stage
from pocketlens.models._stems import make_stem

# Blocks of each stage; from 50 on bottlenecks.
IMAGENET = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
CIFAR = (20, 32, 44, 56, 110)  # three stages of (depth - 2) / 6 blocks, section 4.2 of the paper


def resnet(
    shape: tuple[int, int, int],
    n_classes: int,
    *,
    depth: int = 18,
    width: float = 1.0,
    stem: str = "small",
    blocks: tuple[int, ...] | None = None,
    widths: tuple[int, ...] | None = None,
    convolutions: int = 2,
) -> nn.Module:
    """Depth 18, 34, 50, 101 or 152 with widths 64 to 512, or 20, 32, 44, 56 or 110 with widths 16 to 64; any image.

    The stem `small` is one 3 x 3 convolution without stride or pooling, as usual for images of 32 px; `imagenet`
    downsamples images to a quarter, as published. `blocks` and `widths` give each stage's number of blocks and width
    and override the depth. `convolutions` is the number of 3 x 3 convolutions in a block without bottleneck.

    Raises:
        PocketlensError: the depth or the stem is not one of these, or a number is out of range.
    """
    check_width(width, "resnet: width")
    check_positive((convolutions,), "resnet: convolutions")
    if depth not in IMAGENET and depth not in CIFAR:
        known = ", ".join(str(n) for n in (*IMAGENET, *CIFAR))
        raise PocketlensError(f"resnet: depth must be one of {known}, got {depth!r}.")
    counts: tuple[int, ...] = IMAGENET[depth] if depth in IMAGENET else ((depth - 2) // 6,) * 3
    bottleneck = blocks is None and depth in IMAGENET and depth >= 50
    counts = counts if blocks is None else tuple(blocks)
    wides: tuple[int, ...] = ((64, 128, 256, 512) if depth in IMAGENET else (16, 32, 64))[: len(counts)]
    wides = wides if widths is None else tuple(widths)
    check_positive((*counts, *wides), "resnet: blocks and widths")
    if len(counts) != len(wides) or not counts:
        raise PocketlensError(f"resnet: there must be a width for each stage, got blocks {counts} and widths {wides}.")
    stages = [Stage(max(4, round(wide * width)), n_blocks) for wide, n_blocks in zip(wides, counts, strict=True)]
    first = make_stem(shape[2], stages[0].width, stem, "resnet")
    return ResNet(first, n_classes, stages, 0 if bottleneck else convolutions)


class ResNet(ResidualNet):
    """Stem, stages of residual blocks, global mean, head. `convolutions` are those of a block; 0 makes bottlenecks."""

    def __init__(self, stem: nn.Module, n_classes: int, stages: list[Stage], convolutions: int) -> None:
        wide = stages[0].width
        blocks: list[nn.Module] = []
        for place, stage in enumerate(stages):
            for block in range(stage.n_blocks):
                stride = 2 if place > 0 and block == 0 else 1
                blocks.append(Block(wide, stage.width, stride, convolutions))
                wide = stage.width * (1 if convolutions else 4)
        super().__init__(stem, blocks, wide, n_classes)


class Block(nn.Module):
    """3 x 3 convolutions, or for `convolutions=0` a bottleneck (1 x 1, 3 x 3, 1 x 1 to four times the width); plus the
    shortcut."""

    def __init__(self, c_in: int, inner: int, stride: int, convolutions: int) -> None:
        super().__init__()
        relu = nn.ReLU(inplace=True)
        if convolutions:
            out = inner
            convs = [_conv(c_in, inner, 3, stride), *(_conv(inner, out, 3) for _ in range(convolutions - 1))]
        else:
            out = 4 * inner
            convs = [_conv(c_in, inner, 1), _conv(inner, inner, 3, stride), _conv(inner, out, 1)]
        steps: list[nn.Module] = []
        for conv in convs:
            steps += [conv, nn.BatchNorm2d(conv.out_channels), relu]
        self.path = nn.Sequential(*steps[:-1])
        plain = stride == 1 and c_in == out
        self.shortcut = nn.Identity() if plain else nn.Sequential(_conv(c_in, out, 1, stride), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) to (B, C_out, H / stride, W / stride)."""
        return F.relu(self.path(x) + self.shortcut(x))


def _conv(c_in: int, c_out: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(c_in, c_out, kernel, stride, padding=kernel // 2, bias=False)
