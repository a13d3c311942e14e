"""The first layers of nets that were designed for ImageNet: as published, or without downsampling small images."""

from __future__ import annotations

from torch import nn

from pocketlens.models._dense import check_word

STEMS = ("small", "imagenet")


def make_stem(channels: int, width: int, kind: str, model: str) -> nn.Sequential:
    """`small`: a 3 x 3 convolution at full size. `imagenet`: 7 x 7 and a max pool, each with stride 2.

    Raises:
        PocketlensError: `kind` is neither; `model` names the model in the message.
    """
    check_word(kind, STEMS, f"{model}: stem")
    after = [nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
    if kind == "small":
        return nn.Sequential(nn.Conv2d(channels, width, 3, padding=1, bias=False), *after)
    return nn.Sequential(nn.Conv2d(channels, width, 7, 2, 3, bias=False), *after, nn.MaxPool2d(3, 2, 1))
