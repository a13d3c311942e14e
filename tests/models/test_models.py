"""Models: exact parameter counts, torchvision's outputs from torchvision's weights, sizes, and mistakes."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from made_models import ANY_SIZE, build
from torch import Tensor, nn

from pocketlens.errors import PocketlensError
from pocketlens.models.coatnet import RelativeAttention
from pocketlens.models.efficientnet import InvertedBottleneck
from pocketlens.models.preact_resnet import PreActBlock
from pocketlens.training.model_summary import layer_table

CIFAR, FASHION = (32, 32, 3), (28, 28, 1)
PLAIN_CNN = "cnn(channels=(32, 64), padding='valid', pooling='none', dense=128)"
THREE_BLOCKS = (
    "cnn(channels=(16, 32, 64), padding='valid', pooling=('max', 'none', 'average'), dense=(), "
    "batch_norm=('after', 'none', 'after'), dropout=(0.1, 0.2, 0.25))"
)
FIVE_BLOCKS = (
    "cnn(channels=(16, 32, 64, 128, 256), padding='valid', pooling=('max', 'none', 'none', 'average', 'none'), "
    "dense=(), batch_norm='after', dropout=(0.2, 0.15, 0.25, 0.3, 0.45))"
)
CUT_VGG19 = (
    "vgg(depth=19, batch_norm=False, until=(4, 4), gather='flatten', dense=(512, 256), dense_norm=(True, False), "
    "dropout=(0.3, 0.4))"
)
COUNTS = [  # trained parameters; those of the reports where they give the layers or the count
    (PLAIN_CNN, CIFAR, 100, 6_454_948),
    (THREE_BLOCKS, CIFAR, 100, 184_004 - 160),
    (FIVE_BLOCKS, CIFAR, 100, 497_092 - 992),
    ("cnn(channels=(32, 64), repeats=2, batch_norm='before', dense=(256, 256), dense_norm=True)", FASHION, 10, 937_834),
    (
        "cnn(channels=(32, 64, 128), repeats=2, batch_norm='before', pool_rounding='up', dense=(1024, 512), "
        "dense_norm=(True, False))",
        FASHION,
        10,
        2_917_482,
    ),
    (CUT_VGG19, (96, 96, 3), 100, 48_493_476 - 1024),
    ("vgg(depth=11)", CIFAR, 100, 9_277_284),
    ("vgg(depth=16)", CIFAR, 100, 14_774_436),
    ("coatnet(blocks=(2, 2, 6, 14, 2))", CIFAR, 100, 32_396_096),
    ("coatnet", CIFAR, 100, 17_066_936),
    ("resnext(stem='imagenet')", CIFAR, 100, 23_184_804),
    ("resnext", CIFAR, 100, 23_184_804 - 3 * 64 * (49 - 9)),
    ("resnext(groups=1, group_width=64, stem='imagenet')", CIFAR, 100, 23_712_932),
    ("densenet(depth=201, stem='imagenet')", CIFAR, 1000, 20_013_928),
    ("densenet(depth=121)", CIFAR, 100, 7_056_356 - 3 * 64 * (49 - 9)),
    ("densenet(depth=100)", CIFAR, 10, 769_162 + 48),  # the paper's net has no batch norm in its stem
    ("wide_resnet(depth=28, width=10)", CIFAR, 10, 36_479_194),
    ("wide_resnet(depth=28, width=10)", CIFAR, 100, 36_536_884),
    ("efficientnet", CIFAR, 100, 4_135_648),
]


def n_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(("text", "shape", "n_classes", "expected"), COUNTS)
def test_parameter_counts(text: str, shape: tuple[int, int, int], n_classes: int, expected: int) -> None:
    with torch.device("meta"):
        assert n_parameters(build(text, shape, n_classes)) == expected


@pytest.mark.parametrize(("text", "statistics"), [(THREE_BLOCKS, 160), (FIVE_BLOCKS, 992)])
def test_keras_counts_the_statistics_of_batch_norm_too(text: str, statistics: int) -> None:
    named = build(text).named_buffers()
    assert sum(value.numel() for name, value in named if name.split(".")[-1] != "num_batches_tracked") == statistics


@pytest.mark.parametrize(
    ("text", "shapes"),
    [
        (PLAIN_CNN, [(32, 30, 30), (64, 28, 28), (50176,), (128,), (100,)]),
        (
            THREE_BLOCKS,
            [(16, 30, 30), (16, 15, 15), (32, 13, 13), (64, 11, 11), (64, 5, 5), (1600,), (100,)],
        ),
        (
            FIVE_BLOCKS,
            [
                *((16, 30, 30), (16, 15, 15), (32, 13, 13), (64, 11, 11)),
                *((128, 9, 9), (128, 4, 4), (256, 2, 2), (1024,), (100,)),
            ],
        ),
    ],
)
def test_the_layers_have_the_published_shapes(text: str, shapes: list[tuple[int, ...]]) -> None:
    seen = [layer.shape for layer in layer_table(text, CIFAR, 100)]
    assert list(dict.fromkeys(seen)) == shapes


def test_the_head_of_a_cut_vgg_is_all_that_trains_with_a_frozen_body() -> None:
    with torch.device("meta"):
        model = build(CUT_VGG19, (96, 96, 3))
    head = sum(parameter.numel() for name, parameter in model.named_parameters() if name.startswith("head."))
    assert head == 37_907_300
    assert model(torch.zeros(2, 3, 96, 96, device="meta")).shape == (2, 100)


def with_weights_of(model: nn.Module, reference: nn.Module) -> nn.Module:
    """`model` with the other's weights and statistics, taken over in the order in which both hold them."""
    generator = torch.Generator().manual_seed(0)
    for buffer in reference.buffers():
        if buffer.ndim:
            buffer.copy_(torch.rand(buffer.shape, generator=generator) + 0.5)
    own, theirs = model.state_dict(), list(reference.state_dict().values())
    assert [value.shape for value in own.values()] == [value.shape for value in theirs]
    model.load_state_dict(dict(zip(own, theirs, strict=True)))
    return model.eval()


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("resnet(stem='imagenet')", "resnet18"),
        ("resnext(stem='imagenet')", "resnext50_32x4d"),
        ("densenet(stem='imagenet')", "densenet121"),
        ("efficientnet(stem='imagenet')", "efficientnet_b0"),
    ],
)
def test_torchvisions_weights_give_torchvisions_logits(text: str, name: str) -> None:
    torchvision = pytest.importorskip("torchvision")
    torch.manual_seed(0)
    reference = torchvision.models.get_model(name, weights=None, num_classes=10).eval()
    model = with_weights_of(build(text, (64, 64, 3), 10), reference)
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(model(images), reference(images), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("depth", [34, 50, 101, 152])
def test_deeper_residual_nets_count_as_torchvisions(depth: int) -> None:
    torchvision = pytest.importorskip("torchvision")
    with torch.device("meta"):
        reference = torchvision.models.get_model(f"resnet{depth}", weights=None, num_classes=100)
        assert n_parameters(build(f"resnet(depth={depth}, stem='imagenet')")) == n_parameters(reference)


@pytest.mark.parametrize(("gather", "token", "pool"), [("mean", False, "avg"), ("token", True, "token")])
def test_timms_weights_give_timms_vision_transformer(gather: str, token: bool, pool: str) -> None:
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    reference = timm.models.vision_transformer.VisionTransformer(
        img_size=(24, 16),
        patch_size=4,
        embed_dim=32,
        depth=2,
        num_heads=4,
        mlp_ratio=3,
        num_classes=7,
        class_token=token,
        global_pool=pool,
        fc_norm=False,
    ).eval()
    theirs = reference.state_dict()
    model = build(f"vit(patch=4, width=32, depth=2, heads=4, expansion=3, gather='{gather}')", (24, 16, 3), 7).eval()
    places = theirs.pop("pos_embed")
    renamed = {"places": places[:, int(token) :].transpose(1, 2).reshape(1, 32, 6, 4)}
    if token:
        renamed |= {"token": theirs.pop("cls_token"), "token_place": places[:, :1]}
    words = {"patch_embed.proj": "patches", "blocks": "body", "norm1": "norm_a", "norm2": "norm_b"}
    words |= {"attn.qkv": "to_qkv", "attn.proj": "to_out", "mlp.fc1": "feed.0", "mlp.fc2": "feed.3"}
    for key, value in theirs.items():
        for old, new in words.items():
            key = key.replace(old, new)
        renamed[key] = value
    model.load_state_dict(renamed)
    images = torch.randn(2, 3, 24, 16)
    with torch.inference_mode():
        torch.testing.assert_close(model(images), reference(images), rtol=1e-4, atol=1e-5)


def test_timms_weights_give_timms_convnext() -> None:
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    reference = timm.models.convnext.ConvNeXt(
        num_classes=7, depths=(1, 1, 2, 1), dims=(8, 16, 24, 32), patch_size=4, ls_init_value=0.5
    ).eval()
    text = "convnext(blocks=(1, 1, 2, 1), widths=(8, 16, 24, 32), patch=4, layer_scale=0.5)"
    model = with_weights_of(build(text, (32, 32, 3), 7), reference)
    images = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(model(images), reference(images), rtol=1e-4, atol=1e-5)


def test_convnext_fills_odd_maps_with_zeros_at_their_ends() -> None:
    model = build("convnext(blocks=(1, 1), widths=(8, 8))", (10, 10, 3), 5).eval()
    images = torch.randn(2, 3, 10, 10)
    stages: Any = model.body
    assert stages(images).shape == (2, 8, 3, 3)
    first = stages[0](images[:, :, :9, :9])
    torch.testing.assert_close(first, stages[0](nn.functional.pad(images[:, :, :9, :9], (0, 1, 0, 1))))


@pytest.mark.parametrize(("bottleneck", "stride", "wide"), [(False, 1, 8), (False, 2, 8), (True, 2, 16), (True, 1, 32)])
def test_a_preactivation_block_is_the_papers(bottleneck: bool, stride: int, wide: int) -> None:
    torch.manual_seed(0)
    block = PreActBlock(wide, 8, stride, bottleneck).eval()
    for buffer in block.buffers():
        if buffer.ndim:
            buffer.uniform_(0.5, 1.5)
    x = torch.randn(2, wide, 9, 9)
    relu, conv = nn.functional.relu, nn.functional.conv2d
    norms = [block.norm, *(layer for layer in block.path if isinstance(layer, nn.BatchNorm2d))]
    convs = [layer.weight for layer in block.path if isinstance(layer, nn.Conv2d)]
    assert [tuple(weight.shape[2:]) for weight in convs] == ([(1, 1), (3, 3), (1, 1)] if bottleneck else [(3, 3)] * 2)
    inner, active = x, relu(block.norm(x))
    for place, (norm, weight) in enumerate(zip(norms, convs, strict=True)):
        step = stride if place == int(bottleneck) else 1
        inner = conv(relu(norm(inner)), weight, None, step, weight.shape[2] // 2)
    same = stride == 1 and wide == inner.shape[1]
    assert (block.project is None) == same
    shortcut = x if block.project is None else conv(active, block.project.weight, None, stride)
    with torch.inference_mode():
        torch.testing.assert_close(block(x), shortcut + inner)


def test_preactivation_nets_of_164_layers_have_the_counts_of_their_parts() -> None:
    blocks, wide, total = 18, 16, 3 * 16 * 9
    for inner in (16, 32, 64):
        for block in range(blocks):
            out = 4 * inner
            total += wide * inner + 9 * inner * inner + inner * out + 2 * (wide + inner + inner)
            total += wide * out if block == 0 else 0
            wide = out
    with torch.device("meta"):
        assert n_parameters(build("preact_resnet(depth=164)", CIFAR, 10)) == total + 2 * 256 + 256 * 10 + 10


@pytest.mark.parametrize("phi", [-6, -1.5, 0, 1, 3])
def test_compound_scaling_follows_the_papers_third_equation(phi: float) -> None:
    blocks, widths = (1, 2, 2, 3, 3, 4, 1), (16, 24, 40, 80, 112, 192, 320)
    with torch.device("meta"):
        body = build(f"efficientnet(phi={phi})").body
    made = [block.path[-1].num_features for block in body if isinstance(block, InvertedBottleneck)]
    expected = [math.ceil(n * 1.2**phi) for n in blocks]
    assert len(made) == sum(expected)
    stages = list(made)
    for wide, n in zip(widths, expected, strict=True):
        outs, stages = set(stages[:n]), stages[n:]
        assert len(outs) == 1
        out = outs.pop()
        assert out % 8 == 0
        assert -0.1 * wide * 1.1**phi <= out - wide * 1.1**phi <= 8  # to a multiple of 8, as published


def test_phi_0_is_b0_and_more_is_larger() -> None:
    with torch.device("meta"):
        counts = [n_parameters(build(f"efficientnet(phi={phi})")) for phi in (-8, -4, 0, 2)]
    assert counts[2] == 4_135_648
    assert counts == sorted(counts)


@pytest.mark.parametrize(("depth", "batch_norm", "name"), [(11, True, "vgg11_bn"), (19, False, "vgg19")])
def test_vggs_features_are_torchvisions_by_name(depth: int, batch_norm: bool, name: str) -> None:
    torchvision = pytest.importorskip("torchvision")
    with torch.device("meta"):
        reference = torchvision.models.get_model(name, weights=None).features
    reference = reference.to_empty(device="cpu").eval()
    for value in reference.state_dict().values():
        torch.nn.init.uniform_(value, 0.01, 0.02) if value.is_floating_point() else value.zero_()
    model = build(f"vgg(depth={depth}, batch_norm={batch_norm})").eval()
    model.features.load_state_dict(reference.state_dict())
    images = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(model.features(images), reference(images))


@pytest.mark.slow
@pytest.mark.parametrize("scale", range(8))
def test_efficientnets_of_all_scales_count_as_torchvisions(scale: int) -> None:
    torchvision = pytest.importorskip("torchvision")
    with torch.device("meta"):
        reference = torchvision.models.get_model(f"efficientnet_b{scale}", weights=None, num_classes=100)
        assert n_parameters(build(f"efficientnet(scale={scale})")) == n_parameters(reference)


@pytest.mark.parametrize("text", ANY_SIZE)
def test_small_models_learn_and_take_other_sizes_than_they_were_built_for(text: str) -> None:
    torch.manual_seed(0)
    model = build(text, (16, 16, 3), 5)
    for side in (8, 24, 40):
        logits = model.train()(torch.randn(2, 3, side, side + 5))
        assert logits.shape == (2, 5)
        assert logits.isfinite().all()
    logits.square().sum().backward()
    gradients = [parameter.grad for parameter in model.parameters() if parameter.requires_grad]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)
    model.eval()
    images = torch.randn(3, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(model(images)[:1], model(images[:1]), rtol=1e-4, atol=1e-4)


def test_relative_attention_adds_the_bias_of_the_offset() -> None:
    attention = RelativeAttention(4, 4, (3, 2))
    with torch.no_grad():
        attention.bias.copy_(torch.arange(8 * 5 * 3.0).view(8, 5, 3))
    offsets = attention._offsets(3, 2)  # (heads, 6, 6)
    for here in range(6):
        for there in range(6):
            down, right = there // 2 - here // 2, there % 2 - here % 2
            assert torch.equal(offsets[:, here, there], attention.bias[:, down + 2, right + 1])


def test_relative_attention_interpolates_for_other_sizes() -> None:
    attention = RelativeAttention(4, 4, (4, 4))
    with torch.no_grad():
        attention.bias.copy_(torch.arange(-3.0, 4).view(1, 1, 7).expand(8, 7, 7))  # the offset to the right
    larger = attention._offsets(7, 7)[0]
    assert larger[0, 6].item() == pytest.approx(3.0)  # a whole row to the right, as in the smaller map
    assert larger[24, 24].item() == pytest.approx(0.0)
    assert larger[0, 2].item() == pytest.approx(1.0)


def test_mixed_pooling_is_maximum_first_and_average_behind() -> None:
    kinds = [type(layer).__name__ for layer in build("cnn(channels=(4, 4, 4), pooling='mixed')").body]
    assert [kind for kind in kinds if "Pool" in kind] == ["MaxPool2d", "MaxPool2d", "AvgPool2d"]


@pytest.mark.parametrize(
    ("norm", "expected"),
    [
        ("before", ["Conv2d", "BatchNorm2d", "ReLU", "Conv2d", "BatchNorm2d", "ReLU", "Dropout", "MaxPool2d"]),
        ("after", ["Conv2d", "ReLU", "BatchNorm2d", "Conv2d", "ReLU", "Dropout", "MaxPool2d", "BatchNorm2d"]),
    ],
)
def test_batch_norm_stands_where_it_was_told(norm: str, expected: list[str]) -> None:
    layers = build(f"cnn(channels=8, repeats=2, batch_norm='{norm}', dropout=0.5, dense=())").body
    assert [type(layer).__name__ for layer in layers][:-1] == expected


def test_activations_are_the_ones_that_were_named() -> None:
    x = torch.linspace(-2, 2, 9)
    for name, function in (("elu", nn.functional.elu), ("selu", nn.functional.selu), ("tanh", torch.tanh)):
        assert torch.equal(build(f"cnn(activation='{name}')").body[1](x), function(x))
    leaky: Tensor = build("cnn(activation='leaky_relu', slope=0.3)").body[1](x)
    assert torch.equal(leaky, torch.where(x < 0, 0.3 * x, x))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cnn(padding='valid')", r"pool after convolution 2 would shrink one to 0 x 0; use padding='same'"),
        ("cnn(channels=(4, 4, 4, 4, 4), padding='valid', pooling='none')", r"convolution 4 \(valid, kernel 3\)"),
        ("cnn(pooling='maximum')", "no pooling 'maximum'. Did you mean 'max'"),
        ("cnn(padding='sam')", "no padding 'sam'. Did you mean 'same'"),
        ("cnn(activation='reluu')", "Did you mean 'relu'"),
        ("cnn(batch_norm=True)", "batch_norm must be a text in quotes or .*, got True"),
        ("cnn(dropout=2)", "dropout must be from 0 to below 1, got 2"),
        ("cnn(dropout=(0.1, 0.2))", "dropout must be one value or 3 of them"),
        ("cnn(channels=(8, 0))", "whole numbers from 1 on"),
        ("cnn(channels=(8, 'many'))", "channels must be a whole number or .*, got"),
        ("cnn(dense=(3.5,))", "dense must be a whole number or"),
        ("cnn(dense_dropout=1.0)", "dense_dropout must be from 0 to below 1"),
        ("vgg(depth=12)", "depth must be one of 11, 13, 16, 19, got 12"),
        ("vgg(until=(4, 5))", r"until must be \(block, convolution\)"),
        ("vgg(until=4)", r"until must be \(a whole number, a whole number\) or None, got 4"),
        ("vgg(gather='maximum')", "no gather 'maximum'. There are: flatten, mean"),
        ("vgg(dense=(64, 64), dropout=(0.5,))", "dropout must be one value or 2"),
        ("resnext(depth=18)", "depth must be one of 50, 101, got 18"),
        ("resnext(stem='image')", "no stem 'image'. Did you mean 'imagenet'"),
        ("resnext(groups=0)", "groups and group_width must be whole numbers"),
        ("densenet(depth=40)", "depth must be one of 100, 121, 161, 169, 201"),
        ("densenet(stem='imagenet')", "4 blocks with the stem 'imagenet' need images of at least 32 px, got 8 x 8"),
        ("densenet(blocks=(1, 1, 1, 1, 1))", "need images of at least 16 px"),
        ("coatnet(blocks=(2, 2))", "blocks must be 5 numbers"),
        ("coatnet(kinds='CCAT')", "kinds must be four letters C or T"),
        ("coatnet(strides=(2, 2, 2, 2, 0))", "strides must be whole numbers from 1 on"),
        ("wide_resnet(depth=18)", "depth must be 10, 16, 22"),
        ("wide_resnet(width=0)", "width must be above 0"),
        ("efficientnet(scale=8)", "scale must be 0 to 7, got 8"),
        ("efficientnet(phi=20)", "phi must be from -12 to 12, got 20"),
        ("resnet(depth=17)", "depth must be one of 18, 34, 50"),
        ("resnet(stem='big')", "resnet: there is no stem 'big'. There are: imagenet, small"),
        ("resnet(widths=(8, 16))", "there must be a width for each stage"),
        ("resnet(convolutions=0)", "convolutions must be whole numbers from 1 on"),
        ("preact_resnet(depth=19)", "depth must be one of 18, 34, 50, 101, 110, 164, 1001, got 19"),
        ("convnext(patch=16)", "patch must be at most the images' side, 8 px, got 16"),
        ("convnext(kernel=4)", "kernel must be an odd number"),
        ("convnext(blocks=(1, 2))", "each stage must have blocks and a width"),
        ("vit(patch=9)", "patch must be at most the images' side, 8 px, got 9"),
        ("vit(heads=7)", "heads must divide the width, got 7 heads for a width of 192"),
        ("vit(gather='tokens')", "Did you mean 'token'"),
        ("lens(width=-1.0)", "width must be above 0"),
        ("lens(widths=(64, 256))", "widths must be three"),
        ("lens(widths=(64, 256, 0))", "lens: widths must be whole numbers from 1 on"),
        ("mlp(hidden=0)", "hidden must be whole numbers from 1 on"),
        ("lenet(activation='tan')", "Did you mean 'tanh'"),
        ("efficientnet(drop_path=-0.1)", "drop_path must be from 0 to below 1"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_to_do(text: str, message: str) -> None:
    with pytest.raises(PocketlensError, match=message) as caught:
        build(text, (8, 8, 3))
    assert "\n" not in str(caught.value)


def test_a_fixed_seed_gives_fixed_weights() -> None:
    def made(text: str) -> list[Any]:
        torch.manual_seed(5)
        return [value.sum().item() for value in build(text, (16, 16, 3), 5).state_dict().values()]

    for text in ANY_SIZE:
        assert made(text) == made(text)
