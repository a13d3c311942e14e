"""EfficientNet: depth and width scaled together. Tan and Le 2019, arXiv:1905.11946.

Scale 0 (and phi=0, the same net) with 100 outputs has 4,135,648 parameters, whatever the stem.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pocketlens.errors import PocketlensError
from pocketlens.models._dense import check_dropout, check_word
from pocketlens.models._paths import drop_path as drop_branch
from pocketlens.models._stems import STEMS

# Expansion, kernel, stride, channels, blocks: table 1 of the paper.
STAGES = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)
DEEPER, WIDER = 1.2, 1.1  # alpha and beta of the paper; gamma, for the side of the images, is 1.15
MAX_PHI = 12.0
SCALES = ((1.0, 1.0), (1.0, 1.1), (1.1, 1.2), (1.2, 1.4), (1.4, 1.8), (1.6, 2.2), (1.8, 2.6), (2.0, 3.1))


def efficientnet(
    shape: tuple[int, int, int],
    n_classes: int,
    *,
    scale: int = 0,
    phi: float | None = None,
    dropout: float = 0.2,
    drop_path: float = 0.0,
    stem: str = "small",
) -> nn.Module:
    """Scale 0 to 7 (B0 to B7, with the published factors), or any compound coefficient `phi`; any image.

    `phi` overrides the scale: 1.2 ** phi times the depth and 1.1 ** phi times the width of B0, as in equation 3 of the
    paper; below 0 it makes smaller nets. The equation's third part, images of 1.15 ** phi times the side, is up to the
    recipe's `prepare` and `sizes`. The stem `imagenet` downsamples images to 1/32 as published; `small` omits the first
    two halvings, so that images of 32 px end as 4 x 4 maps. `dropout` is applied before the head; blocks are dropped at
    random, with a probability that rises to `drop_path` in the last one (0.2 in the paper).

    Raises:
        PocketlensError: the scale or the stem is unknown, or a fraction is out of range.
    """
    if isinstance(scale, bool) or scale not in range(len(SCALES)):
        raise PocketlensError(f"efficientnet: scale must be 0 to {len(SCALES) - 1}, got {scale!r}.")
    check_dropout((dropout,), "efficientnet: dropout")
    check_dropout((drop_path,), "efficientnet: drop_path")
    check_word(stem, STEMS, "efficientnet: stem")
    if phi is not None and not -MAX_PHI <= phi <= MAX_PHI:
        raise PocketlensError(f"efficientnet: phi must be from {-MAX_PHI:g} to {MAX_PHI:g}, got {phi!r}.")
    factors = SCALES[scale] if phi is None else (WIDER**phi, DEEPER**phi)
    return EfficientNet(shape[2], n_classes, factors, (dropout, drop_path), stem == "small")


class EfficientNet(nn.Module):
    """Stem, inverted bottlenecks, a 1 x 1 convolution, global mean, dropout, head."""

    def __init__(
        self,
        channels: int,
        n_classes: int,
        scale: tuple[float, float],
        drops: tuple[float, float],
        small: bool,
    ) -> None:
        super().__init__()
        width, depth = scale
        c_in = _rounded(32 * width)
        self.stem = nn.Sequential(*_conv_norm(channels, c_in, 3, 1 if small else 2), nn.SiLU(inplace=True))
        blocks: list[nn.Module] = []
        counts = [math.ceil(n * depth) for *_, n in STAGES]
        for stage, (expansion, kernel, stride, wide, _) in enumerate(STAGES):
            out = _rounded(wide * width)
            for place in range(counts[stage]):
                step = stride if place == 0 and not (small and stage == 1) else 1
                drop = drops[1] * len(blocks) / sum(counts)
                blocks.append(InvertedBottleneck((c_in, expansion * c_in, out), kernel, step, drop))
                c_in = out
        self.body = nn.Sequential(*blocks, *_conv_norm(c_in, 4 * c_in, 1, 1), nn.SiLU(inplace=True))
        self.dropout = nn.Dropout(drops[0])
        self.head = nn.Linear(4 * c_in, n_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.uniform_(self.head.weight, -(n_classes**-0.5), n_classes**-0.5)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Normalised images (B, C, H, W) to logits (B, n_classes)."""
        logits: Tensor = self.head(self.dropout(self.body(self.stem(x)).mean((2, 3))))
        return logits


class InvertedBottleneck(nn.Module):
    """1 x 1 up, depthwise, squeeze and excitation, 1 x 1 down; plus the input where the shapes are equal.

    `widths` are those of the input, the middle and the output.
    """

    def __init__(self, widths: tuple[int, int, int], kernel: int, stride: int, drop: float) -> None:
        super().__init__()
        c_in, inner, out = widths
        up = [*_conv_norm(c_in, inner, 1, 1), nn.SiLU(inplace=True)] if inner != c_in else []
        self.path = nn.Sequential(
            *up,
            *(*_conv_norm(inner, inner, kernel, stride, inner), nn.SiLU(inplace=True)),
            SqueezeExcite(inner, max(1, c_in // 4)),
            *_conv_norm(inner, out, 1, 1),
        )
        self.adds = stride == 1 and c_in == out
        self.drop = drop

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) to (B, C_out, H / stride, W / stride), sides rounded up."""
        result: Tensor = self.path(x)
        if not self.adds:
            return result
        return x + drop_branch(result, self.drop, self.training)


class SqueezeExcite(nn.Module):
    """Scales channels by a function of their means. Hu et al. 2018, arXiv:1709.01507."""

    def __init__(self, wide: int, inner: int) -> None:
        super().__init__()
        self.squeeze, self.excite = nn.Conv2d(wide, inner, 1), nn.Conv2d(inner, wide, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        return x * torch.sigmoid(self.excite(F.silu(self.squeeze(x.mean((2, 3), keepdim=True)))))


def _conv_norm(c_in: int, out: int, kernel: int, stride: int, groups: int = 1) -> list[nn.Module]:
    conv = nn.Conv2d(c_in, out, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(out)]


def _rounded(wide: float) -> int:
    """Rounded to a multiple of 8, but never down by more than a tenth."""
    near = max(8, int(wide + 4) // 8 * 8)
    return near + 8 if near < 0.9 * wide else near
