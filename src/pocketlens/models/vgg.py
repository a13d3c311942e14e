"""VGG nets with a head for small images. Simonyan and Zisserman 2015, arXiv:1409.1556.

`features` has torchvision's names, so torchvision's weights fit it. VGG-19 up to the fourth convolution of block 4,
flattened at 96 px, with dense layers of 512 (batch norm, dropout 0.3) and 256 (dropout 0.4), has 48,492,452 parameters
with 100 outputs, and 1,024 statistics of batch norm, which Keras counts, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor, nn

from pocketlens.errors import PocketlensError
from pocketlens.models._dense import DenseHead, check_width, check_word
from pocketlens.models._weights import hub_weights, read_weights, take_weights

CONVOLUTIONS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
WIDTHS = (64, 128, 256, 512, 512)


def vgg(
    shape: tuple[int, int, int],
    n_classes: int,
    *,
    depth: int = 16,
    width: float = 1.0,
    batch_norm: bool = True,
    until: tuple[int, int] | None = None,
    gather: str = "mean",
    dense: int | tuple[int, ...] = (),
    dense_norm: bool | tuple[bool, ...] = False,
    dropout: float | tuple[float, ...] = 0.0,
    pretrained: bool = False,
    weights: str | None = None,
) -> nn.Module:
    """Depth 11, 13, 16 or 19: five blocks of 3 x 3 convolutions, each followed by a 2 x 2 max pool.

    A map of one pixel is not pooled, so any image fits. `until=(4, 4)` ends the body after the fourth convolution of
    block 4. `gather` is mean (the global mean) or flatten (every pixel; images must then keep their size). The head
    consists of the `dense` layers and the classification layer. `dense_norm` and `dropout` take one value, or one for
    each of `dense`; without dense layers, `dropout` is applied before the classification layer.

    The convolutions can start from those of a VGG trained on ImageNet: from a file (`weights`, safetensors or torch,
    with torchvision's and timm's names) or from timm's hub (`pretrained=True`).

    Raises:
        PocketlensError: an option is not one of these.
    """
    if depth not in CONVOLUTIONS:
        raise PocketlensError(f"vgg: depth must be one of {', '.join(map(str, CONVOLUTIONS))}, got {depth!r}.")
    check_width(width, "vgg: width")
    check_word(gather, ("mean", "flatten"), "vgg: gather")
    counts = _until(CONVOLUTIONS[depth], until)
    widths = [max(1, round(wide * width)) for wide in WIDTHS[: len(counts)]]
    features = _features(shape[2], [(wide, n) for wide, n in zip(widths, counts, strict=True)], batch_norm)
    if until is not None:
        features = features[:-1]
    wide = widths[-1]
    if gather == "flatten":
        height, width_px = _side(shape[0], shape[1], len(counts) - (until is not None))
        wide *= height * width_px
    if pretrained and weights is not None:
        raise PocketlensError("vgg: give either pretrained=True or weights='FILE', not both.")
    hub = f"vgg{depth}{'_bn' if batch_norm else ''}.tv_in1k" if pretrained else None
    source = WeightsSource(hub, weights)
    return VGG(features, gather, _head(wide, n_classes, DenseHead.of(dense, dense_norm, dropout, "vgg")), source)


@dataclass(frozen=True)
class WeightsSource:
    """Where pretrained convolutions come from: a model of timm's hub, a file, or, where neither is given, nowhere."""

    hub: str | None = None
    file: str | None = None


class VGG(nn.Module):
    """Convolutions in `features`, then mean or flatten, then the head."""

    def __init__(self, features: list[nn.Module], gather: str, head: nn.Module, source: WeightsSource) -> None:
        super().__init__()
        self.source = source
        self.features = nn.Sequential(*features)
        self.gather = gather
        self.head = head
        for module in self.features.modules():
            if isinstance(module, nn.Conv2d) and module.bias is not None:
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Normalised images (B, C, H, W) to logits (B, n_classes)."""
        x = self.features(x)
        logits: Tensor = self.head(x.mean((2, 3)) if self.gather == "mean" else x.flatten(1))
        return logits

    def init_from_data(self, images: Tensor) -> None:
        """Reads the pretrained convolutions, where the model has any; of `images` (N, C, H, W) only C is used.

        Raises:
            PocketlensError: they cannot be read, or do not fit.
        """
        hub, file = self.source.hub, self.source.file
        if hub is not None:
            take_weights(self.features, hub_weights(hub, images.shape[1]), "features.", f"vgg: {hub}")
        elif file is not None:
            take_weights(self.features, read_weights(Path(file), "vgg"), "features.", f"vgg: {file}")


class SparingPool(nn.Module):
    """A 2 x 2 max pool that leaves a map unchanged where its height or width is one pixel."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, H // 2, W // 2)."""
        return F.max_pool2d(x, 2) if min(x.shape[2:]) >= 2 else x


def _until(counts: tuple[int, ...], until: tuple[int, int] | None) -> tuple[int, ...]:
    """The number of convolutions in each block up to `until`."""
    if until is None:
        return counts
    fits = isinstance(until, (tuple, list)) and len(until) == 2 and all(isinstance(n, int) for n in until)
    if not (fits and 1 <= until[0] <= len(counts) and 1 <= until[1] <= counts[until[0] - 1]):
        raise PocketlensError(
            f"vgg: until must be (block, convolution), from 1, with blocks of {counts} convolutions, got {until!r}."
        )
    return (*counts[: until[0] - 1], until[1])


def _features(channels: int, blocks: list[tuple[int, int]], batch_norm: bool) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for wide, n_convolutions in blocks:
        for _ in range(n_convolutions):
            layers.append(nn.Conv2d(channels, wide, 3, padding=1))
            layers += [nn.BatchNorm2d(wide)] if batch_norm else []
            layers.append(nn.ReLU(inplace=True))
            channels = wide
        layers.append(SparingPool())
    return layers


def _side(height: int, width: int, n_pools: int) -> tuple[int, int]:
    for _ in range(n_pools):
        if min(height, width) >= 2:
            height, width = height // 2, width // 2
    return height, width


def _head(width: int, n_classes: int, head: DenseHead) -> nn.Sequential:
    before = [nn.Dropout(head.dropouts[0])] if head.dropouts[0] and not head.widths else []
    return nn.Sequential(*before, *head.layers(width, n_classes))
