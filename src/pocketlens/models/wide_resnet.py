"""Wide residual nets. Zagoruyko and Komodakis 2016, arXiv:1605.07146.

WRN-28-10 with 100 outputs has 36,536,884 parameters.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from pocketlens.errors import PocketlensError
from pocketlens.models._dense import check_dropout, check_width
from pocketlens.models._residual import ResidualNet


def wide_resnet(
    shape: tuple[int, int, int], n_classes: int, *, depth: int = 16, width: float = 4.0, dropout: float = 0.0
) -> nn.Module:
    """Three stages of (depth - 4) / 6 blocks with 16, 32 and 64 times `width` channels; any image.

    `dropout` is applied between the two convolutions of each block.

    Raises:
        PocketlensError: the depth is not 10, 16, 22, 28, ..., or `width` or `dropout` is out of range.
    """
    if not isinstance(depth, int) or depth < 10 or (depth - 4) % 6:
        raise PocketlensError(f"wide_resnet: depth must be 10, 16, 22, 28, 34, 40, ..., got {depth!r}.")
    check_width(width, "wide_resnet: width")
    check_dropout((dropout,), "wide_resnet: dropout")
    stages = [max(1, round(wide * width)) for wide in (16, 32, 64)]
    return WideResNet(shape[2], n_classes, stages, (depth - 4) // 6, dropout)


class WideResNet(ResidualNet):
    """Stem of 16 channels, three stages of pre-activation blocks, norm, global mean, head."""

    def __init__(self, channels: int, n_classes: int, stages: list[int], blocks_per_stage: int, dropout: float) -> None:
        stem = nn.Conv2d(channels, 16, 3, padding=1, bias=False)
        blocks: list[nn.Module] = []
        c_in = 16
        for stage, wide in enumerate(stages):
            for block in range(blocks_per_stage):
                blocks.append(WideBlock(c_in, wide, 2 if stage > 0 and block == 0 else 1, dropout))
                c_in = wide
        super().__init__(stem, [*blocks, nn.BatchNorm2d(c_in), nn.ReLU(inplace=True)], c_in, n_classes)


class WideBlock(nn.Module):
    """Norm, ReLU, 3 x 3, norm, ReLU, dropout, 3 x 3; plus the input, projected where the width or side changes."""

    def __init__(self, c_in: int, out: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.norm_a, self.norm_b = nn.BatchNorm2d(c_in), nn.BatchNorm2d(out)
        self.conv_a = nn.Conv2d(c_in, out, 3, stride, padding=1, bias=False)
        self.conv_b = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.project = nn.Conv2d(c_in, out, 1, stride, bias=False) if stride > 1 or c_in != out else None
        self.dropout = dropout

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) to (B, C_out, H / stride, W / stride)."""
        active = F.relu(self.norm_a(x))
        inner = F.dropout(F.relu(self.norm_b(self.conv_a(active))), self.dropout, self.training)
        result: Tensor = self.conv_b(inner) + (x if self.project is None else self.project(active))
        return result
