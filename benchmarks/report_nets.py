"""The nets of the five reports as component texts, with the reports' counts; `models.py` makes a table of them."""

from __future__ import annotations

from typing import NamedTuple

CIFAR, FASHION, LARGE = (32, 32, 3), (28, 28, 1), (96, 96, 3)


class Net(NamedTuple):
    """A net of a report, the text that stands for it, and what the report counts."""

    row: str  # of the reports: letter of the report, number of its row
    name: str
    text: str
    shape: tuple[int, int, int]
    n_classes: int
    published: int
    exact: bool  # the report gives the layers or names a standard net; else it gives a count, and ours is within 1 %
    with_statistics: bool = False  # Keras counts the statistics of batch norm too


PYRAMID = (
    "cnn(channels=(64, 128, 256, 512), repeats=2, batch_norm='before', pooling=('max', 'max', 'max', 'none'), dense={})"
)
TUNED_CNN = (
    "cnn(channels=(32, 64, 128, 256, 256), pooling=('max', 'max', 'none', 'none', 'max'), batch_norm='before', "
    "dense=(512, 256), dense_dropout=0.55)"
)
REPORTS = (
    Net("A5", "VGG-like baseline", PYRAMID.format("(512, 512)"), CIFAR, 100, 9_198_276, False),
    Net("A5", "simpler VGG-like", PYRAMID.format("(272, 272)"), CIFAR, 20, 7_000_000, False),
    Net("A5", "complex VGG-like", PYRAMID.format("1024"), CIFAR, 20, 13_000_000, False),
    Net("A5", "ResNet (50 layers)", "resnet(depth=50, stem='imagenet')", CIFAR, 100, 23_712_932, True),
    Net("A5", "ResNeXt-M", "resnext(stem='imagenet')", CIFAR, 100, 23_184_804, True),
    Net("A5", "CoAtNet-S", "coatnet(blocks=(2, 2, 6, 14, 2))", CIFAR, 100, 32_396_096, True),
    Net("A5", "DenseNet-M", "densenet(depth=201, stem='imagenet')", CIFAR, 1000, 20_013_928, True),
    Net("A5", "simpler custom CoAtNet", "coatnet", CIFAR, 100, 17_000_000, False),
    Net("A5", "simpler custom CoAtNet 2", "coatnet(blocks=(2, 2, 4, 8, 2))", CIFAR, 100, 22_000_000, False),
    Net("A5", "complex custom CoAtNet", "coatnet(blocks=(2, 2, 12, 24, 2))", CIFAR, 100, 50_000_000, False),
    Net(
        "B2",
        "baseline CNN",
        "cnn(channels=(32, 64), padding='valid', pooling='none', dense=128)",
        CIFAR,
        100,
        6_454_948,
        True,
    ),
    Net(
        "C3",
        "OwnBaseline1",
        "cnn(channels=(32, 64), repeats=2, batch_norm='before', dense=(256, 256), dense_norm=True)",
        FASHION,
        10,
        937_834,
        False,
    ),
    Net(
        "C3",
        "OwnBaseline2",
        "cnn(channels=(32, 64, 128), repeats=2, batch_norm='before', pool_rounding='up', dense=(1024, 512), "
        "dense_norm=(True, False))",
        FASHION,
        10,
        2_917_482,
        False,
    ),
    Net(
        "C3",
        "OwnBaseline3",
        "cnn(channels=(32, 64, 128, 256, 256), repeats=(2, 2, 3, 3, 3), batch_norm='before', pool_rounding='up', "
        "pooling=('max', 'max', 'max', 'max', 'none'), dense=(1024, 64), dense_norm=(True, False))",
        FASHION,
        10,
        4_801_578,
        False,
    ),
    Net("C3", "ResNet4Blocks", "resnet(blocks=(1, 1, 1, 1), convolutions=3)", FASHION, 10, 8_028_618, False),
    Net(
        "C3",
        "ResNet3Blocks",
        "resnet(blocks=(2, 1, 1), widths=(66, 132, 264), convolutions=3)",
        FASHION,
        10,
        2_258_890,
        False,
    ),
    Net("C3", "DenseNet4Blocks", "densenet(blocks=(6, 12, 16, 10), growth=17)", FASHION, 10, 1_253_276, False),
    Net("C3", "DenseNet3Blocks", "densenet(blocks=(6, 12, 25), growth=16)", FASHION, 10, 1_122_830, False),
    Net(
        "D2",
        "CNN of three blocks",
        "cnn(channels=(16, 32, 64), padding='valid', pooling=('max', 'none', 'average'), dense=(), "
        "batch_norm=('after', 'none', 'after'), dropout=(0.1, 0.2, 0.25))",
        CIFAR,
        100,
        184_004,
        True,
        True,
    ),
    Net(
        "D3",
        "CNN of five blocks",
        "cnn(channels=(16, 32, 64, 128, 256), padding='valid', pooling=('max', 'none', 'none', 'average', 'none'), "
        "dense=(), batch_norm='after', dropout=(0.2, 0.15, 0.25, 0.3, 0.45))",
        CIFAR,
        100,
        497_092,
        True,
        True,
    ),
    Net(
        "D4",
        "VGG-19 to block 4, convolution 4, with two dense layers",
        "vgg(depth=19, batch_norm=False, until=(4, 4), gather='flatten', dense=(512, 256), dense_norm=(True, False), "
        "dropout=(0.3, 0.4))",
        LARGE,
        100,
        48_493_476,
        True,
        True,
    ),
    Net("E2", "MLP 3072-1024-100", "mlp", CIFAR, 100, 3072 * 1024 + 1024 + 1024 * 100 + 100, True),
    Net(
        "E2",
        "tuned MLP (two more layers of 1024)",
        "mlp(hidden=(1024, 1024, 1024))",
        CIFAR,
        100,
        3072 * 1024 + 1024 + 2 * (1024 * 1024 + 1024) + 1024 * 100 + 100,
        True,
    ),
    # The report gives F6, 120 x 84 + 84 = 10,164; the other layers are LeCun's for 3 channels and 100 classes.
    Net("E2", "LeNet-5", "lenet", CIFAR, 100, 456 + 2416 + 48_120 + 10_164 + 8500, True),
)
UNCOUNTED = (("E2", "tuned CNN", TUNED_CNN, CIFAR, 100),)  # a net of which the report gives neither layers nor count
