"""Small models for tests: one or more texts of each family, and building a model from its text."""

from __future__ import annotations

from torch import nn

from pocketlens.components import names, parse_one, resolve

ANY_SIZE = [  # these take images of other sizes than they were built for
    "coatnet(blocks=(1, 1, 1, 2, 1), channels=(8, 16, 16, 32, 32))",
    "coatnet(blocks=(1, 1, 1, 1, 1), channels=(8, 8, 8, 16, 16), strides=(1, 1, 2, 2, 2), kinds='CTTT', dropout=0.1)",
    "vgg(depth=11, width=0.125, dense=16, dropout=0.2)",
    "vgg(depth=13, width=0.125, until=(3, 1), batch_norm=False)",
    "cnn(channels=(8, 16), gather='mean', pooling='mixed', activation='selu', dense=())",
    "densenet(growth=4, blocks=(2, 3), dropout=0.1)",
    "resnext(groups=4, group_width=2, blocks=(1, 1), stem='imagenet')",
    "resnet(depth=20, width=0.5)",
    "resnet(blocks=(1, 1), widths=(8, 16), convolutions=3, stem='imagenet')",
    "preact_resnet(width=0.125)",
    "wide_resnet(depth=10, width=0.5, dropout=0.3)",
    "efficientnet(phi=-12)",
    "efficientnet(phi=-12, drop_path=0.2, stem='imagenet')",
    "convnext(blocks=(1, 2), widths=(16, 32), layer_scale=1.0, drop_path=0.1)",
    "vit(width=48, depth=3, heads=4)",
    "vit(width=32, depth=2, heads=4, gather='token', dropout=0.1)",
    "lens(width=0.125)",
    "timm(name='test_resnet', stem='small')",
]
OF_ONE_SIZE = ["mlp(hidden=(128,))", "lenet(activation='relu', pooling='max')", "cnn(channels=(16, 32))"]


def small_models() -> list[str]:
    """All of these, and each model of the folder that is not among them as it is without options."""
    texts = [*ANY_SIZE, *OF_ONE_SIZE]
    known = {parse_one(text, "models").name for text in texts}
    return [*texts, *(name for name in names("models") if name not in known)]


def one_of_each_family() -> list[str]:
    """The first of these of each family."""
    return list({parse_one(text, "models").name: text for text in reversed(small_models())}.values())


def build(text: str, shape: tuple[int, int, int] = (32, 32, 3), n_classes: int = 100) -> nn.Module:
    """The model of a text."""
    part = parse_one(text, "models")
    model: nn.Module = resolve(part, "models")(shape, n_classes, **dict(part.options))
    return model
