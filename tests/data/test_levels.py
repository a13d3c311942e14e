"""The levels of deep images: odd pixels cost the others nothing, and what is clipped is said."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from pocketlens.data.images import to_uint8
from pocketlens.data.levels import FoundLevels, extreme_levels, robust_levels, sample

Pictures = NDArray[np.float32]  # (N, H, W, 1)


def pictures(n: int = 120, size: int = 24) -> Pictures:
    """Values of 300 to 1300."""
    return np.random.default_rng(0).uniform(300, 1300, (n, size, size, 1)).astype(np.float32)


def levels_of(made: Pictures) -> FoundLevels:
    return robust_levels([sample(picture, len(made)) for picture in made])


def stuck(made: Pictures) -> None:
    made[[3, 17, 29], 5, 7] = 65535


def stuck_in_all(made: Pictures) -> None:
    made[:, 5, 7] = 65535


def hot_in_all(made: Pictures) -> None:
    made[:, 5, 7, 0] = np.linspace(50_000, 65_000, len(made))


def no_data(made: Pictures) -> None:
    made[:, :8] = -9999


def saturated_slice(made: Pictures) -> None:
    made[7] = 65535


def noisy_slice(made: Pictures) -> None:
    made[7] = made[7] * 5 + 58_000


def bright_line(made: Pictures) -> None:
    made[::10, 3] = 65535


def both_ends(made: Pictures) -> None:
    made[:, 0, 0], made[:, 5, 7] = -9999, 65535


KINDS = (stuck, stuck_in_all, hot_in_all, no_data, saturated_slice, noisy_slice, bright_line, both_ends)


@pytest.mark.parametrize("spoil", KINDS)
def test_odd_values_cost_the_others_nothing(spoil: Callable[[Pictures], None]) -> None:
    made = pictures()
    spoil(made)
    found = levels_of(made)
    assert found.levels == pytest.approx((300, 1300), abs=1)
    usual = to_uint8(pictures(), found.levels)
    assert len(np.unique(usual)) == 256
    assert found.clipped == pytest.approx(np.mean((made < found.levels[0]) | (made > found.levels[1])), abs=1e-6)
    assert "were clipped" in found.describe()
    worst = extreme_levels([sample(picture, len(made)) for picture in made]).levels
    assert len(np.unique(to_uint8(pictures(), worst))) < 30  # what the range of all values would leave


def test_usual_values_are_not_clipped() -> None:
    rng = np.random.default_rng(0)
    for made in (pictures(), rng.normal(1000, 100, (50, 64, 64, 1)), rng.integers(0, 65536, (9, 8, 8, 1))):
        found = levels_of(made.astype(np.float32))
        assert found.levels == (made.astype(np.float32).min(), made.astype(np.float32).max())
        assert found.describe().endswith("became 255")


def test_a_long_tail_is_clipped_by_less_than_a_thousandth() -> None:
    made = np.random.default_rng(0).lognormal(0, 1, (100, 64, 64, 1)).astype(np.float32)
    found = levels_of(made)
    assert 0 < found.clipped < 0.001
    assert found.levels[1] < 0.5 * made.max()
    assert f"up to {made.max():.4g}" in found.describe()


def test_values_that_share_few_levels_are_said() -> None:
    made = np.random.default_rng(0).normal(100, 1, (50, 32, 32, 1)).astype(np.float32)
    ramp = np.linspace(100, 4000, 20)
    made[:, 10:12, 10:20, 0] = ramp.reshape(2, 10)
    found = levels_of(made)
    assert found.n_used < 16
    assert "90 % of the values have only" in found.describe()


def test_masks_and_one_value_keep_their_values() -> None:
    mask = np.where(np.random.default_rng(0).random((9, 8, 8, 1)) < 0.1, 65535, 0).astype(np.float32)
    assert levels_of(mask).levels == (0, 65535)
    flat = levels_of(np.full((3, 4, 4, 1), 7, np.float32))
    assert flat.levels == (7, 7)
    assert (to_uint8(np.full((4, 4, 1), 7, np.float32), flat.levels) == 0).all()


def test_a_bright_class_keeps_its_depth() -> None:
    made = pictures()
    made[:6] *= 8  # a twentieth of the images
    assert levels_of(made).levels == (made.min(), made.max())


def test_large_images_are_sampled_the_same_way_every_time() -> None:
    large = np.random.default_rng(0).normal(0, 1, (2500, 2500, 1)).astype(np.float32)
    first, second = sample(large, 2), sample(large, 2)
    assert len(first.values) == 2_000_000
    assert np.array_equal(first.values, second.values)
    assert (first.low, first.high) == (large.min(), large.max())
    assert robust_levels([first]).levels == (large.min(), large.max())
