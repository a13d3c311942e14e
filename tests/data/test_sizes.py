"""The size that pictures are brought to where none is typed, and how a picture of another shape becomes square."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
from made_images import random_images

from pocketlens.data.fit import EDGE, FITS, fit_picture, inner_size
from pocketlens.data.sizes import Aim, SourceSizes, is_pretrained, size_for

BODY = "timm(name='resnet18', pretrained=True)"


def sizes(n: int, *shapes: tuple[int, int]) -> SourceSizes:
    """Of `n` pictures whose (height, width) are these by turns."""
    return SourceSizes.of(np.array([shapes[i % len(shapes)] for i in range(n)], np.int64))


@pytest.mark.parametrize("shape", [(32, 32), (96, 96), (24, 40), (28, 28), (32, 200), (5, 6)])
@pytest.mark.parametrize("aim", [Aim(), Aim(minutes=0.5), Aim(BODY)])
def test_small_pictures_of_one_size_stay_as_they_are(shape: tuple[int, int], aim: Aim) -> None:
    assert size_for(sizes(50_000, shape), aim) is None


@pytest.mark.parametrize(
    ("n", "shape", "aim", "wanted"),
    [  # the sizes that did best in the minutes that were measured, and what follows from them
        (2_800, (400, 400), Aim(minutes=5.0), 32),
        (2_527, (384, 512), Aim(minutes=5.0), 32),
        (2_062, (100, 100), Aim(minutes=5.0), 32),
        (397, (500, 375), Aim(minutes=5.0), 64),
        (2_800, (400, 400), Aim(minutes=30.0), 64),
        (2_800, (400, 400), Aim(minutes=5.0, device="cuda:0"), 64),
        (714, (300, 180), Aim(), 64),
        (714, (300, 180), Aim(device="cuda"), 64),  # without a time, every machine gets the same
        (60_000, (300, 180), Aim(device="cuda"), 32),
        (1_000, (97, 97), Aim(), 64),
        (714, (300, 180), Aim(prepare="resize(48)"), 48),
        (714, (300, 180), Aim(prepare="resize(size=(40, 56)) | sharpen"), 56),
        (714, (300, 180), Aim(BODY), 180),
        (714, (400, 400), Aim(BODY), 256),
        (714, (3000, 4000), Aim("timm(weights='w.safetensors')"), 256),
        (714, (400, 400), Aim("timm(name='resnet18')"), 64),
        (714, (400, 400), Aim(side=20), 20),
        (714, (400, 400), Aim(BODY, side=32), 32),
    ],
)
def test_large_pictures_get_the_size_that_suits_them(n: int, shape: tuple[int, int], aim: Aim, wanted: int) -> None:
    assert size_for(sizes(n, shape), aim) == wanted


def test_pictures_of_several_sizes_are_not_enlarged() -> None:
    assert size_for(sizes(100, (24, 70), (39, 130), (31, 90))) == 28  # a typical shorter side of 31, in steps of 4
    assert size_for(sizes(99, (11, 20), (13, 20))) == 11
    assert size_for(sizes(100, (3, 4), (4, 3))) == 8
    assert size_for(sizes(100, (10, 12), (12, 10)), Aim(BODY)) == 10
    assert size_for(sizes(100, (10, 12), (12, 10)), Aim(side=64)) == 64  # as in the run that it starts from


def test_what_a_source_says_about_its_sizes() -> None:
    found = sizes(5, (10, 30), (20, 20), (8, 40))
    assert (found.n, found.n_sizes, found.side) == (5, 3, 10)
    assert (found.smallest, found.largest) == ((10, 30), (20, 20))
    assert found.cut == pytest.approx(2 / 3, abs=1e-3)
    assert str(found) == "3 sizes from 30 x 10 to 20 x 20 px"
    assert str(sizes(3, (10, 30))) == "30 x 10 px"
    assert SourceSizes.from_dict({**asdict(found), "smallest": [10, 30], "largest": [20, 20]}) == found


def test_which_models_are_pretrained() -> None:
    assert is_pretrained(BODY)
    assert is_pretrained("timm(weights='a.safetensors')")
    for model in ("lens", "timm", "timm(pretrained=True, stem='small')", "no such model", "own.py:net"):
        assert not is_pretrained(model)


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("shape", [(40, 10, 3), (10, 40, 1), (7, 7, 3), (1, 300, 3), (300, 1, 1), (16, 16, 3)])
def test_every_fit_gives_the_size_and_keeps_what_has_it(fit: str, shape: tuple[int, int, int]) -> None:
    image = random_images(1, shape)[0]
    assert fit_picture(image, 16, 16, fit).shape == (16, 16, shape[2])
    assert fit_picture(image, 12, 20, fit).shape == (12, 20, shape[2])
    assert np.array_equal(fit_picture(image, *shape[:2], fit), image)
    flat = np.full(shape, 200, np.uint8)
    assert set(np.unique(fit_picture(flat, 16, 16, fit))) <= {200, EDGE}


def test_stretch_and_pad_keep_what_crop_cuts_off() -> None:
    picture = np.zeros((10, 40, 1), np.uint8)
    picture[:, :8] = 255  # what counts stands at the left
    assert fit_picture(picture, 10, 10, "crop").max() == 0
    assert (fit_picture(picture, 10, 10, "stretch")[:, 0] == 255).all()
    padded = fit_picture(picture, 12, 12, "pad")
    assert inner_size(10, 40, 12, 12) == (3, 12)
    assert (padded[:4] == EDGE).all()
    assert (padded[7:] == EDGE).all()
    assert padded[4:7, 0].min() == 255
    assert padded[4:7, 6:].max() == 0
