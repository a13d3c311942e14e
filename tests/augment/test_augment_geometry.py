"""Geometric operations against torchvision on CIFAR-100 and on made pictures; their draws against their ranges.

The draws are read from what comes out: a picture of its own coordinates tells where each pixel comes from.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from pictures import made_pictures, real_pictures
from scipy.stats import kstest
from torch import Tensor

from pocketlens.augment import _geometry as geometry
from pocketlens.augment._ranges import between
from pocketlens.augment.affine import affine
from pocketlens.augment.perspective import perspective
from pocketlens.augment.random_resized_crop import random_resized_crop
from pocketlens.augment.rotation import rotation
from pocketlens.augment.shear import shear
from pocketlens.augment.translation import translation
from pocketlens.augment.vertical_flip import vertical_flip
from pocketlens.augment.zoom import zoom
from pocketlens.draws import Draws

N = 16
CLOSE = 2e-4  # float32 coordinates are right to 1e-6 of the side
SIDE, MANY = 33, 3000


@pytest.fixture(params=["real", "made"], scope="module")
def images(request: pytest.FixtureRequest) -> Tensor:
    if request.param == "made":
        return made_pictures(N)[..., :24]  # 32 x 24 px
    pictures = real_pictures(N)
    if pictures is None:
        pytest.skip("needs the parquet files of CIFAR-100: set POCKETLENS_DATA")
    return pictures


def draws_of(n: int, seed: int = 5) -> Draws:
    rows = torch.arange(n)
    return Draws(seed, rows, torch.zeros_like(rows), epoch=1)


def assert_nearly(ours: Tensor, theirs: list[Tensor], most: float = 0.0) -> None:
    """Equal within CLOSE but for a share `most` of the values, where a place lies between two pixels."""
    wrong = (ours - torch.stack(theirs)).abs() > CLOSE
    assert float(wrong.float().mean()) <= most, f"{float(wrong.float().mean()):.4f} of the values differ"


@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_rotation_and_shear_equal_torchvisions(images: Tensor, mode: str) -> None:
    functional = pytest.importorskip("torchvision.transforms.v2.functional")
    interpolation = functional.InterpolationMode(mode)
    most = 0.0 if mode == "bilinear" else 0.01
    angles = torch.linspace(-180, 170, N) + 0.3
    theirs = [functional.rotate(i, float(by), interpolation) for i, by in zip(images, angles, strict=True)]
    assert_nearly(geometry.rotate(images, angles, bilinear=mode == "bilinear"), theirs, most)
    slants = torch.linspace(-60, 60, N)
    x, y = torch.tan(torch.deg2rad(slants)), torch.zeros(N)
    theirs = [
        functional.affine(i, 0.0, [0, 0], 1.0, [float(by), 0.0], interpolation)
        for i, by in zip(images, slants, strict=True)
    ]
    assert_nearly(geometry.shear(images, x, y, bilinear=mode == "bilinear"), theirs, most)
    theirs = [
        functional.affine(i, 0.0, [0, 0], 1.0, [0.0, float(by)], interpolation)
        for i, by in zip(images, slants, strict=True)
    ]
    assert_nearly(geometry.shear(images, y, x, bilinear=mode == "bilinear"), theirs, most)


def test_translation_equals_torchvisions_to_the_bit(images: Tensor) -> None:
    functional = pytest.importorskip("torchvision.transforms.v2.functional")
    x, y = torch.arange(N) - 8, (torch.arange(N) * 5) % 33 - 16
    theirs = [
        functional.affine(i, 0.0, [int(right), int(down)], 1.0, [0.0, 0.0])
        for i, right, down in zip(images, x, y, strict=True)
    ]
    assert torch.equal(geometry.translate(images, x.float(), y.float()), torch.stack(theirs))


def test_zoom_perspective_and_cut_equal_torchvisions(images: Tensor) -> None:
    functional = pytest.importorskip("torchvision.transforms.v2.functional")
    bilinear = functional.InterpolationMode.BILINEAR
    factors = torch.linspace(0.4, 2.5, N)
    theirs = [
        functional.affine(i, 0.0, [0, 0], float(by), [0.0, 0.0], bilinear)
        for i, by in zip(images, factors, strict=True)
    ]
    assert_nearly(geometry.zoom(images, factors), theirs)

    height, width = images.shape[2:]
    start = [[0, 0], [width, 0], [width, height], [0, height]]
    inwards = torch.randint(0, 8, (N, 4, 2), generator=torch.Generator().manual_seed(0))
    corners = torch.tensor(start) + inwards * torch.tensor([[1, 1], [-1, 1], [-1, -1], [1, -1]])
    theirs = [functional.perspective(i, start, to.tolist(), bilinear) for i, to in zip(images, corners, strict=True)]
    assert_nearly(geometry.warp(images, corners.float()), theirs)

    top, left, tall, wide = torch.arange(N) % 5, torch.arange(N) % 7, torch.arange(N) + 3, 17 - torch.arange(N)
    theirs = [
        functional.resized_crop(i, int(t), int(m), int(h), int(w), [height, width], bilinear, antialias=True)
        for i, t, m, h, w in zip(images, top, left, tall, wide, strict=True)
    ]
    boxes = torch.stack((top, left, tall, wide), 1)
    assert_nearly(geometry.cut(images, boxes), theirs)
    theirs = [
        functional.resized_crop(i, *box, [9, 11], bilinear, antialias=False)
        for i, box in zip(images, boxes.tolist(), strict=True)
    ]
    assert_nearly(geometry.cut(images, boxes, (9, 11)), theirs)


def test_affine_equals_torchvisions_with_the_same_numbers(images: Tensor) -> None:
    functional = pytest.importorskip("torchvision.transforms.v2.functional")
    draws = draws_of(N)
    ours, _ = affine(images, torch.ones(N, 1), draws, degrees=40, fraction=0.2, shear=20, low=0.7, high=1.4)
    height, width = images.shape[2:]
    angle, slant = between(draws, "angle", -40, 40), between(draws, "slant", -20, 20)
    x, y = between(draws, "x", -0.2 * width, 0.2 * width), between(draws, "y", -0.2 * height, 0.2 * height)
    scale = between(draws, "factor", 0.7, 1.4)
    theirs = [
        functional.affine(
            images[i],
            -float(angle[i]),  # torchvision's affine turns clockwise, its rotate does not
            [float(x[i]), float(y[i])],
            float(scale[i]),
            [float(slant[i]), 0.0],
            functional.InterpolationMode.BILINEAR,
        )
        for i in range(N)
    ]
    assert_nearly(ours, theirs)


def test_what_stands_beyond_the_border() -> None:
    image = torch.arange(1, 6).view(1, 1, 1, 5).float().expand(1, 1, 5, 5) / 10
    two, none = torch.tensor([2.0]), torch.zeros(1)

    def first_row(fill: float | str) -> list[float]:
        moved = geometry.translate(image, two, none, fill=fill)
        return [round(float(value) * 10, 3) for value in moved[0, 0, 0]]

    assert first_row(0.0) == [0, 0, 1, 2, 3]
    assert first_row(0.7) == [7, 7, 1, 2, 3]
    assert first_row("edge") == [1, 1, 1, 2, 3]
    assert first_row("reflect") == [2, 1, 1, 2, 3]


def coordinates(n: int = MANY) -> Tensor:
    """(n, 3, SIDE, SIDE) float32: x and y, 0.1..0.9 from border to border, and ones."""
    line = torch.linspace(0.1, 0.9, SIDE)
    picture = torch.stack((line.expand(SIDE, SIDE), line[:, None].expand(SIDE, SIDE), torch.ones(SIDE, SIDE)))
    return picture.expand(n, -1, -1, -1)


def sources(out: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """(n, 2, 2) the matrix back to the source, (n, 2) the source of the centre; px from the centre, as (x, y)."""
    middle = SIDE // 2
    at = (out[:, :2] - 0.5) / 0.8 * (SIDE - 1)
    centre = at[:, :, middle, middle]
    columns = [(at[:, :, middle, middle + 2] - centre) / 2, (at[:, :, middle + 2, middle] - centre) / 2]
    return torch.stack(columns, 2).numpy(), centre.numpy()


def assert_uniform(values: np.ndarray, low: float, high: float) -> None:
    span = high - low
    assert values.min() >= low - 1e-3 * span
    assert values.max() <= high + 1e-3 * span
    assert kstest(values, "uniform", args=(low, span)).pvalue > 0.01


def test_rotation_is_uniform_and_has_its_probability() -> None:
    ones = torch.ones(MANY, 1)
    matrix, _ = sources(rotation(coordinates(), ones, draws_of(MANY), degrees=30)[0])
    angles = np.degrees(np.arctan2(matrix[:, 1, 0], matrix[:, 0, 0]))
    assert_uniform(angles, -30, 30)
    out, _ = rotation(coordinates(), ones, draws_of(MANY), degrees=30, p=0.3)
    assert 0.27 < float((out != coordinates()).flatten(1).any(1).float().mean()) < 0.33


def test_translation_is_uniform_over_whole_px() -> None:
    _, centre = sources(translation(coordinates(), torch.ones(MANY, 1), draws_of(MANY), fraction=0.1)[0])
    shifts = np.round(centre)
    assert np.abs(centre - shifts).max() < 1e-2
    values, counts = np.unique(shifts[:, 0], return_counts=True)
    assert list(values) == [-3, -2, -1, 0, 1, 2, 3]  # round(-3.3 .. 3.3): the outermost have 0.8 of the others' chance
    assert np.abs(counts / MANY - np.array([0.8, 1, 1, 1, 1, 1, 0.8]) / 6.6).max() < 0.02
    assert abs(np.corrcoef(shifts.T)[0, 1]) < 0.05


def test_shear_and_zoom_are_uniform() -> None:
    ones = torch.ones(MANY, 1)
    matrix, _ = sources(shear(coordinates(), ones, draws_of(MANY), degrees=20, axis="both")[0])
    for place in ((0, 1), (1, 0)):
        assert_uniform(np.degrees(np.arctan(matrix[:, place[0], place[1]])), -20, 20)
    matrix, _ = sources(shear(coordinates(), ones, draws_of(MANY), degrees=20, axis="x")[0])
    assert np.abs(matrix[:, 1, 0]).max() < 1e-3 < np.abs(matrix[:, 0, 1]).max()
    matrix, _ = sources(zoom(coordinates(), ones, draws_of(MANY), low=0.8, high=1.5)[0])
    assert_uniform(1 / matrix[:, 0, 0], 0.8, 1.5)
    np.testing.assert_allclose(matrix[:, 0, 0], matrix[:, 1, 1], atol=1e-3)


def test_affine_draws_in_the_ranges_of_its_parts() -> None:
    out, _ = affine(
        coordinates(), torch.ones(MANY, 1), draws_of(MANY), degrees=20, fraction=0.05, shear=10, low=0.9, high=1.2
    )
    matrix, centre = sources(out)
    angle = np.arctan2(matrix[:, 1, 0], matrix[:, 1, 1])  # the second row is free of the slant
    assert_uniform(np.degrees(angle), -20, 20)
    assert_uniform(1 / np.hypot(matrix[:, 1, 0], matrix[:, 1, 1]), 0.9, 1.2)
    shift = -np.linalg.solve(matrix, centre[:, :, None])[:, :, 0]
    for axis in (0, 1):
        assert_uniform(shift[:, axis], -0.05 * SIDE, 0.05 * SIDE)


def test_perspective_moves_corners_inwards_and_has_its_probability() -> None:
    side = 16
    white = torch.ones(MANY, 1, side, side)
    out, _ = perspective(white, torch.ones(MANY, 1), draws_of(MANY), distortion=0.5, p=0.5)
    # half of the images, but for the 5 ** -8 where no corner moves
    assert 0.47 < float((out < 1).flatten(1).any(1).float().mean()) < 0.53
    moved = perspective(white, torch.ones(MANY, 1), draws_of(MANY), distortion=0.5, p=1.0)[0][:, 0]
    # the left edge in the middle row lies at the mean of two uniform draws of 0..4, the top one alike
    gone = (side - moved[:, side // 2].sum(1) + 1e-3) / 2  # both sides, px
    assert 1.8 < float(gone.mean()) < 2.2
    assert float(gone.max()) <= 4.05
    for tiny in (2, 3, 5, 8):
        out, _ = perspective(torch.rand(50, 3, tiny, tiny), torch.ones(50, 1), draws_of(50), distortion=0.6, p=1.0)
        assert bool(out.isfinite().all())


@pytest.mark.parametrize("distortion", [0.3, 0.6])
def test_perspective_never_folds(distortion: float) -> None:
    out, _ = perspective(coordinates(500), torch.ones(500, 1), draws_of(500), distortion=distortion, p=1.0)
    x = torch.where(out[:, 2] > 0.999, out[:, 0], math.nan)  # where the source lies inside the image
    steps = x[:, :, 1:] - x[:, :, :-1]
    inside = ~steps.isnan()
    assert float(inside.float().mean()) > 0.2
    assert float(steps[inside].min()) > 0


def test_random_resized_crop_draws_areas_and_shapes() -> None:
    ones = torch.ones(MANY, 1)
    out, _ = random_resized_crop(coordinates(), ones, draws_of(MANY), scale=(0.1, 0.4), ratio=(0.5, 2.0))
    matrix, centre = sources(out)
    width, height = matrix[:, 0, 0] * SIDE, matrix[:, 1, 1] * SIDE
    assert np.abs(width - width.round()).max() < 0.02
    areas = width * height / SIDE**2  # of boxes whose sides were rounded to whole px
    assert 0.08 < areas.min() < areas.max() < 0.425
    assert kstest(areas, "uniform", args=(0.1, 0.3)).statistic < 0.05
    assert kstest(np.log(width / height), "uniform", args=(math.log(0.5), 2 * math.log(2))).statistic < 0.05
    left = centre[:, 0] + (SIDE - width) / 2
    assert left.min() > -0.05
    assert (left + width).max() < SIDE + 0.05
    room = SIDE - width
    assert 0.48 < float((left / room)[room > 0].mean()) < 0.52
    whole, _ = random_resized_crop(coordinates(4), ones[:4], draws_of(4), scale=(1.0, 1.0), ratio=(1.0, 1.0))
    torch.testing.assert_close(whole, coordinates(4))


def test_random_resized_crop_falls_back_to_the_largest_box_in_the_middle() -> None:
    line = torch.linspace(0, 1, 40)
    wide = line.expand(5, 1, 10, 40)
    out, _ = random_resized_crop(wide, torch.ones(5, 1), draws_of(5), scale=(1.0, 1.0), ratio=(1.0, 1.0))
    reference = torch.nn.functional.interpolate(wide[..., 15:25], (10, 40), mode="bilinear")
    torch.testing.assert_close(out, reference)


def test_vertical_flip() -> None:
    images = torch.rand(MANY, 1, 3, 2)
    out, _ = vertical_flip(images, torch.ones(MANY, 1), draws_of(MANY), p=0.25)
    flipped = (out == images.flip(2)).flatten(1).all(1)
    assert torch.equal(out[~flipped], images[~flipped])
    assert 0.22 < float(flipped.float().mean()) < 0.28
