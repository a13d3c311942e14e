"""Residual nets with a stem for small images. He et al. 2016, "Deep residual learning", arXiv:1512.03385."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from pocketlens.errors import PocketlensError
from pocketlens.models._residual import ResidualNet

IMAGENET = {18: ((2, 2, 2, 2), False), 34: ((3, 4, 6, 3), False), 50: ((3, 4, 6, 3), True)}  # blocks, bottleneck
CIFAR = (20, 32, 44, 56, 110)  # three stages of (depth - 2) / 6 blocks, section 4.2 of the paper


def resnet(shape: tuple[int, int, int], n_classes: int, *, depth: int = 18, width: float = 1.0) -> nn.Module:
    """Depth 18, 34 or 50 with widths 64 to 512, or 20, 32, 44, 56 or 110 with widths 16 to 64.

    The stem is one 3 x 3 convolution without stride or pooling, as usual for images of 32 px.

    Raises:
        PocketlensError: the depth is not one of these.
    """
    blocks: tuple[int, ...]
    widths: tuple[int, ...]
    if depth in IMAGENET:
        (blocks, bottleneck), widths = IMAGENET[depth], (64, 128, 256, 512)
    elif depth in CIFAR:
        blocks, bottleneck, widths = ((depth - 2) // 6,) * 3, False, (16, 32, 64)
    else:
        known = ", ".join(str(n) for n in (*IMAGENET, *CIFAR))
        raise PocketlensError(f"resnet: depth must be one of {known}, got {depth!r}.")
    stages = [(max(4, round(wide * width)), n_blocks) for wide, n_blocks in zip(widths, blocks, strict=True)]
    return ResNet(shape[2], n_classes, stages, bottleneck)


class ResNet(ResidualNet):
    """Stem, stages of residual blocks, global mean, head."""

    def __init__(self, channels: int, n_classes: int, stages: list[tuple[int, int]], bottleneck: bool) -> None:
        wide = stages[0][0]
        stem = nn.Sequential(_conv(channels, wide, 3), nn.BatchNorm2d(wide), nn.ReLU(inplace=True))
        blocks: list[nn.Module] = []
        for stage, (inner, n_blocks) in enumerate(stages):
            for block in range(n_blocks):
                stride = 2 if stage > 0 and block == 0 else 1
                blocks.append(Block(wide, inner, stride, bottleneck))
                wide = inner * (4 if bottleneck else 1)
        super().__init__(stem, blocks, wide, n_classes)


class Block(nn.Module):
    """Two 3 x 3 convolutions, or 1 x 1, 3 x 3, 1 x 1 with four times the width behind them; plus the shortcut."""

    def __init__(self, c_in: int, inner: int, stride: int, bottleneck: bool) -> None:
        super().__init__()
        out = inner * (4 if bottleneck else 1)
        relu = nn.ReLU(inplace=True)
        if bottleneck:
            convs = [_conv(c_in, inner, 1), _conv(inner, inner, 3, stride), _conv(inner, out, 1)]
        else:
            convs = [_conv(c_in, inner, 3, stride), _conv(inner, out, 3)]
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
