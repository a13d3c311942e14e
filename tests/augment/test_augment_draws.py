"""The parameters that augmentations draw, read from what they make of simple pictures, against their ranges."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from pictures import made_pictures
from scipy.stats import kstest
from torch import Tensor

from pocketlens.augment import _colour as colour
from pocketlens.augment._mixing import beta
from pocketlens.components import names, parse_one, resolve
from pocketlens.draws import Draws
from pocketlens.errors import PocketlensError

MANY = 4000


def augmented(text: str, images: Tensor, targets: Tensor | None = None, seed: int = 5) -> tuple[Tensor, Tensor]:
    component = parse_one(text, "augment")
    rows = torch.arange(len(images))
    draws = Draws(seed, rows, torch.zeros_like(rows), epoch=1)
    targets = torch.ones(len(images), 1) if targets is None else targets
    out: tuple[Tensor, Tensor] = resolve(component, "augment")(images, targets, draws, **dict(component.options))
    return out


def flat(*channels: float) -> Tensor:
    """(MANY, C, 2, 2) float32 of one colour."""
    return torch.tensor(channels).view(1, -1, 1, 1).expand(MANY, -1, 2, 2)


def assert_uniform(values: Tensor, low: float, high: float) -> None:
    assert low - 1e-4 <= float(values.min()) <= float(values.max()) <= high + 1e-4
    assert kstest(values.numpy(), "uniform", args=(low, high - low)).pvalue > 0.01


def share_changed(text: str, images: Tensor) -> float:
    out, _ = augmented(text, images)
    return float((out != images).flatten(1).any(1).float().mean())


def test_brightness_contrast_and_saturation_draw_uniform_factors() -> None:
    out, _ = augmented("brightness(strength=0.3)", flat(0.5))
    assert_uniform(out[:, 0, 0, 0] / 0.5, 0.7, 1.3)
    halves = torch.tensor([0.4, 0.6]).view(1, 1, 1, 2).expand(MANY, 1, 2, 2)
    out, _ = augmented("contrast(strength=0.8)", halves)
    assert_uniform((out[:, 0, 0, 1] - out[:, 0, 0, 0]) / 0.2, 0.2, 1.8)
    out, _ = augmented("saturation(strength=0.5)", flat(0.4, 0.5, 0.4))
    assert_uniform((out[:, 1, 0, 0] - out[:, 0, 0, 0]) / 0.1, 0.5, 1.5)
    out, _ = augmented("brightness(strength=2.0)", flat(0.25))
    assert_uniform(out[:, 0, 0, 0] / 0.25, 0.0, 3.0)  # a factor is not below 0


def test_hue_and_channel_shift_are_uniform() -> None:
    out, _ = augmented("hue(strength=0.1)", flat(1.0, 0.0, 0.0))  # red turns to yellow or to magenta
    assert_uniform((out[:, 1, 0, 0] - out[:, 2, 0, 0]) / 6, -0.1, 0.1)
    out, _ = augmented("channel_shift(strength=0.2)", flat(0.5, 0.5, 0.5))
    shifts = out[:, :, 0, 0] - 0.5
    assert_uniform(shifts.flatten(), -0.2, 0.2)
    assert abs(np.corrcoef(shifts[:, 0], shifts[:, 1])[0, 1]) < 0.05
    out, _ = augmented("channel_shift(strength=0.2, together=True)", flat(0.5, 0.5, 0.5))
    assert_uniform(out[:, 0, 0, 0] - 0.5, -0.2, 0.2)
    assert torch.equal(out[:, 0], out[:, 2])


def test_colour_jitter_uses_all_orders_and_the_ranges_of_its_parts() -> None:
    images = made_pictures(24)[5:6].expand(600, -1, -1, -1)[..., :8, :8]
    out, _ = augmented("colour_jitter(brightness=0.5, contrast=0.5, saturation=0.5, hue=0.2)", images)
    rows = torch.arange(600)
    draws = Draws(5, rows, torch.zeros_like(rows), epoch=1)
    works = [colour.adjust_brightness, colour.adjust_contrast, colour.adjust_saturation, colour.rotate_hue]
    strengths = [0.5 + draws.uniform(name)[:, 0] for name in ("brightness", "contrast", "saturation")]
    strengths.append(0.4 * draws.uniform("hue")[:, 0] - 0.2)
    orders = draws.uniform("order", 4).argsort(1)
    for row in range(0, 600, 40):
        image = images[row : row + 1]
        for place in orders[row].tolist():
            image = works[place](image, strengths[place][row : row + 1])
        torch.testing.assert_close(out[row : row + 1], image, rtol=0, atol=1e-5)
    counts = orders.unique(dim=0, return_counts=True)[1]
    assert len(counts) == 24
    assert counts.min() > 8  # 25 are expected of each
    only, _ = augmented("colour_jitter(brightness=0.3, contrast=0, saturation=0, hue=0)", flat(0.5))
    assert_uniform(only[:, 0, 0, 0] / 0.5, 0.7, 1.3)


@pytest.mark.parametrize(
    "name", ["solarize", "posterize", "equalize", "autocontrast", "invert", "sharpness", "grey", "vertical_flip"]
)
def test_probabilities_are_kept(name: str) -> None:
    images = made_pictures(6)[5:6, :, :8, :8].expand(1000, -1, -1, -1) * 0.8
    if name == "equalize":
        images = made_pictures(6)[5:6].expand(1000, -1, -1, -1)
    assert 0.26 < share_changed(f"{name}(p=0.3)", images) < 0.34
    assert share_changed(f"{name}(p=0.0)", images) == 0
    assert share_changed(f"{name}(p=1.0)", images) == 1


def test_random_erasing_draws_the_papers_boxes() -> None:
    side = 32
    white = torch.ones(2000, 1, side, side)
    out, _ = augmented("random_erasing(p=1.0, fill=0.0, scale=(0.05, 0.3))", white)
    gone = out[:, 0] == 0
    heights, widths = gone.any(2).sum(1), gone.any(1).sum(1)
    assert torch.equal(heights * widths, gone.sum((1, 2)))  # a box, and nothing else
    areas = (heights * widths / side**2).numpy()
    assert 0.04 < areas.min() < areas.max() < 0.32
    assert kstest(areas, "uniform", args=(0.05, 0.25)).statistic < 0.06
    shape = np.log(heights.numpy() / widths.numpy())
    small = areas < 0.15  # larger boxes of extreme shapes do not fit
    assert kstest(shape[small], "uniform", args=(np.log(0.3), np.log(11))).statistic < 0.08
    top = gone.any(2).float().argmax(1)
    assert 0.47 < float((top / (side - heights).clamp(min=1)).mean()) < 0.53
    assert 0.45 < share_changed("random_erasing", white) < 0.55


def test_random_erasing_with_noise_draws_every_value() -> None:
    images = torch.full((1000, 3, 7, 5), 0.5 / 255)
    out, _ = augmented("random_erasing(p=1.0, scale=(0.5, 0.5), ratio=(1.0, 1.0))", images)
    noise = out[out != images]
    assert torch.equal((noise * 255).round() / 255, noise)
    assert (
        kstest((noise[:5000] * 255).numpy() + np.random.default_rng(0).uniform(0, 1, 5000), "uniform", args=(0, 256))[1]
        > 0.01
    )
    changed = (out != images).any(1, keepdim=True).expand_as(out)
    assert abs(np.corrcoef(out[:, 0][changed[:, 0]], out[:, 1][changed[:, 1]])[0, 1]) < 0.03


def test_random_erasing_that_never_fits_leaves_the_image() -> None:
    images = torch.rand(20, 3, 4, 40)
    assert share_changed("random_erasing(p=1.0, scale=(0.9, 0.9), ratio=(1.0, 1.0))", images) == 0


def test_fmix_mixes_by_area_with_shares_from_beta() -> None:
    n, side = 1500, 16
    rows = torch.arange(n)
    images = (rows / n).view(n, 1, 1, 1).expand(n, 1, side, side)
    targets = torch.stack((rows / n, 1 - rows / n), 1)
    out, mixed = augmented("fmix", images, targets)
    torch.testing.assert_close(out.mean((1, 2, 3)), mixed[:, 0], rtol=0, atol=1e-5)
    own = (out == images).float().mean((1, 2, 3)).numpy()
    assert kstest(own, "uniform").statistic < 0.04  # Beta(1, 1)
    peaked = (augmented("fmix(alpha=8.0)", images, targets)[0] == images).float().mean((1, 2, 3)).numpy()
    assert kstest(peaked, "beta", args=(8, 8)).statistic < 0.05
    half, _ = augmented("fmix(p=0.5)", images, targets)
    assert 0.45 < float((half == images).flatten(1).all(1).float().mean()) < 0.56
    assert torch.equal(augmented("fmix(until=0.0)", images, targets)[0], images)


def test_fmix_regions_are_smoother_with_a_steeper_spectrum() -> None:
    n, side = 200, 16
    images = torch.arange(n).view(n, 1, 1, 1).expand(n, 1, side, side) / n

    def border(text: str) -> float:
        own = (augmented(text, images)[0] == images).float()
        return float((own[..., 1:] != own[..., :-1]).float().mean())

    rough, usual, smooth = (border(f"fmix(alpha=100.0, decay={decay})") for decay in (0.0, 3.0, 6.0))
    assert 0.45 < rough < 0.55  # white noise: neighbours know nothing of each other
    assert smooth < usual < 0.25


def test_beta_follows_its_distribution() -> None:
    place = torch.linspace(0, 1, 5001)[:-1]
    for a, b in ((1.0, 1.0), (1.0, 2.0), (0.5, 3.0), (6.0, 2.0)):
        assert kstest(beta(place, a, b).numpy(), "beta", args=(a, b)).statistic < 0.01


@pytest.mark.parametrize("name", names("augment"))
@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 20), (3, 5, 9)])
def test_any_size_and_one_channel(name: str, shape: tuple[int, int, int]) -> None:
    images = torch.rand(6, *shape, generator=torch.Generator().manual_seed(1))
    out, _ = augmented(name, images)
    assert out.shape == images.shape
    assert 0 <= float(out.min()) <= float(out.max()) <= 1


@pytest.mark.parametrize("name", [name for name in names("augment") if name not in ("mixup", "cutmix", "fmix")])
def test_a_part_of_a_batch_in_channels_last_gives_the_same_bits(name: str) -> None:
    images = made_pictures(12)
    whole, _ = augmented(name, images)
    assert torch.equal(augmented(name, images[:5])[0], whole[:5])
    assert torch.equal(augmented(name, images[:1])[0], whole[:1])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", names("augment"))
def test_cuda_gives_what_the_cpu_gives(name: str) -> None:
    images, rows = made_pictures(24), torch.arange(24)
    function, targets = resolve(parse_one(name, "augment"), "augment"), torch.eye(4)[rows % 4]
    on_cpu = function(images, targets, Draws(1, rows, rows * 0, 0))
    rows = rows.cuda()
    on_cuda = function(images.cuda(), targets.cuda(), Draws(1, rows, rows * 0, 0))
    off = (on_cpu[0] - on_cuda[0].cpu()).abs() > 1e-4
    assert float(off.float().mean()) < 0.005  # a place exactly between two pixels may go to either
    torch.testing.assert_close(on_cpu[1], on_cuda[1].cpu(), rtol=0, atol=0.005)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("vertical_flip(p=2)", "vertical_flip: p must be a number in 0..1, got 2."),
        ("rotation(degrees='much')", "rotation: degrees must be a number, got 'much'."),
        ("rotation(fill='red')", "rotation: fill must be a number in 0..1, 'edge' or 'reflect', got 'red'."),
        ("rotation(fill=255)", "rotation: fill must be a number in 0..1, 'edge' or 'reflect', got 255."),
        ("translation(fraction=3)", "translation: fraction must be a number in 0..1, got 3."),
        ("shear(axis='z')", "shear: axis must be 'x', 'y' or 'both', got 'z'."),
        ("zoom(low=2.0, high=1.0)", "zoom: low and high must be two numbers (smallest, largest)"),
        ("affine(low=0)", "affine: low and high must be two numbers (smallest, largest)"),
        ("perspective(distortion=0.9)", "perspective: distortion must be a number in 0..0.6, got 0.9."),
        ("random_resized_crop(scale=0.5)", "random_resized_crop: scale must be (a number, a number), got 0.5."),
        ("hue(strength=0.7)", "hue: strength must be a number in 0..0.5, got 0.7."),
        ("colour_jitter(hue=1)", "colour_jitter: hue must be a number in 0..0.5, got 1."),
        ("contrast(strength=True)", "contrast: strength must be a number, got True."),
        ("posterize(bits=0)", "posterize: bits must be a whole number in 1..8, got 0."),
        ("random_erasing(fill='black')", "random_erasing: fill must be 'noise' or a number in 0..1, got 'black'."),
        ("random_erasing(scale=(0.5, 0.1))", "random_erasing: scale must be two numbers (smallest, largest)"),
        ("autoaugment(policy='cifar')", "there is no policy 'cifar'. Did you mean 'cifar10'?"),
        ("randaugment(m=31)", "randaugment: m must be a whole number in 0..30, got 31."),
        ("augmix(depth=0)", "augmix: depth must be a whole number in 1..10, got 0."),
        ("augmix(severity=11)", "augmix: severity must be a number in 0.1..10, got 11."),
    ],
)
def test_wrong_options_are_one_line(text: str, message: str) -> None:
    images: Any = torch.zeros(2, 3, 8, 8)
    with pytest.raises(PocketlensError) as error:
        augmented(text, images)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
