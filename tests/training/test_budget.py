"""A time limit becomes whole steps before the first step; from then on no clock plays a part."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from made_images import refused
from made_trainings import PLAIN, contents, finish, made_data, new_run

import pocketlens.training.budget
from pocketlens.data.split import make_split
from pocketlens.errors import PocketlensError
from pocketlens.recipe import Experiment, Recipe
from pocketlens.training.budget import SHARE, Budget, plan_steps
from pocketlens.training.train import train

loop = import_module("pocketlens.training.fit")  # pocketlens.training.fit itself is the function
# 24 steps, 6 of them at 8 px, the rest at 12 px
SIZES = PLAIN.changed(model="lens(width=0.125)", sizes="67%:0.25 100%", epochs=8.0)


class Clock:
    """Seconds that pass only where a test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, step: dict[int, float], validation: float) -> None:
        self.now = 0.0
        batch, validate = loop._batch, loop.validate

        def timed_batch(state: Any, *args: Any) -> Any:
            self.now += step[min(state.plan.size(state.step))]
            return batch(state, *args)

        def timed_validate(state: Any) -> Any:
            self.now += validation
            return validate(state)

        monkeypatch.setattr(loop, "_batch", timed_batch)
        for module in (loop, pocketlens.training.budget):
            monkeypatch.setattr(module, "validate", timed_validate)
        monkeypatch.setattr(pocketlens.training.budget, "time", SimpleNamespace(perf_counter=lambda: self.now))


def planned(recipe: Recipe, minutes: float) -> Budget:
    data = made_data()
    return plan_steps(Experiment("made", recipe), data, make_split(data, val_fraction=0.25), minutes=minutes)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch, step={8: 1.0, 12: 2.0}, validation=10.0)


def test_much_time_gives_all_steps(clock: Clock) -> None:
    budget = planned(SIZES, 1000)
    assert (budget.n_steps, budget.wanted_steps) == (24, 24)
    assert budget.seconds_per_step == {"8": 1.0, "12": 2.0}
    assert budget.seconds_per_validation == 10.0
    assert budget.seconds == 6 * 1 + 18 * 2 + 8 * 10
    assert str(budget).startswith("all steps, about 122 s")


def test_little_time_gives_a_part_of_the_steps_that_fits(clock: Clock) -> None:
    for minutes in (0.5, 1.0, 2.0):
        budget = planned(SIZES, minutes)
        assert budget.n_steps == int(24 * minutes * 60 * SHARE / 122)
        assert budget.seconds <= minutes * 60 * SHARE
        assert f"{budget.n_steps} of 24 steps" in str(budget)


def test_too_little_time_says_how_much_is_needed(clock: Clock) -> None:
    with pytest.raises(PocketlensError, match=r"--minutes 0.1 is too short for lens\(width=0.125\)") as caught:
        planned(SIZES, 0.1)
    said = re.search(r"at least (\S+) minutes", str(caught.value))
    assert said is not None
    assert planned(SIZES, float(said[1])).n_steps == 2
    for minutes in (0.0, -1.0, float("nan")):
        with refused("minutes must be above 0"):
            planned(SIZES, minutes)


def test_validation_is_not_a_part_of_a_step(clock: Clock) -> None:
    """Where an epoch is a single step, each step is followed by a validation."""
    budget = planned(SIZES.changed(batch_size=64), 1000)
    assert budget.seconds_per_step == {"8": 1.0, "12": 2.0}


def test_fewer_steps_than_sizes_are_not_too_few(clock: Clock) -> None:
    assert planned(SIZES.changed(batch_size=64, epochs=1.0), 1000).n_steps == 1


@pytest.mark.parametrize("slow", [0.0, 0.5])
def test_steps_that_are_spoiled_by_other_work_do_not_count(slow: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where steps are short, many are measured; half of them may be ten times slower and the plan stays the same."""
    clock = Clock(monkeypatch, step={8: 0.001, 12: 0.002}, validation=0.1)
    batch, calls = loop._batch, 0

    def spoiled(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        clock.now += 0.02 if calls % 2 and slow else 0.0
        return batch(*args)

    monkeypatch.setattr(loop, "_batch", spoiled)
    budget = planned(SIZES, 1000)
    assert budget.seconds_per_step["8"] == pytest.approx(0.001)
    assert budget.seconds_per_step["12"] == pytest.approx(0.002)
    assert calls == 2 * (pocketlens.training.budget.MAX_STEPS + 1)


def test_long_steps_are_measured_twice(clock: Clock) -> None:
    before = clock.now
    planned(SIZES, 1000)
    assert clock.now - before == 3 * 1.0 + 3 * 2.0 + 10.0  # three steps a size, one validation


def test_a_recipe_that_diverges_at_once_is_refused() -> None:
    with refused("diverged while its steps were measured"):
        planned(PLAIN.changed(lr=1e20, weight_decay=1e38, decay_on="all", schedule="constant"), 1000)


def test_the_real_clock_gives_a_plan_too() -> None:
    assert planned(PLAIN, 1000).n_steps == 9


def test_the_plan_is_written_down_and_made_once(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = planned(SIZES, 1.0).n_steps
    monkeypatch.setattr(pocketlens.training.budget, "plan_steps", lambda *args, **options: pytest.fail("planned again"))
    unbroken, stopped = (new_run(tmp_path / place, SIZES, n_steps=steps, minutes=1.0) for place in "ab")
    finish(unbroken)
    events = train(stopped, made_data())
    next(events)
    events.close()
    finish(stopped)
    assert unbroken.history()[-1]["step"] == steps
    assert unbroken.experiment.minutes == 1.0
    assert contents(stopped) == contents(unbroken)
