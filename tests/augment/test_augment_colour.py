"""Colour operations against torchvision (float) and Pillow (8 bits), on CIFAR-100 and on made pictures."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from pictures import from_pillow, made_pictures, real_pictures, to_pillow
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor

from pocketlens.augment import _colour as colour
from pocketlens.errors import PocketlensError
from pocketlens.operations.sharpen import sharpen

N = 24
FACTORS = torch.linspace(0, 2.3, N)
LEVEL = 1 / 255  # one of the 256 levels of a value


@pytest.fixture(params=["real", "made"], scope="module")
def images(request: pytest.FixtureRequest) -> Tensor:
    if request.param == "made":
        return made_pictures(N)
    pictures = real_pictures(N)
    if pictures is None:
        pytest.skip("needs the parquet files of CIFAR-100: set POCKETLENS_DATA")
    return pictures


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (colour.adjust_brightness, "adjust_brightness"),
        (colour.adjust_contrast, "adjust_contrast"),
        (colour.adjust_saturation, "adjust_saturation"),
        (colour.adjust_sharpness, "adjust_sharpness"),
    ],
)
def test_enhancements_equal_torchvisions(images: Tensor, ours: Callable[..., Tensor], theirs: str) -> None:
    functional = pytest.importorskip("torchvision.transforms.v2.functional")
    reference = [getattr(functional, theirs)(image, float(by)) for image, by in zip(images, FACTORS, strict=True)]
    # torchvision rounds the weight of red to .2989
    torch.testing.assert_close(ours(images, FACTORS), torch.stack(reference), rtol=0, atol=2e-4)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (colour.adjust_brightness, ImageEnhance.Brightness),
        (colour.adjust_contrast, ImageEnhance.Contrast),
        (colour.adjust_saturation, ImageEnhance.Color),
        (colour.adjust_sharpness, ImageEnhance.Sharpness),
    ],
)
def test_enhancements_equal_pillows(
    images: Tensor, ours: Callable[..., Tensor], theirs: Callable[..., ImageEnhance._Enhance]
) -> None:
    reference = [
        from_pillow(theirs(to_pillow(image)).enhance(float(by))) for image, by in zip(images, FACTORS, strict=True)
    ]
    # Pillow rounds the grey or smoothed image and cuts the result off to whole levels
    torch.testing.assert_close(ours(images, FACTORS), torch.stack(reference), rtol=0, atol=2 * LEVEL)


def test_hue_equals_torchvisions(images: Tensor) -> None:
    functional = pytest.importorskip("torchvision.transforms.v2.functional")
    turns = torch.linspace(-0.5, 0.5, N)
    reference = [functional.adjust_hue(image, float(by)) for image, by in zip(images, turns, strict=True)]
    torch.testing.assert_close(colour.rotate_hue(images, turns), torch.stack(reference), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("ours", "theirs", "tolerance"),
    [
        (colour.invert, ImageOps.invert, 1e-6),
        (colour.equalize, ImageOps.equalize, 1e-6),
        (colour.stretch_contrast, ImageOps.autocontrast, LEVEL),  # Pillow cuts off to whole levels
    ],
)
def test_operations_without_strength_equal_pillows(
    images: Tensor, ours: Callable[[Tensor], Tensor], theirs: Callable[[Image.Image], Image.Image], tolerance: float
) -> None:
    reference = torch.stack([from_pillow(theirs(to_pillow(image))) for image in images])
    torch.testing.assert_close(ours(images), reference, rtol=0, atol=tolerance + 1e-6)


def test_autocontrast_equals_torchvisions(images: Tensor) -> None:
    functional = pytest.importorskip("torchvision.transforms.v2.functional")
    torch.testing.assert_close(colour.stretch_contrast(images), functional.autocontrast(images), rtol=0, atol=1e-6)


def test_posterize_and_solarize_equal_pillows(images: Tensor) -> None:
    bits = torch.arange(N) % 8 + 1
    reference = [
        from_pillow(ImageOps.posterize(to_pillow(image), int(by))) for image, by in zip(images, bits, strict=True)
    ]
    torch.testing.assert_close(colour.posterize(images, bits.float()), torch.stack(reference), rtol=0, atol=1e-6)
    thresholds = torch.arange(N) * 11 + 1  # levels
    reference = [
        from_pillow(ImageOps.solarize(to_pillow(image), int(by))) for image, by in zip(images, thresholds, strict=True)
    ]
    between = (thresholds.float() - 0.5) * LEVEL  # no level is a threshold, so float rounding cannot matter
    torch.testing.assert_close(colour.solarize(images, between), torch.stack(reference), rtol=0, atol=1e-6)


def test_grey_is_the_luminance(images: Tensor) -> None:
    reference = torch.stack([from_pillow(to_pillow(image).convert("L").convert("RGB")) for image in images])
    torch.testing.assert_close(colour.remove_colour(images), reference, rtol=0, atol=0.51 * LEVEL)


def test_sharpen_as_an_operation_equals_pillows(images: Tensor) -> None:
    for amount in (0.0, 1.0, 2.0):
        reference = [from_pillow(ImageEnhance.Sharpness(to_pillow(image)).enhance(amount)) for image in images]
        torch.testing.assert_close(sharpen(images, amount=amount), torch.stack(reference), rtol=0, atol=1.6 * LEVEL)
    assert torch.equal(sharpen(images, amount=1), images)
    with pytest.raises(PocketlensError, match="amount must be a number of 0 or more, got -1"):
        sharpen(images, amount=-1)
    tiny = images[..., :2]
    assert torch.equal(sharpen(tiny), tiny)


def test_one_channel_has_no_colour_and_four_are_refused() -> None:
    grey, by = torch.rand(3, 1, 6, 6), torch.tensor([0.0, 0.3, 0.5])
    for operation in (colour.adjust_saturation, colour.rotate_hue):
        assert torch.equal(operation(grey, by), grey)
    assert torch.equal(colour.remove_colour(grey), grey)
    for operation in (colour.adjust_saturation, colour.rotate_hue, colour.adjust_contrast):
        with pytest.raises(PocketlensError, match="1 or 3 channels, got 4"):
            operation(torch.rand(3, 4, 6, 6), by)
