"""Corruptions do what their names and parameters say; all keep shapes, are repeatable and grow with severity."""

from __future__ import annotations

import colorsys
import io

import numpy as np
import pytest
from PIL import Image

from pocketlens.evaluation.corruptions import FAMILIES, Corruption, corrupt
from pocketlens.evaluation.corruptions.blur import defocus_blur, motion_blur, zoom_blur
from pocketlens.evaluation.corruptions.digital import contrast, jpeg_compression, pixelate
from pocketlens.evaluation.corruptions.noise import gaussian_noise, impulse_noise, shot_noise
from pocketlens.evaluation.corruptions.sampling import sample, smeared
from pocketlens.evaluation.corruptions.weather import _plasma, brightness, fog

ALL = [corruption for family in FAMILIES.values() for corruption in family]


def pictures(n: int = 12, channels: int = 3) -> np.ndarray:
    """Smooth coloured pictures with edges, uint8 (n, 32, 32, channels)."""
    random = np.random.default_rng(1)
    coarse = random.integers(30, 220, (n, 4, 4, channels), dtype=np.uint8)
    return coarse.repeat(8, axis=1).repeat(8, axis=2) + random.integers(0, 30, (n, 32, 32, channels), dtype=np.uint8)


def random() -> np.random.Generator:
    return np.random.default_rng(0)


def test_there_are_fifteen() -> None:
    assert len({corruption.__name__ for corruption in ALL}) == 15


@pytest.mark.parametrize("corruption", ALL, ids=lambda corruption: corruption.__name__)
def test_every_corruption_keeps_shape_and_is_the_same_again(corruption: Corruption) -> None:
    images = pictures()
    before = images.copy()
    first = corrupt(images, corruption, 3)
    assert first.shape == images.shape
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, corrupt(images, corruption, 3))
    np.testing.assert_array_equal(images, before)
    assert (first != images).any(axis=(1, 2, 3)).all()
    grey = corrupt(pictures(2, channels=1)[:, :28, :20], corruption, 5)
    assert grey.shape == (2, 28, 20, 1)
    mild, strong = (np.abs(corrupt(images, corruption, level) - images.astype(float)).mean() for level in (1, 5))
    assert strong > mild or corruption.__name__ in ("elastic_transform", "glass_blur", "pixelate")


def test_noise_has_its_parameters() -> None:
    half = np.full((20, 32, 32, 3), 0.5, np.float32)
    assert gaussian_noise(half, 4, random()).std() == pytest.approx(0.09, rel=0.02)
    assert shot_noise(half, 3, random()).var() == pytest.approx(0.5 / 100, rel=0.02)
    hit = impulse_noise(half, 5, random())
    assert (hit != half).mean() == pytest.approx(0.07, rel=0.05)
    assert set(np.unique(hit)) == {0.0, 0.5, 1.0}
    assert (hit == 1).sum() == pytest.approx((hit == 0).sum(), rel=0.1)


def test_brightness_adds_to_the_value_of_hsv() -> None:
    image = random().random((1, 2, 3, 3)).astype(np.float32)
    brighter = brightness(image, 3, random())
    for y, x in np.ndindex(2, 3):
        hue, saturation, value = colorsys.rgb_to_hsv(*image[0, y, x].tolist())
        expected = colorsys.hsv_to_rgb(hue, saturation, min(value + 0.15, 1))
        np.testing.assert_allclose(brighter[0, y, x], expected, atol=1e-5)


def test_contrast_and_fog_by_hand() -> None:
    image = np.array([0.2, 0.8], np.float32).reshape(1, 1, 2, 1)
    np.testing.assert_allclose(contrast(image, 2, random()).ravel(), [0.35, 0.65], atol=1e-6)
    images = pictures().astype(np.float32) / 255
    cloud = _plasma(images, 2.0, random())
    assert cloud.min(axis=(1, 2)).tolist() == [0] * 12
    assert cloud.max(axis=(1, 2)).tolist() == pytest.approx([1] * 12)
    assert abs(np.diff(cloud, axis=2)).mean() < 0.5 * cloud.std() * 2  # neighbours are alike
    np.testing.assert_allclose(fog(images, 4, random()).max(axis=(1, 2, 3)), images.max(axis=(1, 2, 3)), rtol=0.5)


def test_blurs_keep_plain_images_and_the_amount_of_light() -> None:
    plain = np.full((2, 32, 32, 3), 0.4, np.float32)
    for blur in (defocus_blur, motion_blur, zoom_blur):
        np.testing.assert_allclose(blur(plain, 5, random()), plain, atol=1e-5)
    point = np.zeros((1, 33, 33, 1), np.float32)
    point[0, 16, 16] = 1
    disk = defocus_blur(point, 5, random())[0, :, :, 0]
    assert disk.sum() == pytest.approx(1)
    np.testing.assert_allclose(disk, disk[::-1, ::-1].T, atol=1e-6)  # round
    rows, columns = np.nonzero(disk > 0.02)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (15, 17, 15, 17)


def test_motion_leaves_a_trail_along_its_angle() -> None:
    point = np.zeros((1, 33, 33, 1), np.float32)
    point[0, 16, 16] = 1
    trail = smeared(point, 13, 2.0, np.array([0.0]))[0, :, :, 0]
    assert np.flatnonzero(trail.sum(axis=1) > 1e-6).tolist() == [16]
    expected = np.exp(-(np.arange(13) ** 2) / 8)
    np.testing.assert_allclose(trail[16, 16:7:-1], (expected / expected.sum())[:9], atol=1e-4)


def test_coarse_pixels_and_jpeg_equal_pillow() -> None:
    images = pictures(2)
    for index, image in enumerate(images):
        small = Image.fromarray(image).resize((24, 24), Image.Resampling.BOX).resize((32, 32), Image.Resampling.BOX)
        np.testing.assert_array_equal(corrupt(images, pixelate, 4)[index], np.asarray(small))
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, format="JPEG", quality=58)
        np.testing.assert_array_equal(corrupt(images, jpeg_compression, 3)[index], np.asarray(Image.open(buffer)))


def test_reading_at_the_pixels_changes_nothing() -> None:
    images = pictures(3).astype(np.float32) / 255
    y, x = (axis[None].astype(float) for axis in np.mgrid[:32, :32])
    np.testing.assert_allclose(sample(images, y, x), images, atol=1e-5)
    np.testing.assert_allclose(sample(images, y, x + 1)[:, :, :-1], images[:, :, 1:], atol=1e-5)
