"""LeNet-5 for any number of channels and classes. LeCun et al. 1998, "Gradient-based learning", Proc. IEEE 86(11)."""

from __future__ import annotations

from torch import nn

from pocketlens.models._dense import check_word

ACTIVATIONS = {"tanh": nn.Tanh, "relu": nn.ReLU, "sigmoid": nn.Sigmoid}


def lenet(
    shape: tuple[int, int, int], n_classes: int, *, activation: str = "tanh", pooling: str = "average"
) -> nn.Module:
    """Two 5 x 5 convolutions (6 and 16 channels) with 2 x 2 pooling, dense layers of 120 and 84, and the head.

    Images below 32 px are padded with zeros to 32, as the original padded 28 px digits.

    Raises:
        PocketlensError: the activation or the pooling is unknown.
    """
    check_word(activation, tuple(ACTIVATIONS), "lenet: activation")
    check_word(pooling, ("average", "max"), "lenet: pooling")
    height, width, channels = shape
    pad_y, pad_x = (max(0, 32 - side) for side in (height, width))
    act = ACTIVATIONS[activation]
    pool = nn.AvgPool2d if pooling == "average" else nn.MaxPool2d
    rows, columns = (((side + pad - 4) // 2 - 4) // 2 for side, pad in ((height, pad_y), (width, pad_x)))
    body = nn.Sequential(
        nn.ZeroPad2d((pad_x // 2, pad_x - pad_x // 2, pad_y // 2, pad_y - pad_y // 2)),
        *(nn.Conv2d(channels, 6, 5), act(), pool(2)),
        *(nn.Conv2d(6, 16, 5), act(), pool(2)),
        nn.Flatten(),
        *(nn.Linear(16 * rows * columns, 120), act()),
        *(nn.Linear(120, 84), act()),
    )
    net = nn.Sequential()
    net.add_module("body", body)
    net.add_module("head", nn.Linear(84, n_classes))
    return net
