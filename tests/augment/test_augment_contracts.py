"""Contracts of every augmentation that other tests leave open; distributions of flip, crop, cutout and cutmix."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pictures import natural_pictures
from scipy.stats import chisquare, kstest
from torch import Tensor

from pocketlens.components import names, parse_one, resolve
from pocketlens.draws import Draws

MIXING = ("cutmix", "fmix", "mixup")
SURE = {"cutmix": "cutmix(alpha=50.0)", "mixup": "mixup(alpha=50.0)", "autoaugment": "autoaugment(policy='svhn')"}
# these draw nothing but whether, or among few values
FEW_VALUES = (
    "autocontrast",
    "equalize",
    "flip",
    "grey",
    "invert",
    "posterize",
    "sharpness",
    "solarize",
    "vertical_flip",
)
MANY = 6000


def augmented(text: str, images: Tensor, *, rows: Tensor | None = None, epoch: int = 1) -> tuple[Tensor, Tensor]:
    part = parse_one(text, "augment")
    rows = torch.arange(len(images)) if rows is None else rows
    draws = Draws(4, rows, torch.zeros_like(rows), epoch)
    targets = torch.eye(5)[rows % 5]
    out: tuple[Tensor, Tensor] = resolve(part, "augment")(images, targets, draws.named(text), **dict(part.options))
    return out


@pytest.fixture(scope="module")
def pictures() -> Tensor:
    return natural_pictures(24)


@pytest.mark.parametrize("name", names("augment"))
def test_every_image_has_its_own_draw(name: str, pictures: Tensor) -> None:
    """Equal images of one batch become different ones: nearly all, or two where an option decides between two."""
    same = pictures[5:6].expand(60, -1, -1, -1)
    if name in MIXING:
        same = torch.cat((same, pictures[6:7].expand(60, -1, -1, -1)))
    out, targets = augmented(SURE.get(name, name), same)
    kinds = {image.numpy().tobytes() for image in out}
    if name in FEW_VALUES:
        assert len(kinds) == 2
    else:
        assert len(kinds) > 12, len(kinds)
    torch.testing.assert_close(targets.sum(1), torch.ones(len(out)))


@pytest.mark.parametrize("name", [name for name in names("augment") if name not in MIXING])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_order_of_a_batch_and_its_size_change_nothing(name: str, channels: int, pictures: Tensor) -> None:
    images, order = pictures[:, :channels], torch.randperm(24, generator=torch.Generator().manual_seed(0))
    whole, targets = augmented(name, images)
    shuffled, shuffled_targets = augmented(name, images[order], rows=order)
    assert torch.equal(shuffled, whole[order])
    assert torch.equal(shuffled_targets, targets[order])
    for start in range(0, 24, 7):
        rows = torch.arange(start, min(start + 7, 24))
        assert torch.equal(augmented(name, images[rows], rows=rows)[0], whole[rows])


@pytest.mark.parametrize("name", names("augment"))
@pytest.mark.parametrize("size", [(1, 8, 8), (3, 96, 96), (1, 96, 64), (3, 9, 31)])
def test_sizes_from_8_to_96_keep_range_and_input(name: str, size: tuple[int, int, int]) -> None:
    levels = torch.randint(0, 256, (5, *size), generator=torch.Generator().manual_seed(3), dtype=torch.uint8)
    images = levels.float() / 255
    kept = images.clone()
    out, targets = augmented(name, images)
    assert (out.shape, out.dtype) == (images.shape, torch.float32)
    assert torch.equal(images, kept)
    back = (out * 255).round()
    assert 0 <= float(back.min()) <= float(back.max()) <= 255
    assert bool(out.isfinite().all())
    torch.testing.assert_close(targets.sum(1), torch.ones(5))
    assert float(targets.min()) >= 0


# ---- distributions


def white(side: int = 16) -> Tensor:
    return torch.ones(MANY, 1, side, side)


def test_flip_mirrors_exactly_and_as_often_as_it_says() -> None:
    images = torch.arange(4.0).expand(MANY, 1, 2, 4)
    for p in (0.1, 0.5, 0.9):
        out, _ = augmented(f"flip(p={p}, alternate=False)", images)
        mirrored = out[:, 0, 0, 0] == 3
        n = int(mirrored.sum())
        assert torch.equal(out, torch.where(mirrored[:, None, None, None], images.flip(-1), images))
        assert chisquare([n, MANY - n], [MANY * p, MANY * (1 - p)]).pvalue > 0.01
    even, odd = (augmented("flip(p=0.3)", images, epoch=epoch)[0] for epoch in (2, 3))
    assert torch.equal(even, odd.flip(-1))


@pytest.mark.parametrize("mode", ["reflect", "replicate", "zero"])
def test_crop_equals_torchs_padding_and_draws_all_shifts_alike(mode: str) -> None:
    pad, side = 2, 7
    image = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    padded = torch.nn.functional.pad(image, (pad,) * 4, mode="constant" if mode == "zero" else mode)
    out, _ = augmented(f"crop(pad={pad}, mode='{mode}')", image.expand(MANY, -1, -1, -1))
    counts = [
        int((out == padded[:, :, y : y + side, x : x + side]).flatten(1).all(1).sum())
        for y in range(2 * pad + 1)
        for x in range(2 * pad + 1)
    ]
    assert sum(counts) == MANY
    assert chisquare(counts).pvalue > 0.01


def test_cutout_centres_are_uniform_over_the_image() -> None:
    out, _ = augmented("cutout(size=1, fill=0.0)", white(8))
    places = out.flatten(1).argmin(1)
    assert torch.equal((out == 0).flatten(1).sum(1), torch.ones(MANY, dtype=torch.long))
    assert chisquare(torch.bincount(places, minlength=64).numpy()).pvalue > 0.01
    some, _ = augmented("cutout(size=3, p=0.4, fill=0.0)", white(8))
    n = int((some == 0).flatten(1).any(1).sum())
    assert chisquare([n, MANY - n], [0.4 * MANY, 0.6 * MANY]).pvalue > 0.01


@pytest.mark.parametrize("alpha", [0.5, 1.0, 3.0])
def test_cutmix_boxes_cover_a_beta_share_where_they_lie_inside(alpha: float) -> None:
    """A box with a share from Beta(alpha, alpha) lies around a uniform centre and is cut off at the border."""
    side, n = 64, 3000
    images = torch.arange(n, dtype=torch.float32).view(n, 1, 1, 1).expand(n, 1, side, side)
    out, _ = augmented(f"cutmix(alpha={alpha})", images)
    pasted = (out != images)[:, 0]
    top, height = pasted.any(2).float().argmax(1), pasted.any(2).sum(1)
    left, width = pasted.any(1).float().argmax(1), pasted.any(1).sum(1)
    assert torch.equal(height * width, pasted.sum((1, 2)))
    inside = (top > 0) & (left > 0) & (top + height < side) & (left + width < side)
    share = (height * width / side**2)[inside].numpy()
    # a box of side s lies inside with probability (1 - s) ** 2: compare with as many drawn so
    random = np.random.default_rng(0)
    drawn = np.sqrt(random.beta(alpha, alpha, 400_000))
    kept = drawn[random.random(len(drawn)) < (1 - drawn) ** 2] ** 2
    assert len(share) > 300
    assert kstest(share, kept).pvalue > 0.005


def test_partners_are_a_permutation_of_the_batch() -> None:
    images = torch.arange(500.0).view(500, 1, 1, 1).expand(500, 1, 2, 2)
    out, _ = augmented("mixup(alpha=4.0)", images)
    rows = torch.arange(500)
    partner = Draws(4, rows, rows * 0, 1).named("mixup(alpha=4.0)").partners("partner")
    assert torch.equal(partner.sort().values, rows)
    low, high = torch.minimum(rows, partner), torch.maximum(rows, partner)
    assert bool(((out[:, 0, 0, 0] >= low - 1e-3) & (out[:, 0, 0, 0] <= high + 1e-3)).all())
