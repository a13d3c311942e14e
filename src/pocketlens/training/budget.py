"""A time limit as a number of steps: measured on throwaway steps at every size, decided before step 0, written down."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np
import torch

from pocketlens.data.dataset import Dataset
from pocketlens.data.split import Split
from pocketlens.errors import PocketlensError
from pocketlens.events import Progress
from pocketlens.recipe import Experiment
from pocketlens.training.fit import Diverged, fit, validate
from pocketlens.training.ranks import ALONE, Ranks
from pocketlens.training.state import Plan, State

SHARE = 0.92  # of the limit that training and validation may take; the rest is for starting, saving and scoring
LEAST_STEPS = 2  # measured steps at each size, after one that warms up
MOST_STEPS = 20  # where steps are short: other work on the machine then spoils some of them
ENOUGH = 0.4  # seconds of measured steps at each size, after which no more are taken


@dataclass(frozen=True)
class Budget:
    """How many steps a time limit allows, and what was measured to find it."""

    n_steps: int
    wanted_steps: int  # what the recipe's epochs ask for
    seconds_per_step: dict[str, float]  # by image size
    seconds_per_validation: float
    seconds: float  # that the steps are expected to take, validation included

    def __str__(self) -> str:
        speeds = ", ".join(f"{size} px {seconds:.3g} s" for size, seconds in self.seconds_per_step.items())
        cut = "all" if self.n_steps == self.wanted_steps else f"{self.n_steps} of {self.wanted_steps}"
        return f"{cut} steps, about {self.seconds:.0f} s (a step: {speeds})"


def plan_steps(
    experiment: Experiment,
    dataset: Dataset,
    split: Split,
    *,
    minutes: float,
    device: str = "cpu",
    ranks: Ranks = ALONE,
) -> Budget:
    """The steps that fit into `minutes`, never more than the recipe's epochs ask for; all ranks call it together.

    Raises:
        PocketlensError: not even one step at each size fits.
    """
    if not minutes > 0:
        raise PocketlensError(f"minutes must be above 0, got {minutes:g}.")
    state = State(replace(experiment, n_steps=None), dataset, split, device, ranks=ranks)
    wanted = state.plan
    try:
        by_stage = _seconds_by_stage(state)
    except Diverged as error:
        raise PocketlensError(f"{experiment.recipe.model} diverged while its steps were measured: {error}.") from None
    began = time.perf_counter()
    validate(state)
    by_stage, validation = ranks.from_first((by_stage, time.perf_counter() - began))
    seconds = _expected(wanted, by_stage, validation)
    n_steps = wanted.n_steps
    allowed = minutes * 60 * SHARE
    if seconds > allowed:
        n_steps = max(0, int(wanted.n_steps * allowed / seconds))
        seconds = allowed
    least = min(len(wanted.stages), wanted.n_steps)
    if n_steps < least:
        need = 1.1 * _expected(wanted, by_stage, validation) / wanted.n_steps * least / 60 / SHARE
        raise PocketlensError(
            f"--minutes {minutes:g} is too short for {experiment.recipe.model}; give at least {need:.2g} minutes "
            "or a smaller model."
        )
    sizes = {f"{min(size)}": cost for (size, _), cost in zip(wanted.stages, by_stage, strict=True)}
    return Budget(n_steps, wanted.n_steps, sizes, validation, seconds)


def _seconds_by_stage(state: State) -> list[float]:
    """Seconds of a step at each size, the lower quartile of those that were measured; the state is spent."""
    costs, plan = [], state.plan
    for size, _ in plan.stages:
        state.plan = replace(plan, n_steps=plan.n_steps + 10**6, stages=((size, plan.n_steps + 10**6),))
        state.last_step = state.plan.n_steps
        state.step, state.n_seen, taken, began = 0, 0, [], time.perf_counter()
        for event in fit(state):
            if isinstance(event, Progress):
                if state.device_type == "cuda":
                    torch.cuda.synchronize()
                taken.append(time.perf_counter() - began)
                if state.ranks.from_first(_is_enough(taken[1:])):
                    break
            began = time.perf_counter()  # after an epoch too: its validation is not a part of the next step
        costs.append(float(np.quantile(taken[1:], 0.25)))  # not spoiled by a few slow steps, nor by a lucky one
    state.plan = plan
    return costs


def _is_enough(taken: list[float]) -> bool:
    return len(taken) >= LEAST_STEPS and (sum(taken) >= ENOUGH or len(taken) >= MOST_STEPS)


def _expected(plan: Plan, by_stage: list[float], validation: float) -> float:
    seconds, begun = 0.0, 0
    for (_, end), cost in zip(plan.stages, by_stage, strict=True):
        seconds += (end - begun) * cost
        begun = end
    return seconds + plan.n_epochs * validation
