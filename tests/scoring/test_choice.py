"""The choice among classifiers that are judged on the same images."""

from __future__ import annotations

import numpy as np
import pytest

from pocketlens.scoring.choice import choose


def drawn(accuracy: float, n: int = 400, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(n) < accuracy


def test_the_best_is_taken_where_it_is_clearly_better() -> None:
    found = choose({"probe": drawn(0.8, seed=1), "scratch": drawn(0.95, seed=2)})
    assert (found.chosen, found.best, found.runner_up) == ("scratch", "scratch", "probe")
    assert found.is_beyond_chance
    assert found.low < found.difference < found.high


def test_a_near_tie_goes_to_the_cheaper() -> None:
    probe = drawn(0.8)
    better = probe.copy()
    better[np.flatnonzero(~probe)[:3]] = True  # three images more, two others less
    better[np.flatnonzero(probe)[:2]] = False
    found = choose({"probe": probe, "scratch": better})
    assert (found.chosen, found.best) == ("probe", "scratch")
    assert not found.is_beyond_chance
    assert found.difference == pytest.approx(-1 / 400)
    assert choose({"scratch": better, "probe": probe}).chosen == "scratch", "the first one is the cheaper"


def test_one_alone_is_taken() -> None:
    found = choose({"probe": drawn(0.5)})
    assert (found.chosen, found.runner_up, found.difference, found.selection_bias) == ("probe", None, 0.0, 0.0)


def test_images_of_one_group_are_one_draw() -> None:
    groups = np.repeat(np.arange(10), 40)
    probe = np.ones(400, bool)
    probe[groups == 0] = False  # all the difference lies in one patient of ten
    alone, grouped = (choose({"probe": probe, "scratch": np.ones(400, bool)}, by) for by in (None, groups))
    assert (alone.chosen, grouped.chosen) == ("scratch", "probe")
    assert alone.is_beyond_chance
    assert not grouped.is_beyond_chance


def test_equal_classifiers_show_what_selection_adds() -> None:
    """The best of four that are equally good looks better than it is; the expected excess is about one error."""
    found = choose({str(k): drawn(0.7, 200, seed=k) for k in range(4)})
    assert 0.005 < found.selection_bias < 0.05
    one = choose({"a": drawn(0.7), "b": drawn(0.7)})  # the very same images: nothing to choose
    assert one.selection_bias < 0.002
