"""CoAtNet: convolution in the early stages, attention with relative positions in the late ones.

Source: Dai et al. 2021, arXiv:2106.04803, with the choices of its usual PyTorch version: stride in the first 1 x 1
convolution, feed-forward layers of four times the input's width, a head without bias. With the blocks 2, 2, 6, 14, 2,
images of 32 px and 100 outputs it has 32,396,096 parameters.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pocketlens.errors import PocketlensError
from pocketlens.models._dense import check_dropout, check_positive

HEADS, HEAD_WIDTH, EXPANSION = 8, 32, 4


def coatnet(
    shape: tuple[int, int, int],
    n_classes: int,
    *,
    blocks: tuple[int, ...] = (2, 2, 3, 5, 2),
    channels: tuple[int, ...] = (64, 96, 192, 384, 768),
    kinds: str = "CCTT",
    strides: tuple[int, ...] = (2, 2, 2, 2, 2),
    dropout: float = 0.0,
) -> nn.Module:
    """A stem and four stages; `blocks`, `channels` and `strides` have one number for each, stem first.

    The first block of a stage has its stride. `kinds` names the four stages: convolution (C) or attention (T). At 32 px
    the published strides leave one pixel for the last stage; `strides=(1, 1, 2, 2, 2)` leaves 4 x 4. On maps of another
    size than the model was built for, relative positions are interpolated, so any image fits.

    Raises:
        PocketlensError: an option does not have these lengths or values.
    """
    for name, values, length in (("blocks", blocks, 5), ("channels", channels, 5), ("strides", strides, 5)):
        if not isinstance(values, (tuple, list)) or len(values) != length:
            raise PocketlensError(f"coatnet: {name} must be {length} numbers, stem and four stages, got {values!r}.")
        check_positive(values, f"coatnet: {name}")
    if len(kinds) != 4 or set(kinds) - {"C", "T"}:
        raise PocketlensError(f"coatnet: kinds must be four letters C or T, such as 'CCTT', got {kinds!r}.")
    check_dropout((dropout,), "coatnet: dropout")
    stages = [Stage(*each) for each in zip("S" + kinds, blocks, channels, strides, strict=True)]
    return CoAtNet(shape, n_classes, stages, dropout)


@dataclass(frozen=True)
class Stage:
    """Blocks of one kind: S (stem), C (convolution) or T (attention). The first block has the stride."""

    kind: str
    n_blocks: int
    channels: int
    stride: int


class CoAtNet(nn.Module):
    """Stem and stages in `body`, global mean, head."""

    def __init__(self, shape: tuple[int, int, int], n_classes: int, stages: list[Stage], dropout: float) -> None:
        super().__init__()
        height, width, wide = shape
        layers: list[nn.Module] = []
        for stage in stages:
            out = stage.channels
            height, width = -(-height // stage.stride), -(-width // stage.stride)
            for place in range(stage.n_blocks):
                first, step = place == 0, stage.stride if place == 0 else 1
                if stage.kind == "S":
                    layers += [nn.Conv2d(wide, out, 3, step, padding=1, bias=False), nn.BatchNorm2d(out), nn.GELU()]
                elif stage.kind == "C":
                    layers.append(ConvBlock(wide, out, step, first))
                else:
                    layers.append(AttentionBlock((wide, out), (height, width), step, first, dropout))
                wide = out
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(wide, n_classes, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Normalised images (B, C, H, W) to logits (B, n_classes)."""
        logits: Tensor = self.head(self.body(x).mean((2, 3)))
        return logits


class ConvBlock(nn.Module):
    """Norm, 1 x 1 to four times the width, depthwise 3 x 3, squeeze and excitation, 1 x 1; plus the shortcut."""

    def __init__(self, c_in: int, out: int, stride: int, first: bool) -> None:
        super().__init__()
        inner = EXPANSION * c_in
        self.path = nn.Sequential(
            nn.BatchNorm2d(c_in),
            *(nn.Conv2d(c_in, inner, 1, stride, bias=False), nn.BatchNorm2d(inner), nn.GELU()),
            nn.Conv2d(inner, inner, 3, padding=1, groups=inner, bias=False),
            *(nn.BatchNorm2d(inner), nn.GELU()),
            SqueezeExcite(inner, max(1, c_in // 4)),
            *(nn.Conv2d(inner, out, 1, bias=False), nn.BatchNorm2d(out)),
        )
        self.shortcut = _shortcut(c_in, out, stride, first)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) to (B, C_out, H / stride, W / stride), sides rounded up."""
        result: Tensor = self.shortcut(x) + self.path(x)
        return result


class SqueezeExcite(nn.Module):
    """Scales channels by a function of their means. Hu et al. 2018, arXiv:1709.01507."""

    def __init__(self, wide: int, inner: int) -> None:
        super().__init__()
        self.squeeze, self.excite = nn.Linear(wide, inner, bias=False), nn.Linear(inner, wide, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        scale = torch.sigmoid(self.excite(F.gelu(self.squeeze(x.mean((2, 3))))))
        return x * scale[:, :, None, None]


class AttentionBlock(nn.Module):
    """Relative attention and a feed-forward layer, each after a layer norm and with a shortcut."""

    def __init__(
        self, widths: tuple[int, int], side: tuple[int, int], stride: int, first: bool, dropout: float
    ) -> None:
        super().__init__()
        c_in, out = widths
        self.norm = nn.LayerNorm(c_in)
        self.pool = nn.MaxPool2d(3, stride, 1) if stride > 1 else nn.Identity()
        self.attention = RelativeAttention(c_in, out, side)
        self.shortcut = _shortcut(c_in, out, stride, first)
        self.dropout = nn.Dropout(dropout)
        self.feed = nn.Sequential(
            nn.LayerNorm(out),
            *(nn.Linear(out, EXPANSION * c_in), nn.GELU(), nn.Dropout(dropout)),
            *(nn.Linear(EXPANSION * c_in, out), nn.Dropout(dropout)),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) to (B, C_out, H / stride, W / stride), sides rounded up."""
        pixels = self.norm(self.pool(x).permute(0, 2, 3, 1))  # (B, h, w, C_in)
        x = self.shortcut(x).permute(0, 2, 3, 1) + self.dropout(self.attention(pixels))  # (B, h, w, C_out)
        x = x + self.feed(x)
        return x.permute(0, 3, 1, 2)


class RelativeAttention(nn.Module):
    """Attention among all pixels of a map, with a trained bias for each head and each offset between two pixels."""

    def __init__(self, c_in: int, out: int, side: tuple[int, int]) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(HEADS, 2 * side[0] - 1, 2 * side[1] - 1))
        self.to_qkv = nn.Linear(c_in, 3 * HEADS * HEAD_WIDTH, bias=False)
        self.to_out = nn.Linear(HEADS * HEAD_WIDTH, out)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, h, w, C_in) to (B, h, w, C_out)."""
        batch, height, width, _ = pixels.shape
        qkv = self.to_qkv(pixels.flatten(1, 2)).view(batch, -1, 3, HEADS, HEAD_WIDTH)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)  # each (B, heads, h w, head width)
        weights = query @ key.transpose(2, 3) * HEAD_WIDTH**-0.5 + self._offsets(height, width)
        mixed = (weights.softmax(3) @ value).transpose(1, 2)  # (B, h w, heads, head width)
        result: Tensor = self.to_out(mixed.reshape(batch, height, width, -1))
        return result

    def _offsets(self, height: int, width: int) -> Tensor:
        """The bias of every pair of pixels, (heads, h w, h w)."""
        table: Tensor = self.bias
        size = (2 * height - 1, 2 * width - 1)
        if table.shape[1:] != size:
            table = F.interpolate(table[None], size, mode="bilinear", align_corners=True)[0]
        place = torch.arange(height * width, device=table.device)
        rows, columns = place // width, place % width
        down = rows[None, :] - rows[:, None] + height - 1
        right = columns[None, :] - columns[:, None] + width - 1
        return table[:, down, right]


def _shortcut(c_in: int, out: int, stride: int, first: bool) -> nn.Module:
    if not first:
        return nn.Identity()
    project = nn.Conv2d(c_in, out, 1, bias=False)
    return nn.Sequential(nn.MaxPool2d(3, stride, 1), project) if stride > 1 else project
