"""The pace of all steps by the first ones, which have the smallest images."""

from __future__ import annotations

import pytest

from pocketlens.pipeline.final import pace_of_all


@pytest.mark.parametrize(
    ("taken", "expected", "usual", "pace"),
    [
        pytest.param(20.0, 20.0, 60.0, 1.0, id="as measured"),
        pytest.param(40.0, 20.0, 60.0, 2.0, id="a machine that has become slow: a factor"),
        pytest.param(10.0, 20.0, 60.0, 1 - 10 / 60, id="ten seconds saved, of sixty and not of twenty"),
        pytest.param(10.0, 20.0, 20.0, 0.5, id="one size alone: the same"),
        pytest.param(1.0, 20.0, 22.0, 1 - 19 / 22, id="all of it measured far too high"),
    ],
)
def test_slow_steps_are_a_factor_and_fast_ones_saved_seconds(
    taken: float, expected: float, usual: float, pace: float
) -> None:
    assert pace_of_all(taken, expected, usual) == pytest.approx(pace)


def test_a_pace_is_never_below_that_of_the_first_steps() -> None:
    assert pace_of_all(1.0, 20.0, 5.0) == pytest.approx(0.05)
