"""Pre-activation residual nets. He et al. 2016, "Identity mappings in deep residual networks", arXiv:1603.05027.

Depth 18 with 100 outputs has 11,218,340 parameters; depth 164, the paper's net for CIFAR, 1,726,388.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from pocketlens.errors import PocketlensError
from pocketlens.models._dense import check_width
from pocketlens.models._residual import ResidualNet, Stage

# Blocks of each stage; from 50 on bottlenecks.
IMAGENET = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
CIFAR = {110: 18, 164: 18, 1001: 111}  # blocks in each of three stages; from 164 on bottlenecks


def preact_resnet(shape: tuple[int, int, int], n_classes: int, *, depth: int = 18, width: float = 1.0) -> nn.Module:
    """Depth 18, 34, 50 or 101 with widths 64 to 512, or 110, 164 or 1001 with widths 16 to 64; any image.

    Norm and ReLU come before each convolution, so that the shortcuts carry the input unchanged. The stem is one 3 x 3
    convolution without stride or pooling. `width` scales all widths.

    Raises:
        PocketlensError: the depth is not one of these, or the width is out of range.
    """
    check_width(width, "preact_resnet: width")
    counts: tuple[int, ...]
    wides: tuple[int, ...]
    if depth in IMAGENET:
        counts, bottleneck, wides = IMAGENET[depth], depth >= 50, (64, 128, 256, 512)
    elif depth in CIFAR:
        counts, bottleneck, wides = (CIFAR[depth],) * 3, depth >= 164, (16, 32, 64)
    else:
        known = ", ".join(str(n) for n in (*IMAGENET, *CIFAR))
        raise PocketlensError(f"preact_resnet: depth must be one of {known}, got {depth!r}.")
    stages = [Stage(max(4, round(wide * width)), n_blocks) for wide, n_blocks in zip(wides, counts, strict=True)]
    return PreActResNet(shape[2], n_classes, stages, bottleneck)


class PreActResNet(ResidualNet):
    """Stem, stages of pre-activation blocks, norm, ReLU, global mean, head."""

    def __init__(self, channels: int, n_classes: int, stages: list[Stage], bottleneck: bool) -> None:
        wide = stages[0].width
        stem = nn.Conv2d(channels, wide, 3, padding=1, bias=False)
        blocks: list[nn.Module] = []
        for place, stage in enumerate(stages):
            for block in range(stage.n_blocks):
                stride = 2 if place > 0 and block == 0 else 1
                blocks.append(PreActBlock(wide, stage.width, stride, bottleneck))
                wide = stage.width * (4 if bottleneck else 1)
        super().__init__(stem, [*blocks, nn.BatchNorm2d(wide), nn.ReLU(inplace=True)], wide, n_classes)


class PreActBlock(nn.Module):
    """Norm, ReLU and convolution, two or (bottleneck) three times; plus the input, projected where its shape changes.

    A projection takes the input after the first norm and ReLU, as in the paper.
    """

    def __init__(self, c_in: int, inner: int, stride: int, bottleneck: bool) -> None:
        super().__init__()
        out = inner * (4 if bottleneck else 1)
        kernels, sides = ((1, 3, 1), (inner, inner, out)) if bottleneck else ((3, 3), (inner, out))
        strided = 1 if bottleneck else 0  # which convolution has the stride
        self.norm = nn.BatchNorm2d(c_in)
        steps: list[nn.Module] = []
        wide = c_in
        for place, (kernel, side) in enumerate(zip(kernels, sides, strict=True)):
            steps += [nn.BatchNorm2d(wide), nn.ReLU(inplace=True)] if place else []
            step = stride if place == strided else 1
            steps.append(nn.Conv2d(wide, side, kernel, step, padding=kernel // 2, bias=False))
            wide = side
        self.path = nn.Sequential(*steps)
        self.project = nn.Conv2d(c_in, out, 1, stride, bias=False) if stride > 1 or c_in != out else None

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) to (B, C_out, H / stride, W / stride)."""
        active = F.relu(self.norm(x))
        result: Tensor = self.path(active) + (x if self.project is None else self.project(active))
        return result
