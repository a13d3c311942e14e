"""Budget: a time limit turned into a number of steps before step 0, from throwaway steps at every image size."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np
import torch

from pocketlens.data.dataset import Dataset
from pocketlens.data.split import Split
from pocketlens.errors import PocketlensError
from pocketlens.events import Progress
from pocketlens.optimizers.wise_ft import WiseFt
from pocketlens.recipe import Experiment
from pocketlens.text import counted
from pocketlens.training.fit import Diverged, fit, validate
from pocketlens.training.ranks import ALONE, Ranks
from pocketlens.training.state import Plan, Stage, State

SHARE = 0.92  # of the limit, for training and validation; the rest is for start-up, saving and scoring
MIN_STEPS = 2  # measured steps at each size, after one that warms up
MAX_STEPS = 20  # measured steps at each size; short ones are disturbed by other work on the machine
MIN_SECONDS = 0.4  # of measured steps at each size, unless MAX_STEPS comes first


@dataclass(frozen=True)
class Budget:
    """How many steps fit into a time limit, and the measurements behind that number.

    Attributes:
        n_steps: steps that fit.
        wanted_steps: steps of the recipe's epochs.
        seconds_per_step: by image size in px.
        seconds_per_validation: of one pass over the validation rows.
        seconds: that the `n_steps` are expected to take, including validation.
    """

    n_steps: int
    wanted_steps: int
    seconds_per_step: dict[str, float]
    seconds_per_validation: float
    seconds: float

    def __str__(self) -> str:
        speeds = ", ".join(f"{size} px {seconds:.3g} s" for size, seconds in self.seconds_per_step.items())
        is_all, wanted = self.n_steps == self.wanted_steps, counted(self.wanted_steps, "step")
        steps = "all steps" if is_all else f"{self.n_steps:,} of {wanted}"
        return f"{steps}, about {self.seconds:.0f} s (a step: {speeds})"


def plan_steps(
    experiment: Experiment,
    dataset: Dataset,
    split: Split,
    *,
    minutes: float,
    device: str = "cpu",
    ranks: Ranks = ALONE,
) -> Budget:
    """The steps that fit into `minutes`, at most those of the recipe's epochs; all ranks make this call together.

    Raises:
        PocketlensError: not even one step at each size fits, or training diverges.
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
    closing = _closing_validations(state) * validation
    seconds = _expected(wanted, by_stage, validation) + closing
    n_steps = wanted.n_steps
    allowed = minutes * 60 * SHARE
    if seconds > allowed:
        n_steps = max(0, int(wanted.n_steps * (allowed - closing) / (seconds - closing)))
        seconds = allowed
    least = min(len(wanted.stages), wanted.n_steps)
    if n_steps < least:
        need = 1.1 * _expected(wanted, by_stage, validation) / wanted.n_steps * least / 60 / SHARE
        raise PocketlensError(
            f"--minutes {minutes:g} is too short for {experiment.recipe.model}; give at least "
            f"{counted(need, 'minute', digits=2)} "
            "or a smaller model."
        )
    sizes = {f"{min(size)}": cost for (size, _), cost in zip(wanted.stages, by_stage, strict=True)}
    return Budget(n_steps, wanted.n_steps, sizes, validation, seconds)


def _seconds_by_stage(state: State) -> list[float]:
    """Seconds per step at each size, the lower quartile of the measured ones; the state cannot be used afterwards."""
    costs, plan = [], state.plan
    for size, _ in plan.stages:
        state.plan = replace(plan, n_steps=plan.n_steps + 10**6, stages=(Stage(size, plan.n_steps + 10**6),))
        state.last_step = state.plan.n_steps
        state.step, state.n_seen, taken, began = 0, 0, [], time.perf_counter()
        for event in fit(state):
            if isinstance(event, Progress):
                if state.device_type == "cuda":
                    torch.cuda.synchronize()
                taken.append(time.perf_counter() - began)
                if state.ranks.from_first(_is_enough(taken[1:])):
                    break
            began = time.perf_counter()  # after an epoch, too: its validation does not belong to the next step
        costs.append(float(np.quantile(taken[1:], 0.25)))  # robust to slow steps and to a lucky one
    state.plan = plan
    return costs


def _is_enough(taken: list[float]) -> bool:
    return len(taken) >= MIN_STEPS and (sum(taken) >= MIN_SECONDS or len(taken) >= MAX_STEPS)


def _closing_validations(state: State) -> int:
    """How often the validation rows are scored once more after the last epoch, to choose an interpolation."""
    modifier = state.modifiers.get("wise_ft")
    return len(modifier.alphas) - 1 if isinstance(modifier, WiseFt) else 0


def _expected(plan: Plan, by_stage: list[float], validation: float) -> float:
    seconds, begun = 0.0, 0
    for (_, end), cost in zip(plan.stages, by_stage, strict=True):
        seconds += (end - begun) * cost
        begun = end
    return seconds + plan.n_epochs * validation
